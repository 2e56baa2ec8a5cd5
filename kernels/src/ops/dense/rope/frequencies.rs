//! Angles of rotary embeddings, computed on the host: WGSL guarantees no accuracy for sines of large angles.

use alloc::vec::Vec;
use core::f64::consts::PI;

/// Extension of positions beyond a model's training length.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Scaling {
    None,
    /// Divides every frequency by `factor`.
    Linear {
        factor: f64,
    },
    /// Llama 3.1: divides the frequencies of wavelengths above `original / low` by `factor`, keeps those of
    /// wavelengths below `original / high`, and interpolates in between.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
    /// YaRN (2309.00071): pairs that rotate more than `fast` times within `original` positions keep their frequency,
    /// and those that rotate less than `slow` times divide it by `factor`. Pairs in between are interpolated by index.
    /// Cosines and sines are multiplied by `magnitude` in place of a temperature, as in the models' own code.
    Yarn {
        factor: f64,
        fast: f64,
        slow: f64,
        original: f64,
        magnitude: f64,
        /// Rounds both ends of the interpolation to whole pairs.
        whole: bool,
    },
}

/// Frequencies `1 / theta^(2j / rotary)` for `j < rotary / 2`, scaled by `scaling`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Frequencies {
    pub theta: f64,
    pub rotary: u32,
    pub scaling: Scaling,
}

impl Frequencies {
    /// Returns the radians per position of each pair, rounded to f32 as in the models' own code.
    pub fn inverse(&self) -> Vec<f32> {
        (0..self.rotary / 2)
            .map(|j| {
                let f = libm::pow(self.theta, -2.0 * f64::from(j) / f64::from(self.rotary));
                (match self.scaling {
                    Scaling::None => f,
                    Scaling::Linear { factor } => f / factor,
                    Scaling::Llama3 { factor, low, high, original } => {
                        let wavelength = 2.0 * PI / f;
                        if wavelength > original / low {
                            f / factor
                        } else if wavelength < original / high {
                            f
                        } else {
                            let smooth = (original / wavelength - low) / (high - low);
                            (1.0 - smooth) * f / factor + smooth * f
                        }
                    }
                    Scaling::Yarn { factor, fast, slow, original, whole, .. } => {
                        let (first, last) = (self.pair(original, fast), self.pair(original, slow));
                        let (first, last) = if whole { (libm::floor(first), libm::ceil(last)) } else { (first, last) };
                        let (first, last) = (first.max(0.0), last.min(f64::from(self.rotary) - 1.0));
                        let stretched = ((f64::from(j) - first) / (last - first).max(1e-3)).clamp(0.0, 1.0);
                        f / factor * stretched + f * (1.0 - stretched)
                    }
                }) as f32
            })
            .collect()
    }

    /// Returns the fractional index of the pair that rotates `turns` times within `positions`.
    fn pair(&self, positions: f64, turns: f64) -> f64 {
        let rotary = f64::from(self.rotary);
        rotary * libm::log(positions / (turns * 2.0 * PI)) / (2.0 * libm::log(self.theta))
    }

    /// Returns the cosines and sines of `positions` positions, `[positions, rotary/2, 2]`. Angles are first rounded to
    /// f32, as in the models' own code.
    pub fn table(&self, positions: u32) -> Vec<f32> {
        let inverse = self.inverse();
        let angles = (0..positions).flat_map(|p| inverse.iter().map(move |f| f64::from(p as f32 * f)));
        let magnitude = if let Scaling::Yarn { magnitude, .. } = self.scaling { magnitude } else { 1.0 };
        angles.flat_map(|angle| [libm::cos(angle), libm::sin(angle)].map(|x| (x * magnitude) as f32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_scaling_keeps_short_and_stretches_long_wavelengths() {
        let plain = Frequencies { theta: 500000.0, rotary: 128, scaling: Scaling::None };
        let scaling = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let (plain, scaled) = (plain.inverse(), Frequencies { scaling, ..plain }.inverse());
        assert_eq!(plain[0], scaled[0]);
        assert!((plain[63] / scaled[63] - 8.0).abs() < 1e-5);
        assert!(plain.iter().zip(&scaled).all(|(p, s)| *s <= *p && *s >= *p / 8.001));
    }

    #[test]
    fn yarn_keeps_short_and_stretches_long_wavelengths() {
        let plain = Frequencies { theta: 10000.0, rotary: 64, scaling: Scaling::None };
        let yarn = |factor, magnitude| Frequencies {
            scaling: Scaling::Yarn { factor, fast: 32.0, slow: 1.0, original: 2048.0, magnitude, whole: true },
            ..plain
        };
        let (kept, scaled) = (plain.inverse(), yarn(4.0, 1.0).inverse());
        assert_eq!(kept[0], scaled[0]);
        assert!((kept[31] / scaled[31] - 4.0).abs() < 1e-5);
        assert!(kept.iter().zip(&scaled).all(|(p, s)| *s <= *p && *s >= *p / 4.001));
        assert_eq!(yarn(1.0, 1.0).inverse(), kept, "a factor of 1 stretches nothing");
        let (once, twice) = (yarn(4.0, 1.0).table(3), yarn(4.0, 2.0).table(3));
        assert!(once.iter().zip(&twice).all(|(a, b)| 2.0 * a == *b));
    }
}
