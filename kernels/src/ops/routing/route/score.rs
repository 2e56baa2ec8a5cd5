//! The score of a token and a centroid in integers: bit-identical
//! on every processor, so that all select the same tokens.
//!
//! A compiler may fuse or reorder f32 sums, and devices round divisions and roots differently. Here a vector becomes
//! 22-bit integers with one shared power of two, `2^exponent (2^11 high + low)`. The product of two vectors is a sum
//! of integers, and the square root and the division by it are computed digit by digit. `scores.wgsl` and `fixed.wgsl`
//! follow this code line by line.

use super::{EPS, Norm};
use alloc::vec::Vec;

/// A vector in fixed point.
pub(crate) struct Fixed {
    /// `[high, low]` of every element, with magnitudes of at most 2^11 and 2^10.
    digits: Vec<[i32; 2]>,
    exponent: i32,
    /// `2^15` times the square root by which the vector is divided, between 2^30 and 2^31; 0 for no division.
    divisor: u32,
    /// Bits by which products are shifted left before the division.
    shift: u32,
}

/// Returns `dim^3 eps` as `mantissa 2^exponent`, with a mantissa below 2^24.
pub(super) fn epsilon(dim: u32) -> (u32, i32) {
    let bits = ((dim * dim * dim) as f32 * EPS).to_bits();
    ((bits & 0x7f_ffff) | 0x80_0000, (bits >> 23) as i32 - 150)
}

/// Returns the least exponent of a centred vector for which `eps` can still be added to its squares.
pub(super) fn least_exponent(dim: u32) -> i32 {
    (epsilon(dim).1 - 27).div_euclid(2)
}

impl Fixed {
    pub(crate) fn new(x: &[f32], norm: Norm) -> Self {
        // Subnormal numbers and those that are not finite count as 0.
        let field = |x: &f32| Some((x.to_bits() >> 23) & 0xff).filter(|&e| e != 255).unwrap_or(0);
        let top = x.iter().map(field).max().unwrap_or(0);
        let mut exponent = top as i32 - 148;
        let whole = |x: &f32| {
            let (bits, field) = (x.to_bits(), field(x));
            let size =
                if field == 0 { 0 } else { ((bits & 0x7f_ffff) | 0x80_0000) >> (2 + top - field).min(31) } as i32;
            if bits >> 31 == 1 { -size } else { size }
        };
        let mut values: Vec<i32> = x.iter().map(whole).collect();
        let dim = x.len() as u32;
        if norm == Norm::Layer {
            let sum: i32 = values.iter().sum();
            values.iter_mut().for_each(|v| *v = *v * dim as i32 - sum);
            let largest = values.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
            let drop = (10 - largest.leading_zeros() as i32).max(least_exponent(dim) - exponent);
            exponent += drop;
            let shifted = |size: u32| if drop >= 0 { size >> drop.min(31) } else { size << -drop } as i32;
            values.iter_mut().for_each(|v| *v = shifted(v.unsigned_abs()) * v.signum());
        }
        let digits: Vec<[i32; 2]> = values.iter().map(|v| [(v + 1024) >> 11, v - ((v + 1024) >> 11 << 11)]).collect();
        let mut square = product(&digits, &digits).max(0) as u32;
        if norm == Norm::Layer {
            let (mantissa, power) = epsilon(dim);
            let power = power - 22 - 2 * exponent;
            square += if power >= 0 { mantissa << power } else { mantissa >> (-power).min(31) };
        }
        if norm == Norm::None || square == 0 {
            return Self { digits, exponent, divisor: 0, shift: 0 };
        }
        let even = square.leading_zeros() & !1;
        Self { digits, exponent, divisor: root(square << even), shift: even / 2 }
    }

    /// Returns the score with a centroid, without the factor of [`Norm::factor`].
    pub(crate) fn score(&self, centroid: &Fixed) -> f32 {
        let dot = product(&self.digits, &centroid.digits);
        let size = dot.unsigned_abs();
        match self.divisor {
            0 => float(dot < 0, size, self.exponent + centroid.exponent + 22),
            divisor => {
                let quotient = ((u64::from(size << self.shift) << 28) / u64::from(divisor)) as u32;
                float(dot < 0, quotient, centroid.exponent - 2)
            }
        }
    }
}

