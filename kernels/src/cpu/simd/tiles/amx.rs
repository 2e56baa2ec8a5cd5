//! AMX tile products, with AVX-512 to split f32 into bf16.
#![allow(clippy::needless_range_loop, reason = "counted loops over registers unroll")]

use super::{BLOCK, Line, STEP, Uninit};
use crate::cpu::{Matrix, Tile};
use core::arch::asm;
use core::arch::x86_64::*;

/// Returns whether the processor has AMX for bf16 and the system permits this process to use it.
pub(super) fn lent() -> bool {
    static LENT: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *LENT.get_or_init(request)
}

fn request() -> bool {
    let features = __cpuid_count(7, 0).edx;
    let amx = features >> 22 & 1 == 1 && features >> 24 & 1 == 1;
    if !amx || !has!("avx512f", "avx512bw", "avx512vl", "avx512bf16") {
        return false;
    }
    // Calls arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA), which applies to all threads of the process.
    let refused: i64;
    // SAFETY: the call reads only its arguments and writes no memory; a system that does not know it returns an error.
    unsafe {
        asm!("syscall", inlateout("rax") 158i64 => refused, in("rdi") 0x1023, in("rsi") 18, lateout("rcx") _,
            lateout("r11") _, options(nostack));
    }
    refused == 0
}

/// Splits 32 numbers into high and low bf16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn halves(x: [__m512; 2]) -> [__m512i; 2] {
    // SAFETY: all are registers of 64 bytes.
    let pack = |[a, b]: [__m512; 2]| unsafe { core::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(b, a)) };
    let high = pack(x);
    let lower = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(high));
    let upper = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(high));
    let rest = |x: __m512, bits: __m512i| _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits)));
    [high, pack([rest(x[0], lower), rest(x[1], upper)])]
}

/// Loads up to 32 numbers and pads with zeros.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(x: &[f32]) -> [__m512; 2] {
    let mask = |count: usize| ((1u32 << count.min(16)) - 1) as __mmask16;
    // SAFETY: the masks cover exactly the elements of the slice.
    unsafe {
        let second = x.as_ptr().wrapping_add(16);
        let lower = _mm512_maskz_loadu_ps(mask(x.len()), x.as_ptr());
        [lower, _mm512_maskz_loadu_ps(mask(x.len().saturating_sub(16)), second)]
    }
}

#[inline]
fn store(line: &mut Uninit, bits: __m512i) {
    // SAFETY: both types have 64 bytes.
    line.write(Line(unsafe { core::mem::transmute::<__m512i, [u16; 32]>(bits) }));
}

/// `height` is the number of lines of a step: 32, or 16 without low halves.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn split_rows(x: Matrix<'_>, height: usize, to: &mut [Uninit]) {
    let ([rows, terms], [next_row, next_term]) = (x.shape(), x.strides());
    assert_eq!(next_term, 1, "the terms of a row lie together");
    for (step, lines) in to.chunks_exact_mut(height).enumerate() {
        let here = step * STEP..terms.min((step + 1) * STEP);
        for i in 0..16 {
            let halves = match i < rows {
                true => halves(load(&x.data()[i * next_row..][here.clone()])),
                false => [_mm512_setzero_si512(); 2],
            };
            for (lines, half) in lines.chunks_exact_mut(16).zip(halves) {
                store(&mut lines[i], half);
            }
        }
    }
}

/// `height` is as for [`split_rows`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn split_columns(b: Matrix<'_>, height: usize, to: &mut [Uninit]) {
    let [terms, columns] = b.shape();
    let [next_term, next_column] = b.strides();
    assert!(next_term == 1 || next_column == 1, "rows or columns lie together");
    for (step, lines) in to.chunks_exact_mut(height).enumerate() {
        let here = step * STEP..terms.min((step + 1) * STEP);
        if next_term == 1 {
            // Terms of a column are contiguous: transposing pairs of terms yields the layout of pairs.
            let mut rows = [[_mm512_setzero_si512(); 16]; 2];
            for n in 0..columns {
                [rows[0][n], rows[1][n]] = halves(load(&b.data()[n * next_column..][here.clone()]));
            }
            for (lines, rows) in lines.chunks_exact_mut(16).zip(&rows) {
                for (line, bits) in lines.iter_mut().zip(transpose(rows)) {
                    store(line, bits);
                }
            }
            continue;
        }
        for pair in 0..16 {
            let mut x = [_mm512_setzero_ps(); 2];
            for (x, term) in x.iter_mut().zip(here.start + 2 * pair..here.end) {
                let row = &b.data()[term * next_term..];
                *x = load(&row[..columns])[0];
            }
            // The first term's numbers are in the lower half, the second term's in the upper half.
            for (lines, bits) in lines.chunks_exact_mut(16).zip(halves(x)) {
                store(&mut lines[pair], turn(bits));
            }
        }
    }
}

