//! Vector building blocks of the host forms: each written once over `Lanes` and compiled once for every
//! vector unit, of which the best that the processor has is chosen at run time.
//!
//! | level | needs | lanes |
//! |---|---|---|
//! | `portable` | nothing; not in wasm that has `simd128` | 8, as an array |
//! | `avx2` | AVX2, FMA, F16C | 8 |
//! | `avx512` | AVX-512 F beside those | 16 |
//! | `neon` | aarch64 | 4 |
//! | `simd128` | wasm32 compiled with `-C target-feature=+simd128` | 4 |
//!
//! Intrinsics are inlined only into functions that enable their unit, so everything between a body and an intrinsic is
//! `#[inline(always)]`, closures included: one that is not costs a call for every intrinsic in it.
//!
//! On x86-64 the unit is detected with the feature `std`; without it, a level is used if the crate is compiled for it.

/// Whether the processor has a feature.
#[cfg(target_arch = "x86_64")]
macro_rules! has {
    ($($feature:tt),*) => {{
        #[cfg(feature = "std")]
        let all = true $(&& std::is_x86_feature_detected!($feature))*;
        #[cfg(not(feature = "std"))]
        let all = true $(&& cfg!(target_feature = $feature))*;
        all
    }};
}

#[cfg_attr(
    all(target_arch = "wasm32", target_feature = "simd128"),
    allow(dead_code, reason = "no unit of wasm takes packed weights")
)]
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
#[cfg(target_arch = "x86_64")]
mod x86;

pub use bytes::Bytes;
pub(crate) use bytes::{Panel, Rounded};
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
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    Neon,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
}

impl Simd {
    /// What every processor can do.
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    pub const PORTABLE: Simd = Simd(Level::Portable);

    /// The best that the processor has.
    #[allow(unreachable_code, reason = "on some targets the best level is known when compiling")]
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
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

    /// Every level that the processor has, the portable one first.
    pub fn available() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        all.push(Simd::PORTABLE);
        let best = Simd::detect();
        #[cfg(target_arch = "x86_64")]
        if best.0 == Level::Avx512 {
            all.push(Simd(Level::Avx2));
        }
        if !all.contains(&best) {
            all.push(best);
        }
        all
    }

    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Level::Neon => "neon",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Level::Simd128 => "simd128",
        }
    }
}

