//! One vector register of f32, and the operations that the generic bodies use.

/// Proof that the processor has a vector unit, with that unit's operations. Bodies are generic over it and become
/// vector code when inlined into a function that enables the unit; see [`dispatch`](super::dispatch).
///
/// Loads and stores take the first [`N`](Lanes::N) elements of a slice and panic if it is shorter.
/// If `b` is NaN, `max` and `min` return NaN.
pub(crate) trait Lanes: Copy {
    /// Register type.
    type V: Copy;
    /// Elements of a register: 4, 8 or 16.
    const N: usize;
    /// Number of registers of the unit.
    const REGISTERS: usize;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, x: &[f32]) -> Self::V;
    fn store(self, v: Self::V, out: &mut [f32]);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// Returns `a b + c`, with one rounding if the unit has a fused instruction.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// Returns `x` where `a < b`, `y` elsewhere.
    fn pick_less(self, a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// Returns `2^v` for integers from -126 to 127.
    fn power_of_two(self, v: Self::V) -> Self::V;
    /// Returns the sum over the lanes.
    fn sum(self, v: Self::V) -> f32;
    /// Returns the largest lane.
    fn largest(self, v: Self::V) -> f32;

    /// Loads `N` signed bytes.
    fn i8s(self, bytes: &[u8]) -> Self::V;
    /// Loads `N` little-endian f16.
    fn f16s(self, bytes: &[u8]) -> Self::V;
    /// Loads `N` little-endian bf16.
    fn bf16s(self, bytes: &[u8]) -> Self::V;
    /// Loads one little-endian f16 into every lane.
    fn splat_f16(self, bytes: &[u8]) -> Self::V;
    /// Returns `d q + m` of the low and of the high nibbles of `N` bytes.
    fn nibbles(self, bytes: &[u8], d: Self::V, m: Self::V) -> [Self::V; 2];

    /// Prefetches the cache line that holds element `at` of `x`, if that element exists.
    #[inline(always)]
    fn prefetch<T>(self, _x: &[T], _at: usize) {}

    /// Returns the sum over the lanes of each of four registers.
    #[inline(always)]
    fn sums(self, v: [Self::V; 4]) -> [f32; 4] {
        [self.sum(v[0]), self.sum(v[1]), self.sum(v[2]), self.sum(v[3])]
    }

    /// Rounds to the nearest integer; magnitudes must be below 2^22.
    #[inline(always)]
    fn round(self, v: Self::V) -> Self::V {
        // Adding 1.5 * 2^23 shifts the fraction out of the mantissa.
        let shift = self.splat(12_582_912.0);
        self.sub(self.add(v, shift), shift)
    }

    /// Returns `v 2^n` for integers `n` from -150 to 128.
    #[inline(always)]
    fn times_power_of_two(self, v: Self::V, n: Self::V) -> Self::V {
        // Two factors, since each must be a normal number.
        let half = self.round(self.mul(n, self.splat(0.5)));
        self.mul(self.mul(v, self.power_of_two(half)), self.power_of_two(self.sub(n, half)))
    }

    #[inline(always)]
    fn abs(self, v: Self::V) -> Self::V {
        self.max(self.sub(self.splat(0.0), v), v)
    }

    /// Evaluates a polynomial; `coefficients` begin with the highest power.
    #[inline(always)]
    fn horner(self, x: Self::V, coefficients: &[f32]) -> Self::V {
        let mut p = self.splat(coefficients[0]);
        for &c in &coefficients[1..] {
            p = self.fma(p, x, self.splat(c));
        }
        p
    }

    /// Replaces every element with `f` of it.
    #[inline(always)]
    fn map(self, x: &mut [f32], f: impl Fn(Self::V) -> Self::V) {
        let mut chunks = x.chunks_exact_mut(Self::N);
        for chunk in &mut chunks {
            self.store(f(self.load(chunk)), chunk);
        }
        let tail = chunks.into_remainder();
        if !tail.is_empty() {
            let mut padded = [0.0; 16];
            padded[..tail.len()].copy_from_slice(tail);
            let v = f(self.load(&padded));
            self.store(v, &mut padded);
            tail.copy_from_slice(&padded[..tail.len()]);
        }
    }

    /// Replaces every element of `x` with `f` of it and of the
    /// element of `y` at the same index; both have the same length.
    #[inline(always)]
    fn zip(self, x: &mut [f32], y: &[f32], f: impl Fn(Self::V, Self::V) -> Self::V) {
        let (mut xs, ys) = (x.chunks_exact_mut(Self::N), y.chunks_exact(Self::N));
        let rest = ys.remainder();
        for (x, y) in (&mut xs).zip(ys) {
            self.store(f(self.load(x), self.load(y)), x);
        }
        let tail = xs.into_remainder();
        if !tail.is_empty() {
            let (mut a, mut b) = ([0.0; 16], [0.0; 16]);
            a[..tail.len()].copy_from_slice(tail);
            b[..tail.len()].copy_from_slice(rest);
            let v = f(self.load(&a), self.load(&b));
            self.store(v, &mut a);
            tail.copy_from_slice(&a[..tail.len()]);
        }
    }
}
