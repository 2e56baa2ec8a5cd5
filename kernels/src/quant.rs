//! Weight formats to f32, exactly.

use crate::dtype::DType;
use half::{bf16, f16};

/// Decodes whole blocks: `bytes` holds `out.len()` elements of `dtype`.
///
/// # Panics
/// If the lengths do not belong together, or `dtype` is an integer type.
pub fn decode(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(dtype.bytes(out.len() as u64), Some(bytes.len() as u64), "whole blocks of {dtype}");
    let half = |b: &[u8]| f16::from_le_bytes([b[0], b[1]]).to_f32();
    let blocks = bytes.chunks_exact(dtype.block_bytes() as usize).zip(out.chunks_exact_mut(dtype.block_len() as usize));
    match dtype {
        DType::F32 => blocks.for_each(|(b, o)| o[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        DType::F16 => blocks.for_each(|(b, o)| o[0] = half(b)),
        DType::BF16 => blocks.for_each(|(b, o)| o[0] = bf16::from_le_bytes([b[0], b[1]]).to_f32()),
        DType::Q8_0 => blocks.for_each(|(b, o)| {
            let d = half(b);
            o.iter_mut().zip(&b[2..]).for_each(|(o, &q)| *o = d * f32::from(q as i8));
        }),
        DType::Q4_0 => blocks.for_each(|(b, o)| nibbles(&b[2..], half(b), -8.0 * half(b), o)),
        DType::Q4_1 => blocks.for_each(|(b, o)| nibbles(&b[4..], half(b), half(&b[2..]), o)),
        DType::I32 | DType::U32 => panic!("{dtype} is no weight format"),
    }
}

/// `out[i] = d q[i] + m` over 32 nibbles.
fn nibbles(q: &[u8], d: f32, m: f32, out: &mut [f32]) {
    let (low, high) = out.split_at_mut(16);
    for ((&q, low), high) in q.iter().zip(low).zip(high) {
        *low = d * f32::from(q & 15) + m;
        *high = d * f32::from(q >> 4) + m;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    #[test]
    fn decode_follows_the_block_tables() {
        let half = |x: f32| f16::from_f32(x).to_le_bytes();
        let mut q4_1: Vec<u8> = [half(0.5), half(-2.0)].concat();
        q4_1.extend((0..16u8).map(|i| i | ((15 - i) << 4)));
        let mut out = vec![0.0; 32];
        decode(DType::Q4_1, &q4_1, &mut out);
        assert_eq!((out[3], out[16], out[31]), (0.5 * 3.0 - 2.0, 0.5 * 15.0 - 2.0, -2.0));
        let mut q4_0 = half(2.0).to_vec();
        q4_0.extend(&q4_1[4..]);
        decode(DType::Q4_0, &q4_0, &mut out);
        assert_eq!((out[0], out[15], out[16]), (-16.0, 14.0, 14.0));
        let mut q8_0 = half(0.25).to_vec();
        q8_0.extend((0..32).map(|i| (i * 8 - 128) as i8 as u8));
        decode(DType::Q8_0, &q8_0, &mut out);
        assert_eq!((out[0], out[16], out[31]), (-32.0, 0.0, 30.0));
        decode(DType::BF16, &[0x80, 0x3f], &mut out[..1]);
        assert_eq!(out[0], 1.0);
    }
}