/// Interleaves the words of the lower half with those of the upper half.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn turn(bits: __m512i) -> __m512i {
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 32 {
            order[i] = (i / 2 + i % 2 * 16) as u16;
            i += 1;
        }
        order
    };
    // SAFETY: both types have 64 bytes.
    _mm512_permutexvar_epi16(unsafe { core::mem::transmute::<[u16; 32], __m512i>(ORDER) }, bits)
}

/// Transposes a matrix of 16 x 16 dwords.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: &[__m512i; 16]) -> [__m512i; 16] {
    let mut a = *rows;
    let mut b = a;
    for i in 0..8 {
        b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
    }
    for i in 0..4 {
        for j in 0..2 {
            a[4 * i + 2 * j] = _mm512_unpacklo_epi64(b[4 * i + j], b[4 * i + j + 2]);
            a[4 * i + 2 * j + 1] = _mm512_unpackhi_epi64(b[4 * i + j], b[4 * i + j + 2]);
        }
    }
    // Here `a[4 i + j]` holds, in each quarter `q`, rows `4 i..` of column `4 q + j`.
    for j in 0..4 {
        let low = _mm512_shuffle_i32x4::<0x88>(a[j], a[4 + j]);
        let high = _mm512_shuffle_i32x4::<0xdd>(a[j], a[4 + j]);
        let low2 = _mm512_shuffle_i32x4::<0x88>(a[8 + j], a[12 + j]);
        let high2 = _mm512_shuffle_i32x4::<0xdd>(a[8 + j], a[12 + j]);
        b[j] = _mm512_shuffle_i32x4::<0x88>(low, low2);
        b[8 + j] = _mm512_shuffle_i32x4::<0xdd>(low, low2);
        b[4 + j] = _mm512_shuffle_i32x4::<0x88>(high, high2);
        b[12 + j] = _mm512_shuffle_i32x4::<0xdd>(high, high2);
    }
    b
}

/// Rows per pass over all columns.
const ROWS: usize = 128;