/// A method of [`Simd`] that calls a body, inlined into a function that enables the level's unit.
macro_rules! dispatch {
    ($($(#[$doc:meta])* $name:ident = $body:path, ($($arg:ident: $type:ty),*) $(-> $ret:ty)?;)*) => {
        impl Simd {
            $($(#[$doc])*
            #[allow(clippy::too_many_arguments)]
            pub fn $name(self, $($arg: $type),*) $(-> $ret)? {
                match self.0 {
                    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
                    Level::Portable => $body(portable::Portable, $($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => {
                        #[target_feature(enable = "avx2,fma,f16c")]
                        fn enabled($($arg: $type),*) $(-> $ret)? {
                            // SAFETY: the features are those that the function enables.
                            $body(unsafe { x86::Avx2::new() }, $($arg),*)
                        }
                        // SAFETY: the level is made only where the features have been detected.
                        unsafe { enabled($($arg),*) }
                    }
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => {
                        #[target_feature(enable = "avx512f,avx2,fma,f16c")]
                        fn enabled($($arg: $type),*) $(-> $ret)? {
                            // SAFETY: the features are those that the function enables.
                            $body(unsafe { x86::Avx512::new() }, $($arg),*)
                        }
                        // SAFETY: the level is made only where the features have been detected.
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
    /// `sum_i a[i] b[i]`; both are equally long.
    dot = reduce::dot, (a: &[f32], b: &[f32]) -> f32;
    /// `sum_i x[i]`
    sum = reduce::sum, (x: &[f32]) -> f32;
    /// `sum_i (x[i] - mean)^2`
    squares = reduce::squares, (x: &[f32], mean: f32) -> f32;
    /// The largest element, minus infinity for none; a NaN may come out or be passed over.
    max = reduce::max, (x: &[f32]) -> f32;
    /// Where elements of at least `floor` stand, ascending, at the front of `out`; how many there are.
    above = reduce::above, (x: &[f32], floor: f32, out: &mut [u32]) -> usize;
    /// `out[j] = a . row j`, where row `j` of `a.len()` elements begins at `j stride`.
    dots = reduce::dots, (a: &[f32], rows: &[f32], stride: usize, out: &mut [f32]);
    /// `out[i] += sum_j a[j] row j[i]`, where row `j` of `out.len()` elements begins at `j stride`.
    add_rows = reduce::add_rows, (a: &[f32], rows: &[f32], stride: usize, out: &mut [f32]);
    /// Has the lines of the cache that hold `x` fetched, where the unit can ask for it.
    fetch = reduce::fetch, (x: &[f32]);
    /// `x[i] *= factor`
    scale = reduce::scale, (x: &mut [f32], factor: f32);
    /// `x[i] += y[i]`
    add = reduce::add, (x: &mut [f32], y: &[f32]);
    /// `x[i] *= y[i]`
    mul = reduce::mul, (x: &mut [f32], y: &[f32]);
    /// `x[i] = (x[i] - mean) factor (weight[i] + offset)`
    normalise = reduce::normalise, (x: &mut [f32], mean: f32, factor: f32, weight: &[f32], offset: f32);
    /// `(a, b) = (a cos - b sin, a sin + b cos)` element by element; all four are equally long.
    rotate = reduce::rotate, (a: &mut [f32], b: &mut [f32], cos: &[f32], sin: &[f32]);

    /// `x[i] = f(x[i])`
    apply = math::apply, (function: Function, x: &mut [f32]);
    /// `x[i] = exp(x[i] - shift)`, and their sum.
    exp_sum = math::exp_sum, (x: &mut [f32], shift: f32) -> f32;
    /// The weights of a tile of logits, and the state of its rows: see the module `softmax`.
    online_softmax = softmax::online, (logits: &mut [f32], size: [usize; 2], seen: &[[usize; 2]], max: &mut [f32],
        sum: &mut [f32], acc: &mut [f32]);
    /// `x[i] = cap tanh(x[i] / cap)`
    softcap = math::softcap, (x: &mut [f32], cap: f32);

    /// `c = a b`, or `c += a b`, of cached matrices: see the module `product`.
    product = product::multiply, (a: &[f32], b: Right<'_>, c: &mut [f32], size: [usize; 3], strides: [usize; 2], add: bool);
    /// `out[i, j] = rows[j, i]` for `size` rows and columns of `rows`; `strides` of the rows of both, and of strips of `out`.
    transpose_strips = product::transpose, (rows: &[f32], out: &mut [f32], size: [usize; 2], strides: [usize; 3]);

    /// One token of the delta rule: see the module `delta`.
    delta_step = delta::step, (state: &mut [f32], size: [usize; 2], vectors: [&[f32]; 4], written: &[f32], out: &mut [f32]);

    /// Decodes weights, as [`quant::decode`](crate::quant::decode) does.
    decode = weights::decode, (format: DType, bytes: &[u8], out: &mut [f32]);
    /// `out[n, t] = x[t] . row n` for rows of weights of `row_bytes` each and 1 to 4 tokens `x_stride` apart.
    weight_dots = weights::dots, (format: DType, rows: &[u8], row_bytes: usize, x: &[f32], size: [usize; 3], out: &mut [f32]);
}

impl Simd {
    /// [`product`](Self::product) with a right side whose rows are whole: the strides of all three.
    #[allow(clippy::too_many_arguments)]
    pub fn multiply(self, a: &[f32], b: &[f32], c: &mut [f32], size: [usize; 3], strides: [usize; 3], add: bool) {
        self.product(a, Right::rows(b, strides[1]), c, size, [strides[0], strides[2]], add);
    }

    /// [`transpose_strips`](Self::transpose_strips) to whole rows: the strides of both.
    pub fn transpose(self, rows: &[f32], out: &mut [f32], size: [usize; 2], strides: [usize; 2]) {
        self.transpose_strips(rows, out, size, [strides[0], strides[1], PADDED]);
    }
}

#[cfg(test)]
mod tests;
