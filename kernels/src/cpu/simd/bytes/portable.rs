//! Portable definition of the integer products: the oracle of
//! tests, and the fallback for units without a faster version.

use super::formats::{Bytes32, Format, by_format, each_block};
use super::panel::pack_rows;
use super::{BLOCK, GROUP, LARGEST, Panel, Rounded, Row, RowMut, SMALLEST, TOGETHER};
use crate::cpu::Tile;
use crate::dtype::DType;
use core::array::from_fn;
use core::ops::Range;

/// Returns the offset in a row of the high byte of element `i` of block `b`. The low byte is `2 BLOCK` after it.
fn place(b: usize, i: usize) -> usize {
    b / 2 * 4 * BLOCK + i / 4 * 8 + b % 2 * 4 + i % 4
}

#[derive(Clone, Copy)]
struct Bytes([u8; BLOCK]);

impl Bytes32 for Bytes {
    unsafe fn load(at: *const u8) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { at.cast::<[u8; BLOCK]>().read() })
    }

    unsafe fn nibbles(at: *const u8) -> Self {
        // SAFETY: the caller's promise.
        let q = unsafe { at.cast::<[u8; BLOCK / 2]>().read() };
        Self(from_fn(|i| q[i % 16] >> (4 * (i / 16)) & 15))
    }

    unsafe fn where_set(bits: u32, byte: u8) -> Self {
        Self(from_fn(|i| if bits >> i & 1 == 1 { byte } else { 0 }))
    }

    unsafe fn field(self, mask: u8, up: i32) -> Self {
        Self(self.0.map(|byte| if up < 0 { (byte & mask) >> -up } else { (byte & mask) << up }))
    }

    unsafe fn or(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] | other.0[i]))
    }

    unsafe fn lookup(self, table: &[i8; 16]) -> Self {
        Self(self.0.map(|byte| table[usize::from(byte & 15)] as u8))
    }

    unsafe fn store(self, out: &mut [u8; BLOCK]) {
        *out = self.0;
    }
}

pub(super) fn round(x: &[f32], mut row: RowMut<'_>) {
    for (b, x) in x.chunks_exact(BLOCK).enumerate() {
        // NaN has the largest bits, so the maximum keeps it.
        let bits = x.iter().map(|x| x.abs().to_bits()).max().unwrap_or(0);
        let max = f32::from_bits(bits);
        let inverse = if max > SMALLEST { LARGEST / max } else { 0.0 };
        let mut sums = [0; 2];
        for (i, x) in x.iter().enumerate() {
            let q = libm::rintf(x * inverse) as i32;
            let high = (q + 128) >> 8;
            let q = if row.coarse { 256 * high } else { q };
            row.q[place(b, i)] = high as i8;
            row.q[place(b, i) + 2 * BLOCK] = (q - 256 * high) as i8;
            sums[2 * i / BLOCK] += q;
        }
        row.set(b, max / LARGEST, sums);
    }
}

pub(super) fn pack(format: DType, rows: &[u8], row_bytes: usize, panel: &mut Panel) {
    // SAFETY: the bytes need no instructions of their own.
    unsafe { by_format!(format, pack_rows::<_, Bytes>(rows, row_bytes, 0, panel)) }
}

/// Returns one block's contribution to a product. `scales` are `d` and `m` of each half.
fn share(u: [i32; BLOCK], scales: [[f32; 2]; 2], x: Row<'_>, b: usize) -> f32 {
    let q = |i: usize| 256 * i32::from(x.q[place(b, i)]) + i32::from(x.q[place(b, i) + 2 * BLOCK]);
    let mut sum = 0.0;
    for (half, [d, m]) in scales.into_iter().enumerate() {
        let dot: i32 = (BLOCK / 2 * half..BLOCK / 2 * (half + 1)).map(|i| u[i] * q(i)).sum();
        sum += x.scale[b] * d * dot as f32 + m * x.sum[super::place(b, half)];
    }
    sum
}

pub(super) fn multiply(panel: &Panel, x: &Rounded, y: &mut Tile<'_>) {
    for t in 0..y.shape()[0] {
        for (n, y) in y.row(t)[..panel.outputs].iter_mut().enumerate() {
            *y = 0.0;
            for (b, words) in panel.group(n / GROUP).chunks_exact(panel.width()).enumerate() {
                let word = |j: usize| words[j * GROUP + n % GROUP];
                let u = from_fn(|i| i32::from(word(i / 4).to_le_bytes()[i % 4]));
                let half = if panel.halves { 2 } else { 0 };
                let scales = [0, half].map(|half| [8, 9].map(|part| f32::from_bits(word(part + half))));
                *y += share(u, scales, x.row(t), b);
            }
        }
    }
}

pub(super) fn dots(format: DType, rows: &[u8], row_bytes: usize, x: &Rounded, tokens: Range<usize>, out: &mut [f32]) {
    by_format!(format, format_dots::<_>(rows, row_bytes, x, tokens, out));
}

fn format_dots<F: Format>(rows: &[u8], row_bytes: usize, x: &Rounded, tokens: Range<usize>, out: &mut [f32]) {
    tokens.clone().for_each(|t| x.row(t).holds(row_bytes / F::BYTES * F::GROUPS));
    for (row, out) in rows.chunks_exact(row_bytes).zip(out.chunks_exact_mut(tokens.len())) {
        out.fill(0.0);
        let blocks = row.len() / F::BYTES * F::GROUPS;
        for first in (0..blocks).step_by(TOGETHER) {
            let count = (blocks - first).min(TOGETHER);
            let at = row[first / F::GROUPS * F::BYTES..].as_ptr();
            // SAFETY: `count` blocks from block `first` of the row on.
            unsafe {
                let scales = F::scales::<Bytes>(at, count);
                each_block!(F, count, block_dots::<F>(at, first, &scales, x, tokens.clone(), out));
            }
        }
    }
}

/// # Safety
/// `at` points to blocks up to block `b`.
unsafe fn block_dots<F: Format, const G: usize>(
    b: usize,
    at: *const u8,
    first: usize,
    [d, m]: &[super::formats::Scales; 2],
    x: &Rounded,
    tokens: Range<usize>,
    out: &mut [f32],
) {
    let mut u = [0; BLOCK];
    // SAFETY: the caller's promise.
    unsafe { F::integers::<Bytes, G>(at.add(b / F::GROUPS * F::BYTES)).store(&mut u) };
    let u = u.map(|u| if F::SIGNED { i32::from(u as i8) } else { i32::from(u) });
    let scales = [b, TOGETHER + b].map(|i| [d[i], m[i]]);
    out.iter_mut().zip(tokens).for_each(|(out, t)| *out += share(u, scales, x.row(t), first + b));
}
