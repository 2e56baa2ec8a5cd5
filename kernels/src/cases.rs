//! Named cases, and the inputs that every check draws.

use crate::close::Tolerance;
use crate::dtype::DType;
use crate::host::{Args, Bytes, Host, SingleThread, View};
use crate::op::{Access, Arg, Kernel, Op};
use alloc::{string::String, vec, vec::Vec};

/// A spec under a name that carries its shape, and how close its outputs must come on an executor.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    pub id: String,
    pub op: Op,
    pub tolerance: Tolerance,
}

impl Case {
    /// A case with the executors' ordinary tolerance in f32.
    #[inline(never)]
    pub fn new(id: impl Into<String>, op: impl Into<Op>) -> Self {
        Self { id: id.into(), op: op.into(), tolerance: Tolerance::EXECUTOR }
    }
}

/// The tolerance of an op on a host: where that multiplies bytes, activations are rounded; all else keeps its own.
pub fn tolerance_on(host: &dyn Host, op: &Op, ordinary: Tolerance) -> Tolerance {
    let rounded = |format| Bytes::takes(format) && host.bytes().is_some();
    match op {
        Op::FusedLinear(spec) if rounded(spec.format) && spec.activation.is_some() => Tolerance::ROUNDED_GATED,
        Op::FusedLinear(spec) if rounded(spec.format) => Tolerance::ROUNDED,
        Op::Linear(spec) if rounded(spec.format) => Tolerance::ROUNDED,
        _ => ordinary,
    }
}

/// A small generator with 64 bits of state (SplitMix64, Steele, Lea and Flood 2014): the same numbers everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0 <= x < 1`, a multiple of 2^-24.
    pub fn unit(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Uniform below `n`; `n` is not 0.
    pub fn below(&mut self, n: u32) -> u32 {
        (((self.next_u64() >> 32) * u64::from(n)) >> 32) as u32
    }

    /// Uniform in `0..=most`.
    pub fn up_to(&mut self, most: u32) -> u32 {
        (((self.next_u64() >> 32) * (u64::from(most) + 1)) >> 32) as u32
    }

    /// Mean 0 and variance 1, from twelve uniform numbers: bounded by 6.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }

    pub fn normals(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| self.normal() * scale).collect()
    }
}

/// The bytes of f32 values.
pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

/// The bytes of u32 values.
pub fn u32_bytes(values: &[u32]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

/// Values of about unit variance in any weight format, as its bytes.
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
        }
    }
    out
}

/// Where sequences begin that share `tokens`: of any length, some of them empty, with a gap in front now and then.
pub(crate) fn offsets(sequences: u32, tokens: u32, rng: &mut Rng) -> Vec<u32> {
    let mut cuts: Vec<u32> = (0..=sequences).map(|_| rng.up_to(tokens)).collect();
    cuts.sort_unstable();
    if let [first, .., last] = &mut cuts[..] {
        *first = rng.up_to((*first).min(2));
        *last = tokens - rng.up_to((tokens - *last).min(2));
    }
    cuts
}

/// Slots of a pool in reverse: distinct where it has room, the others past it.
pub(crate) fn reversed_slots(sequences: u32, pool: u32) -> Vec<u32> {
    (0..sequences).map(|i| pool.wrapping_sub(1 + i)).collect()
}

/// Draws for every argument: normal values for what is read, all bits set (NaN) for what is only written. An op whose
/// arguments have a meaning (ids, positions, page tables) replaces those.
pub fn draws(args: &[Arg], rng: &mut Rng) -> Vec<Vec<u8>> {
    args.iter()
        .map(|a| match a.access {
            Access::Write => vec![0xff; a.bytes() as usize],
            _ => weights(a.dtype, a.elements as usize, rng),
        })
        .collect()
}

/// The arguments of an op after it ran on its own inputs: what its gradients read.
pub(crate) fn ran(op: &dyn Kernel, rng: &mut Rng) -> Vec<Vec<u8>> {
    let args = op.args();
    let words = |bytes: &Vec<u8>| bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
    let mut memory: Vec<Vec<u32>> = op.inputs(rng).iter().map(words).collect();
    let views = memory.iter_mut().zip(&args).map(|(words, arg)| match arg.access {
        Access::Read => View::In(bytemuck::cast_slice(words)),
        _ => View::Out(bytemuck::cast_slice_mut(words)),
    });
    op.cpu(&SingleThread, &mut Args::new(&args, views.collect()));
    memory.iter().map(|words| bytemuck::cast_slice(words).to_vec()).collect()
}
