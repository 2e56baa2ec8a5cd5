//! Vector primitives of the host forms. Each is written once over `Lanes` and compiled for every vector unit; the best
//! unit of the processor is chosen at run time.
//!
//! | level | needs | lanes |
//! |---|---|---|
//! | `portable` | nothing; not in wasm that has `simd128` | 8, as an array |
//! | `avx2` | AVX2, FMA, F16C | 8 |
//! | `avx512` | AVX-512 F beside those | 16 |
//! | `neon` | aarch64 | 4 |
//! | `simd128` | wasm32 compiled with `-C target-feature=+simd128` | 4 |
//!
//! Intrinsics are inlined only into functions that enable their unit. Everything between a body and an intrinsic is
//! therefore `#[inline(always)]`, closures included; a closure without it costs a call per intrinsic.
//!
//! On x86-64 the feature `std` enables run-time detection. Without it, a level is used only if the crate is compiled for
//! it. A crate compiled without AVX2 holds none of the x86 code: targets such as `x86_64-unknown-none` have no vector
//! registers.

/// Returns whether the processor has the given features.
#[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
macro_rules! has {
    ($($feature:tt),*) => {{
        #[cfg(feature = "std")]
        let all = true $(&& std::is_x86_feature_detected!($feature))*;
        #[cfg(not(feature = "std"))]
        let all = true $(&& cfg!(target_feature = $feature))*;
        all
    }};
}

mod bytes;
mod delta;
mod lanes;
mod math;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod portable;
mod product;
mod reduce;
mod softmax;
mod tiles;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
mod weights;
#[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
mod x86;

pub use bytes::Bytes;
pub(crate) use bytes::Panel;
pub use math::Function;
pub use product::Right;
pub(crate) use product::{PADDED, ROWS};
pub use tiles::Tiles;
pub(crate) use tiles::{GROUP, Split};

use crate::dtype::DType;
use alloc::vec::Vec;

/// A vector unit that this processor has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Simd(Level);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    Portable,
    #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
    Avx2,
    #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
    Avx512,
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    Neon,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
}

impl Simd {
    /// The level that every processor has.
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    pub const PORTABLE: Simd = Simd(Level::Portable);

    /// Returns the processor's best level.
    #[allow(unreachable_code, reason = "on some targets the best level is known when compiling")]
    pub fn detect() -> Self {
        #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
        if has!("avx2", "fma", "f16c") {
            return Simd(if has!("avx512f") { Level::Avx512 } else { Level::Avx2 });
        }
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        return Simd(Level::Neon);
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        return Simd(Level::Simd128);
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        Simd::PORTABLE
    }

    /// Returns every level that the processor has, the portable one first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        all.push(Simd::PORTABLE);
        let best = Simd::detect();
        #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
        if best.0 == Level::Avx512 {
            all.push(Simd(Level::Avx2));
        }
        if !all.contains(&best) {
            all.push(best);
        }
        all
    }

    /// Returns the name of the level, such as `avx2`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            Level::Portable => "portable",
            #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
            Level::Avx2 => "avx2",
            #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
            Level::Avx512 => "avx512",
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Level::Neon => "neon",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Level::Simd128 => "simd128",
        }
    }
}