/// Returns `2^-22` of the sum of products, omitting products of two low parts.
fn product(a: &[[i32; 2]], b: &[[i32; 2]]) -> i32 {
    let high: i32 = a.iter().zip(b).map(|(a, b)| a[0] * b[0]).sum();
    let low: i32 = a.iter().zip(b).map(|(a, b)| a[0] * b[1] + a[1] * b[0]).sum();
    high + ((low + 1024) >> 11)
}

/// Returns `2^15 sqrt(n)`, for `n` of at least 2^30.
fn root(n: u32) -> u32 {
    let mut root = 0;
    for bit in (0..16).rev() {
        let more: u32 = root | 1 << bit;
        if more * more <= n {
            root = more;
        }
    }
    // Further digits: sqrt(r^2 + e) is r + e / 2r, with a relative error of 2^-31.
    let rest = n - root * root;
    (root << 15) + (rest << 14) / root
}

/// Returns `size 2^exponent`, truncated to 24 bits. Below the smallest
/// normal number it returns 0, above the largest number the largest.
fn float(negative: bool, size: u32, exponent: i32) -> f32 {
    if size == 0 {
        return 0.0;
    }
    let lead = 31 - size.leading_zeros();
    let mantissa = if lead > 23 { size >> (lead - 23) } else { size << (23 - lead) };
    let bits = match exponent + lead as i32 + 127 {
        ..=0 => return 0.0,
        255.. => 0x7f7f_ffff,
        field => (field as u32) << 23 | (mantissa & 0x7f_ffff),
    };
    f32::from_bits(bits | u32::from(negative) << 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Returns the score in f64, for comparison.
    fn plain(x: &[f32], c: &[f32], norm: Norm) -> f64 {
        let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let n = x.len() as f64;
        let mean = if norm == Norm::Layer { x.iter().sum::<f64>() / n } else { 0.0 };
        let square: f64 = x.iter().map(|x| (x - mean) * (x - mean)).sum();
        let dot: f64 = x.iter().zip(c).map(|(x, c)| (x - mean) * f64::from(*c)).sum();
        match norm {
            Norm::None => dot,
            Norm::L2 => dot / libm::sqrt(square),
            Norm::Layer => dot / libm::sqrt(square + n * f64::from(EPS)),
        }
    }

    fn plain_spread(x: &[f32]) -> f64 {
        let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / x.len() as f64;
        libm::sqrt(x.iter().map(|x| (f64::from(*x) - mean) * (f64::from(*x) - mean)).sum())
    }

    #[test]
    fn scores_are_those_of_real_numbers() {
        let mut rng = Rng::new(5);
        for i in 0..2000 {
            let dim = 2 + rng.below(255) as usize;
            let [sx, sc] = [0, 1].map(|_| libm::powf(10.0, 24.0 * rng.unit() - 12.0));
            let offset = if i % 3 == 0 { sx * 5.0 } else { 0.0 };
            let x: Vec<f32> = rng.normals(dim, sx).iter().map(|x| x + offset).collect();
            let c = rng.normals(dim, sc);
            for norm in [Norm::None, Norm::L2, Norm::Layer] {
                let length = |x: &[f32]| libm::sqrt(x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum());
                let size = length(&c) * if norm == Norm::None { length(&x) } else { 1.0 };
                let got = f64::from(Fixed::new(&x, norm).score(&Fixed::new(&c, Norm::None)));
                let want = plain(&x, &c, norm);
                // Subtracting a mean cancels leading digits, which raises the error.
                let spread = plain_spread(&x);
                let slack = if norm == Norm::Layer { 3e-6 * (1.0 + length(&x) / spread) } else { 3e-6 };
                assert!((got - want).abs() <= slack * size, "{norm:?} {dim}: {got} and {want} of {size}");
            }
        }
    }

    #[test]
    fn scores_of_numbers_that_are_none_are_0() {
        let nothing = [f32::NAN, f32::INFINITY, 1e-40, 0.0];
        for norm in [Norm::None, Norm::L2, Norm::Layer] {
            assert_eq!(Fixed::new(&nothing, norm).score(&Fixed::new(&[1.0; 4], Norm::None)), 0.0);
        }
        let huge = [f32::MAX; 4];
        assert_eq!(Fixed::new(&huge, Norm::None).score(&Fixed::new(&huge, Norm::None)), f32::MAX);
        assert_eq!(Fixed::new(&huge, Norm::L2).score(&Fixed::new(&[1.0; 4], Norm::None)), 2.0);
    }
}
