//! Portable definition of the integer products: the oracle of
//! tests, and the fallback for units without a faster version.

use super::{BLOCK, GROUP, LARGEST, Panel, Rounded, Row, RowMut, SMALLEST, unpack};
use crate::cpu::Tile;
use crate::dtype::DType;
use core::ops::Range;

/// Returns the offset in a row of the high byte of element `i` of block `b`. The low byte is `2 BLOCK` after it.
fn place(b: usize, i: usize) -> usize {
    b / 2 * 4 * BLOCK + i / 4 * 8 + b % 2 * 4 + i % 4
}

pub(super) fn round(x: &[f32], row: RowMut<'_>) {
    for (b, x) in x.chunks_exact(BLOCK).enumerate() {
        // NaN has the largest bits, so the maximum keeps it.
        let bits = x.iter().map(|x| x.abs().to_bits()).max().unwrap_or(0);
        let max = f32::from_bits(bits);
        let inverse = if max > SMALLEST { LARGEST / max } else { 0.0 };
        let mut sum = 0;
        for (i, x) in x.iter().enumerate() {
            let q = libm::rintf(x * inverse) as i32;
            let high = (q + 128) >> 8;
            row.q[place(b, i)] = high as i8;
            row.q[place(b, i) + 2 * BLOCK] = (q - 256 * high) as i8;
            sum += q;
        }
        row.scale[b] = max / LARGEST;
        row.sum[b] = max / LARGEST * sum as f32;
    }
}

pub(super) fn pack(format: DType, rows: &[u8], row_bytes: usize, panel: &mut Panel) {
    let block_bytes = format.block_bytes() as usize;
    let mut u = [0; BLOCK];
    panel.outputs = rows.len() / row_bytes;
    for (n, row) in rows.chunks_exact(row_bytes).enumerate() {
        for (b, block) in row.chunks_exact(block_bytes).enumerate() {
            let [d, m] = unpack(format, block, &mut u);
            let words = &mut panel.words[n / GROUP * panel.blocks + b];
            for (j, u) in u.chunks_exact(4).enumerate() {
                words[j * GROUP + n % GROUP] = u32::from_le_bytes([u[0], u[1], u[2], u[3]]);
            }
            words[8 * GROUP + n % GROUP] = d.to_bits();
            words[9 * GROUP + n % GROUP] = m.to_bits();
        }
    }
}

/// Returns one block's contribution to a product.
fn share(u: &[u8; BLOCK], [d, m]: [f32; 2], x: Row<'_>, b: usize) -> f32 {
    let q = |i: usize| 256 * i32::from(x.q[place(b, i)]) + i32::from(x.q[place(b, i) + 2 * BLOCK]);
    let dot: i32 = u.iter().enumerate().map(|(i, &u)| i32::from(u) * q(i)).sum();
    x.scale[b] * d * dot as f32 + m * x.sum[b]
}

pub(super) fn multiply(panel: &Panel, x: &Rounded, y: &mut Tile<'_>) {
    for t in 0..y.shape()[0] {
        for (n, y) in y.row(t)[..panel.outputs].iter_mut().enumerate() {
            *y = 0.0;
            for (b, words) in panel.group(n / GROUP).iter().enumerate() {
                let mut u = [0; BLOCK];
                for (j, u) in u.chunks_exact_mut(4).enumerate() {
                    u.copy_from_slice(&words[j * GROUP + n % GROUP].to_le_bytes());
                }
                let scales = [8, 9].map(|part| f32::from_bits(words[part * GROUP + n % GROUP]));
                *y += share(&u, scales, x.row(t), b);
            }
        }
    }
}

pub(super) fn dots(format: DType, rows: &[u8], row_bytes: usize, x: &Rounded, tokens: Range<usize>, out: &mut [f32]) {
    let mut u = [0; BLOCK];
    for (row, out) in rows.chunks_exact(row_bytes).zip(out.chunks_exact_mut(tokens.len())) {
        out.fill(0.0);
        for (b, block) in row.chunks_exact(format.block_bytes() as usize).enumerate() {
            let scales = unpack(format, block, &mut u);
            out.iter_mut().zip(tokens.clone()).for_each(|(out, t)| *out += share(&u, scales, x.row(t), b));
        }
    }
}