/// Tile configuration: eight tiles of 16 rows of 64 bytes.
#[repr(align(64))]
struct Configuration(#[allow(dead_code, reason = "read by assembly")] [u8; 64]);

const CONFIGURATION: Configuration = {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let mut i = 0;
    while i < 8 {
        bytes[16 + 2 * i] = 64;
        bytes[48 + i] = 16;
        i += 1;
    }
    Configuration(bytes)
};

/// # Safety
/// The system has granted the unit, and all lines of `a` and `b` have been written: whole blocks of `steps` steps.
/// `coarse` says whether they have no low halves.
pub(super) unsafe fn multiply([a, b]: [&[Uninit]; 2], steps: usize, coarse: bool, c: &mut Tile<'_>, add: bool) {
    let [rows, columns] = c.shape();
    let (height, block) = if coarse { (16, rounded as Block) } else { (32, split as Block) };
    let mut edge = [[0.0f32; BLOCK]; BLOCK];
    // SAFETY: the system has granted the unit.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &CONFIGURATION, options(nostack, readonly)) };
    // A band of rows stays in the cache for the pass over all columns.
    for from in (0..rows).step_by(ROWS) {
        for n in (0..columns).step_by(BLOCK) {
            for m in (from..rows.min(from + ROWS)).step_by(BLOCK) {
                let left = &a[m / 16 * steps * height..][..2 * steps * height];
                let right = &b[n / 16 * steps * height..][..2 * steps * height];
                if m + BLOCK <= rows && n + BLOCK <= columns {
                    let stride = c.stride();
                    // SAFETY: the block lies inside of the tile; all lines have been written.
                    unsafe { block(left, right, c.as_mut_ptr().add(m * stride + n), stride, add) };
                    continue;
                }
                let size = [rows - m, columns - n].map(|s| s.min(BLOCK));
                if add {
                    (0..size[0]).for_each(|i| edge[i][..size[1]].copy_from_slice(&c.row(m + i)[n..n + size[1]]));
                }
                // SAFETY: `edge` is a whole block; all lines have been written.
                unsafe { block(left, right, edge.as_mut_ptr().cast(), BLOCK, add) };
                (0..size[0]).for_each(|i| c.row(m + i)[n..n + size[1]].copy_from_slice(&edge[i][..size[1]]));
            }
        }
    }
    // SAFETY: as above.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// Multiplies 32 rows with 32 columns in four tiles; `c` has row stride `stride`.
///
/// # Safety
/// `left` and `right` have been written, `c` points to 32 rows of 32 numbers, and the tiles are configured.
type Block = unsafe fn(left: &[Uninit], right: &[Uninit], c: *mut f32, stride: usize, add: bool);

/// Defines a [`Block`] whose steps have `$height` lines, with the instructions of a step. These find the two halves of the
/// rows at `{a0}` and `{a1}`, of the columns at `{b0}` and `{b1}`, and add to the tiles 0 to 3.
macro_rules! define_block {
    ($name:ident, $height:literal, $($instruction:literal),+ $(,)?) => {
        unsafe fn $name(left: &[Uninit], right: &[Uninit], c: *mut f32, stride: usize, add: bool) {
            let (half, bytes) = (left.len() / 2, stride * 4);
            let steps = half / $height;
            assert_eq!(left.len(), right.len(), "as many terms");
            // SAFETY: both sides have the same number of steps; the caller promises the rest.
            unsafe {
                asm!(
                    "test {add:e}, {add:e}",
                    "jnz 2f",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "jmp 3f",
                    "2:",
                    "tileloadd tmm0, [{c0} + {bytes}]",
                    "tileloadd tmm1, [{c0} + {bytes} + 64]",
                    "tileloadd tmm2, [{c1} + {bytes}]",
                    "tileloadd tmm3, [{c1} + {bytes} + 64]",
                    "3:",
                    "test {steps}, {steps}",
                    "jz 5f",
                    "4:",
                    $($instruction,)+
                    "add {a0}, {step}",
                    "add {a1}, {step}",
                    "add {b0}, {step}",
                    "add {b1}, {step}",
                    "dec {steps}",
                    "jnz 4b",
                    "5:",
                    "tilestored [{c0} + {bytes}], tmm0",
                    "tilestored [{c0} + {bytes} + 64], tmm1",
                    "tilestored [{c1} + {bytes}], tmm2",
                    "tilestored [{c1} + {bytes} + 64], tmm3",
                    add = in(reg) u32::from(add),
                    a0 = inout(reg) left.as_ptr() => _,
                    a1 = inout(reg) left.as_ptr().add(half) => _,
                    b0 = inout(reg) right.as_ptr() => _,
                    b1 = inout(reg) right.as_ptr().add(half) => _,
                    c0 = in(reg) c,
                    c1 = in(reg) c.add(16 * stride),
                    bytes = in(reg) bytes,
                    line = in(reg) 64usize,
                    step = const 64 * $height,
                    steps = inout(reg) steps => _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

define_block!(
    split,
    32,
    // high right, low left
    "tileloadd tmm6, [{b0} + {line}]",
    "tileloadd tmm4, [{a0} + {line} + 1024]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm7, [{b1} + {line}]",
    "tdpbf16ps tmm1, tmm4, tmm7",
    "tileloadd tmm5, [{a1} + {line} + 1024]",
    "tdpbf16ps tmm2, tmm5, tmm6",
    "tdpbf16ps tmm3, tmm5, tmm7",
    // high right, high left
    "tileloadd tmm4, [{a0} + {line}]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tdpbf16ps tmm1, tmm4, tmm7",
    "tileloadd tmm5, [{a1} + {line}]",
    "tdpbf16ps tmm2, tmm5, tmm6",
    "tdpbf16ps tmm3, tmm5, tmm7",
    // low right, high left
    "tileloadd tmm6, [{b0} + {line} + 1024]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm7, [{b1} + {line} + 1024]",
    "tdpbf16ps tmm1, tmm4, tmm7",
    "tdpbf16ps tmm2, tmm5, tmm6",
    "tdpbf16ps tmm3, tmm5, tmm7",
);

define_block!(
    rounded,
    16,
    "tileloadd tmm6, [{b0} + {line}]",
    "tileloadd tmm4, [{a0} + {line}]",
    "tdpbf16ps tmm0, tmm4, tmm6",
    "tileloadd tmm7, [{b1} + {line}]",
    "tdpbf16ps tmm1, tmm4, tmm7",
    "tileloadd tmm5, [{a1} + {line}]",
    "tdpbf16ps tmm2, tmm5, tmm6",
    "tdpbf16ps tmm3, tmm5, tmm7",
);
