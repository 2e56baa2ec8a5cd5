//! Exponentials and the functions built on them.

use super::lanes::Lanes;

/// A function of one number, with a relative error of at most 3e-7 unless stated otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Function {
    /// `e^x`
    Exp,
    /// The hyperbolic tangent.
    Tanh,
    /// `x / (1 + exp(-x))`
    Silu,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `x/2 (1 + erf(x / sqrt 2))`; relative error at most 6e-7, and `x^2` times that for `x` below -1.
    Gelu,
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`
    GeluTanh,
    /// `max(x, 0)`; NaN gives 0.
    Relu,
    /// `max(x, 0)^2`; NaN gives 0.
    Relu2,
}

/// Computes `exp(x) = 2^n exp(r)` with `n = round(x / ln 2)` and `|r| <= ln(2) / 2`, where eight terms of the series
/// suffice. Overflows to infinity and underflows, through subnormal numbers, to 0.
#[inline(always)]
fn exp<L: Lanes>(l: L, x: L::V) -> L::V {
    let (p, n) = exp_parts(l, l.min(l.splat(89.0), l.max(l.splat(-104.0), x)));
    l.times_power_of_two(p, n)
}

/// Returns `p` and `n` of `exp(x) = p 2^n`.
#[inline(always)]
fn exp_parts<L: Lanes>(l: L, x: L::V) -> (L::V, L::V) {
    let n = l.round(l.mul(x, l.splat(core::f32::consts::LOG2_E)));
    // ln 2 is split in two; the first part has so few bits that its multiples by n are exact (Cody and Waite 1980).
    let r = l.fma(n, l.splat(-355.0 / 512.0), x);
    let r = l.fma(n, l.splat(2.121_944_4e-4), r);
    let p = l.horner(r, &[1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0]);
    (p, n)
}

/// Computes [`exp`] of numbers up to 0; results below the smallest normal number become 0.
#[inline(always)]
fn exp_of_negative<L: Lanes>(l: L, x: L::V) -> L::V {
    let least = l.splat(-87.0);
    let (p, n) = exp_parts(l, l.max(least, x));
    l.pick_less(x, least, l.splat(0.0), l.mul(p, l.power_of_two(n)))
}

/// Uses the series to `x^13` below 0.35, and `(1 - e) / (1 + e)` with `e = exp(-2 |x|)` above.
#[inline(always)]
fn tanh<L: Lanes>(l: L, x: L::V) -> L::V {
    let (one, size, square) = (l.splat(1.0), l.abs(x), l.mul(x, x));
    const SERIES: [f32; 7] =
        [21_844.0 / 6_081_075.0, -1_382.0 / 155_925.0, 62.0 / 2_835.0, -17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0, 1.0];
    let small = l.mul(x, l.horner(square, &SERIES));
    let e = exp(l, l.mul(size, l.splat(-2.0)));
    let large = l.div(l.sub(one, e), l.add(one, e));
    let signed = l.pick_less(x, l.splat(0.0), l.sub(l.splat(0.0), large), large);
    l.pick_less(size, l.splat(0.35), small, signed)
}

/// Computes `max(x, 0) - |x|/2 erfc(|x| / sqrt 2)`, a form without a case for the sign.
#[inline(always)]
fn gelu<L: Lanes>(l: L, x: L::V) -> L::V {
    // If |x| is above 15, its erfc is below the smallest f32.
    let size = l.min(l.splat(15.0), l.abs(x));
    let a = l.mul(size, l.splat(core::f32::consts::FRAC_1_SQRT_2));
    let t = l.div(l.splat(1.0), l.fma(a, l.splat(0.5), l.splat(1.0)));
    // erfc a = t exp(p(t) - a^2), the form of Numerical Recipes, 6.2. This fit of p has an error of at most 6e-8.
    const FIT: [f32; 10] = [
        0.153_827_22,
        -0.728_747_07,
        1.268_045_9,
        -0.842_158_8,
        0.038_251_45,
        -0.060_395_99,
        0.055_067_997,
        0.382_477_4,
        0.999_102_23,
        -1.265_470_3,
    ];
    let erfc = l.mul(t, exp(l, l.sub(l.horner(t, &FIT), l.mul(a, a))));
    let relu = l.max(l.splat(0.0), x);
    l.sub(relu, l.mul(l.mul(size, l.splat(0.5)), erfc))
}

#[inline(always)]
fn silu<L: Lanes>(l: L, x: L::V) -> L::V {
    l.div(x, l.add(l.splat(1.0), exp(l, l.sub(l.splat(0.0), x))))
}

#[inline(always)]
fn sigmoid<L: Lanes>(l: L, x: L::V) -> L::V {
    let one = l.splat(1.0);
    l.div(one, l.add(one, exp(l, l.sub(l.splat(0.0), x))))
}

/// Uses `1 + tanh(u) = 2 / (1 + exp(-2 u))`.
#[inline(always)]
fn gelu_tanh<L: Lanes>(l: L, x: L::V) -> L::V {
    use core::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};
    let inner = l.fma(l.mul(l.mul(x, x), x), l.splat(0.044715), x);
    let e = exp(l, l.mul(inner, l.splat(-2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2)));
    l.div(x, l.add(l.splat(1.0), e))
}

#[inline(always)]
pub(super) fn apply<L: Lanes>(l: L, function: Function, x: &mut [f32]) {
    match function {
        Function::Exp => l.map(
            x,
            #[inline(always)]
            |x| exp(l, x),
        ),
        Function::Tanh => l.map(
            x,
            #[inline(always)]
            |x| tanh(l, x),
        ),
        Function::Silu => l.map(
            x,
            #[inline(always)]
            |x| silu(l, x),
        ),
        Function::Sigmoid => l.map(
            x,
            #[inline(always)]
            |x| sigmoid(l, x),
        ),
        Function::Gelu => l.map(
            x,
            #[inline(always)]
            |x| gelu(l, x),
        ),
        Function::GeluTanh => l.map(
            x,
            #[inline(always)]
            |x| gelu_tanh(l, x),
        ),
        Function::Relu => l.map(
            x,
            #[inline(always)]
            |x| l.pick_less(l.splat(0.0), x, x, l.splat(0.0)),
        ),
        Function::Relu2 => l.map(
            x,
            #[inline(always)]
            |x| l.pick_less(l.splat(0.0), x, l.mul(x, x), l.splat(0.0)),
        ),
    }
}

#[inline(always)]
pub(super) fn exp_sum<L: Lanes>(l: L, x: &mut [f32], shift: f32) -> f32 {
    sum_of(
        l,
        x,
        shift,
        #[inline(always)]
        |x| exp(l, x),
    )
}

/// Computes [`exp_sum`] of numbers that are at most `shift`.
#[inline(always)]
pub(super) fn weights_sum<L: Lanes>(l: L, x: &mut [f32], shift: f32) -> f32 {
    sum_of(
        l,
        x,
        shift,
        #[inline(always)]
        |x| exp_of_negative(l, x),
    )
}

/// Sets `x[i] = f(x[i] - shift)` and returns the sum.
#[inline(always)]
fn sum_of<L: Lanes>(l: L, x: &mut [f32], shift: f32, f: impl Fn(L::V) -> L::V) -> f32 {
    let (mut acc, shift) = (l.splat(0.0), l.splat(shift));
    let mut chunks = x.chunks_exact_mut(L::N);
    for chunk in &mut chunks {
        let y = f(l.sub(l.load(chunk), shift));
        acc = l.add(acc, y);
        l.store(y, chunk);
    }
    let tail = chunks.into_remainder();
    l.map(
        tail,
        #[inline(always)]
        |x| f(l.sub(x, shift)),
    );
    l.sum(acc) + tail.iter().sum::<f32>()
}

#[inline(always)]
pub(super) fn softcap<L: Lanes>(l: L, x: &mut [f32], cap: f32) {
    let (inverse, cap) = (l.splat(1.0 / cap), l.splat(cap));
    l.map(
        x,
        #[inline(always)]
        |x| l.mul(cap, tanh(l, l.mul(x, inverse))),
    );
}