/// Defines methods of [`Simd`], each of which calls a body inlined into a function that enables the level's unit.
macro_rules! dispatch {
    ($($(#[$doc:meta])* $name:ident = $body:path, ($($arg:ident: $type:ty),*) $(-> $ret:ty)?;)*) => {
        impl Simd {
            $($(#[$doc])*
            #[allow(clippy::too_many_arguments)]
            pub fn $name(self, $($arg: $type),*) $(-> $ret)? {
                match self.0 {
                    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
                    Level::Portable => $body(portable::Portable, $($arg),*),
                    #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
                    Level::Avx2 => {
                        #[target_feature(enable = "avx2,fma,f16c")]
                        fn enabled($($arg: $type),*) $(-> $ret)? {
                            // SAFETY: the enclosing function enables the features.
                            $body(unsafe { x86::Avx2::new() }, $($arg),*)
                        }
                        // SAFETY: the level exists only if the features have been detected.
                        unsafe { enabled($($arg),*) }
                    }
                    #[cfg(all(target_arch = "x86_64", any(feature = "std", target_feature = "avx2")))]
                    Level::Avx512 => {
                        #[target_feature(enable = "avx512f,avx2,fma,f16c")]
                        fn enabled($($arg: $type),*) $(-> $ret)? {
                            // SAFETY: the enclosing function enables the features.
                            $body(unsafe { x86::Avx512::new() }, $($arg),*)
                        }
                        // SAFETY: the level exists only if the features have been detected.
                        unsafe { enabled($($arg),*) }
                    }
                    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
                    Level::Neon => $body(neon::Neon, $($arg),*),
                    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
                    Level::Simd128 => $body(wasm::Simd128, $($arg),*),
                }
            })*
        }
    };
}

dispatch! {
    /// Returns `sum_i a[i] b[i]`; both have the same length.
    dot = reduce::dot, (a: &[f32], b: &[f32]) -> f32;
    /// Returns `sum_i x[i]`.
    sum = reduce::sum, (x: &[f32]) -> f32;
    /// Returns `sum_i (x[i] - mean)^2`.
    squares = reduce::squares, (x: &[f32], mean: f32) -> f32;
    /// Returns the largest element, minus infinity if empty; a NaN is either returned or ignored.
    max = reduce::max, (x: &[f32]) -> f32;
    /// Writes the indices of elements of at least `floor` to the front of `out`, ascending, and returns their number.
    above = reduce::above, (x: &[f32], floor: f32, out: &mut [u32]) -> usize;
    /// Writes `out[j] = a . row j`, where row `j` has `a.len()` elements from `j stride` on.
    dots = reduce::dots, (a: &[f32], rows: &[f32], stride: usize, out: &mut [f32]);
    /// Adds scaled rows: `out[i] += sum_j a[j] row j[i]`, where row `j` has `out.len()` elements from `j stride` on.
    add_rows = reduce::add_rows, (a: &[f32], rows: &[f32], stride: usize, out: &mut [f32]);
    /// Writes [`dots`](Self::dots) of several vectors with the same rows. `size`: vectors, elements, rows; the strides are
    /// those of the rows and of the vectors' outputs.
    dots_of_several = reduce::dots_of_several, (a: &[f32], rows: &[f32], size: [usize; 3], strides: [usize; 2], out: &mut [f32]);
    /// Does [`add_rows`](Self::add_rows) for several outputs with the same rows. `size`: outputs, elements, rows; the strides
    /// are those of the rows and of the outputs' weights.
    add_rows_to_several = reduce::add_rows_to_several, (a: &[f32], rows: &[f32], size: [usize; 3], strides: [usize; 2],
        out: &mut [f32]);
    /// Prefetches the cache lines that hold `x`, if the unit has an instruction for it.
    fetch = reduce::fetch, (x: &[f32]);
    /// Scales `x`: `x[i] *= factor`.
    scale = reduce::scale, (x: &mut [f32], factor: f32);
    /// Adds `y` to `x`: `x[i] += y[i]`.
    add = reduce::add, (x: &mut [f32], y: &[f32]);
    /// Multiplies `x` by `y`: `x[i] *= y[i]`.
    mul = reduce::mul, (x: &mut [f32], y: &[f32]);
    /// Computes `x[i] = (x[i] - mean) factor (weight[i] + offset)`.
    normalise = reduce::normalise, (x: &mut [f32], mean: f32, factor: f32, weight: &[f32], offset: f32);
    /// Rotates `(a, b) = (a cos - b sin, a sin + b cos)` element by element; all four have the same length.
    rotate = reduce::rotate, (a: &mut [f32], b: &mut [f32], cos: &[f32], sin: &[f32]);

    /// Computes `x[i] = f(x[i])`.
    apply = math::apply, (function: Function, x: &mut [f32]);
    /// Sets `x[i] = exp(x[i] - shift)` and returns the sum.
    exp_sum = math::exp_sum, (x: &mut [f32], shift: f32) -> f32;
    /// Turns a tile of logits into attention weights and updates the state of its rows: see the module `softmax`.
    online_softmax = softmax::online, (logits: &mut [f32], size: [usize; 2], seen: &[[usize; 2]], max: &mut [f32],
        sum: &mut [f32], acc: &mut [f32]);
    /// Computes `x[i] = cap tanh(x[i] / cap)`.
    softcap = math::softcap, (x: &mut [f32], cap: f32);

    /// Computes `c = a b`, or `c += a b`, for matrices that fit into caches: see the module `product`.
    product = product::multiply, (a: &[f32], b: Right<'_>, c: &mut [f32], size: [usize; 3], strides: [usize; 2], add: bool);
    /// Transposes `out[i, j] = rows[j, i]`; `size` is the rows and columns of `rows`, `strides` the row strides of
    /// both and the strip stride of `out`.
    transpose_strips = product::transpose, (rows: &[f32], out: &mut [f32], size: [usize; 2], strides: [usize; 3]);

    /// Computes one token of the delta rule: see the module `delta`.
    delta_step = delta::step, (state: &mut [f32], size: [usize; 2], vectors: [&[f32]; 5], written: &[f32], out: &mut [f32]);

    /// Decodes weights, like [`quant::decode`](crate::quant::decode).
    decode = weights::decode, (format: DType, bytes: &[u8], out: &mut [f32]);
    /// Decodes rows of weights to `out`, one behind the other; `size` is the number of rows, elements of a row, and bytes
    /// between the beginnings of two rows.
    decode_rows = weights::decode_rows, (format: DType, bytes: &[u8], size: [usize; 3], out: &mut [f32]);
    /// Writes `out[n, t] = x[t] . row n`, for weight rows of `row_bytes` each and 1 to 4 tokens `x_stride` apart.
    weight_dots = weights::dots, (format: DType, rows: &[u8], row_bytes: usize, x: &[f32], size: [usize; 3], out: &mut [f32]);
}

impl Simd {
    /// Computes [`product`](Self::product) with a right side in whole rows; `strides` are those of `a`, `b` and `c`.
    #[allow(clippy::too_many_arguments)]
    pub fn multiply(self, a: &[f32], b: &[f32], c: &mut [f32], size: [usize; 3], strides: [usize; 3], add: bool) {
        self.product(a, Right::rows(b, strides[1]), c, size, [strides[0], strides[2]], add);
    }

    /// Computes [`transpose_strips`](Self::transpose_strips) into whole rows; `strides` are those of both.
    pub fn transpose(self, rows: &[f32], out: &mut [f32], size: [usize; 2], strides: [usize; 2]) {
        self.transpose_strips(rows, out, size, [strides[0], strides[1], PADDED]);
    }
}

#[cfg(test)]
mod tests;
