//! Random inputs shared by tests, benchmarks and self-tests.

use crate::dtype::DType;
use crate::plan::{Access, Arg};
use crate::rng::Rng;
use alloc::{vec, vec::Vec};

/// Returns the bytes of f32 values.
pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

/// Returns the bytes of u32 values.
pub fn u32_bytes(values: &[u32]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

/// Returns the bytes of random weights of about unit variance, in any weight format.
pub fn weights(dtype: DType, elements: usize, rng: &mut Rng) -> Vec<u8> {
    let half = |x: f32| half::f16::from_f32(x).to_le_bytes();
    let blocks = elements / dtype.block_len() as usize;
    let mut out = Vec::with_capacity(blocks * dtype.block_bytes() as usize);
    for _ in 0..blocks {
        match dtype {
            DType::F32 => out.extend(rng.normal().to_le_bytes()),
            DType::F16 => out.extend(half(rng.normal())),
            DType::BF16 => out.extend(half::bf16::from_f32(rng.normal()).to_le_bytes()),
            DType::I32 | DType::U32 => out.extend(rng.below(1 << 16).to_le_bytes()),
            DType::Q8_0 => {
                out.extend(half(0.005 + 0.01 * rng.unit()));
                out.extend((0..32).map(|_| rng.next_u64() as u8));
            }
            DType::Q4_0 | DType::Q4_1 => {
                out.extend(half((0.1 + 0.2 * rng.unit()) * if rng.below(2) == 0 { 1.0 } else { -1.0 }));
                if dtype == DType::Q4_1 {
                    out.extend(half(rng.normal()));
                }
                out.extend((0..16).map(|_| rng.next_u64() as u8));
            }
            DType::Q5_0 | DType::Q5_1 => {
                out.extend(half((0.05 + 0.1 * rng.unit()) * if rng.below(2) == 0 { 1.0 } else { -1.0 }));
                if dtype == DType::Q5_1 {
                    out.extend(half(rng.normal()));
                }
                out.extend((0..20).map(|_| rng.next_u64() as u8));
            }
            DType::Q4K | DType::Q5K => {
                let (d, rest) = if dtype == DType::Q4K { (0.006, 140) } else { (0.003, 172) };
                out.extend(half(d * (0.5 + rng.unit())));
                out.extend(half(0.045 * (0.5 + rng.unit())));
                out.extend((0..rest).map(|_| rng.next_u64() as u8));
            }
            DType::Q6K => {
                out.extend((0..208).map(|_| rng.next_u64() as u8));
                out.extend(half(0.0007 * (0.5 + rng.unit())));
            }
            DType::Q2K => {
                out.extend((0..80).map(|_| rng.next_u64() as u8));
                out.extend(half(0.06 * (0.5 + rng.unit())));
                out.extend(half(0.09 * (0.5 + rng.unit())));
            }
            DType::Q3K => {
                out.extend((0..108).map(|_| rng.next_u64() as u8));
                out.extend(half(0.02 * (0.5 + rng.unit())));
            }
            DType::IQ4NL | DType::IQ4XS => {
                let (d, rest) = if dtype == DType::IQ4NL { (0.014, 16) } else { (0.0008, 134) };
                out.extend(half(d * (0.5 + rng.unit())));
                out.extend((0..rest).map(|_| rng.next_u64() as u8));
            }
            DType::MXFP4 => {
                out.push(124 + rng.below(3) as u8);
                out.extend((0..16).map(|_| rng.next_u64() as u8));
            }
            DType::Q8F => {
                (0..2).for_each(|_| out.extend((0.005 + 0.01 * rng.unit()).to_le_bytes()));
                out.extend((0..32).map(|_| rng.next_u64() as u8));
            }
            DType::F8 => {
                out.extend((0.005 + 0.01 * rng.unit()).to_le_bytes());
                // Without the codes of NaN.
                out.extend((0..32).map(|_| rng.next_u64() as u8).map(|q| if q & 0x7f == 0x7f { 0x38 } else { q }));
            }
            DType::NF4 => {
                out.extend((1.0 + rng.unit()).to_le_bytes());
                out.extend((0..16).map(|_| rng.next_u64() as u8));
            }
        }
    }
    out
}

/// Draws the offsets of packed sequences over `tokens` tokens. Lengths vary, sequences may be empty, and up to two
/// tokens at either end may belong to no sequence.
pub(crate) fn offsets(sequences: u32, tokens: u32, rng: &mut Rng) -> Vec<u32> {
    let mut cuts: Vec<u32> = (0..=sequences).map(|_| rng.up_to(tokens)).collect();
    cuts.sort_unstable();
    if let [first, .., last] = &mut cuts[..] {
        *first = rng.up_to((*first).min(2));
        *last = tokens - rng.up_to((tokens - *last).min(2));
    }
    cuts
}

/// Assigns pool slots in reverse order. Slots are distinct while
/// the pool has room; further ones lie outside of the pool.
pub(crate) fn reversed_slots(sequences: u32, pool: u32) -> Vec<u32> {
    (0..sequences).map(|i| pool.wrapping_sub(1 + i)).collect()
}

/// Draws every argument: normal values for arguments that are read, all bits set (NaN) for those only written. Ops
/// whose arguments have a meaning (ids, positions, page tables) replace those draws.
pub fn draws(args: &[Arg], rng: &mut Rng) -> Vec<Vec<u8>> {
    args.iter()
        .map(|a| match a.access {
            Access::Write => vec![0xff; a.bytes() as usize],
            _ => weights(a.dtype, a.elements as usize, rng),
        })
        .collect()
}
