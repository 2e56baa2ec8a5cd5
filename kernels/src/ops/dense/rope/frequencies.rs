//! Angles of rotary embeddings, computed on the host: WGSL guarantees no accuracy for sines of large angles.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::f64::consts::PI;

/// How a model stretches its positions beyond the length it was trained on.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Scaling {
    /// Positions are not stretched.
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1: wavelengths above `original / low` are divided by `factor`, those below `original / high` kept, those
    /// between interpolated.
    Llama3 {
        /// The divisor of long wavelengths.
        factor: f64,
        /// `low_freq_factor`: wavelengths above `original / low` are long.
        low: f64,
        /// `high_freq_factor`: wavelengths below `original / high` are short.
        high: f64,
        /// Positions that the model was trained on before.
        original: f64,
    },
    /// YaRN (2309.00071): pairs that turn more than `fast` times within `original` positions keep their frequency, those
    /// that turn less than `slow` times divide it by `factor`, those between are interpolated by index.
    Yarn {
        /// The divisor of slow pairs.
        factor: f64,
        /// `beta_fast`, in turns.
        fast: f64,
        /// `beta_slow`, in turns.
        slow: f64,
        /// Positions that the model was trained on before.
        original: f64,
        /// True if both ends of the interpolation are rounded to whole pairs.
        whole: bool,
    },
    /// LongRoPE (2402.13753): each frequency is divided by a number of its own, from `short` for tables of up to
    /// `original` positions, from `long` for longer ones.
    Long {
        /// Divisors for short tables, `[rotary / 2]`.
        short: Arc<[f32]>,
        /// Divisors for long tables, `[rotary / 2]`.
        long: Arc<[f32]>,
        /// Positions that the model was trained on before.
        original: u32,
    },
}

/// `1 / theta^(2j / rotary)` for `j < rotary / 2`, divided by `divisors`, then scaled.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Frequencies {
    /// The base.
    pub theta: f64,
    /// Rotated elements of a head, an even number.
    pub rotary: u32,
    /// How frequencies are stretched.
    pub scaling: Scaling,
    /// A divisor of each pair, `[rotary / 2]`. GGUF files hold the stretching of Llama 3.1 in this form.
    pub divisors: Option<Arc<[f32]>>,
    /// Factor of cosines and sines. YaRN and LongRoPE use it in place of a temperature of attention.
    pub magnitude: f64,
    /// The same for tables longer than the `original` positions of [`Scaling::Long`], where it is another.
    pub long_magnitude: Option<f64>,
}

impl Frequencies {
    /// Returns plain frequencies: no scaling, no divisors, a magnitude of 1.
    pub fn new(theta: f64, rotary: u32) -> Self {
        Self { theta, rotary, scaling: Scaling::None, divisors: None, magnitude: 1.0, long_magnitude: None }
    }

    /// Sets the base.
    pub fn with_theta(mut self, theta: f64) -> Self {
        self.theta = theta;
        self
    }

    /// Sets how frequencies are stretched.
    pub fn with_scaling(mut self, scaling: Scaling) -> Self {
        self.scaling = scaling;
        self
    }

    /// Sets the divisor of each pair, `[rotary / 2]`.
    pub fn with_divisors(mut self, divisors: Option<Arc<[f32]>>) -> Self {
        self.divisors = divisors;
        self
    }

    /// Sets the factor of cosines and sines.
    pub fn with_magnitude(mut self, magnitude: f64) -> Self {
        self.magnitude = magnitude;
        self
    }

    /// Sets the factor of cosines and sines of tables longer than the `original` positions of [`Scaling::Long`].
    pub fn with_long_magnitude(mut self, long_magnitude: Option<f64>) -> Self {
        self.long_magnitude = long_magnitude;
        self
    }

    /// Radians per position of each pair in a table of `positions`, rounded to f32 as the models' own code keeps them.
    pub fn inverse(&self, positions: u32) -> Vec<f32> {
        (0..self.rotary / 2)
            .map(|j| {
                let f = libm::pow(self.theta, -2.0 * f64::from(j) / f64::from(self.rotary));
                let f = self.divisors.as_ref().and_then(|all| all.get(j as usize)).map_or(f, |by| f / f64::from(*by));
                self.scaled(j, f, positions) as f32
            })
            .collect()
    }

    /// The frequency `f` of pair `j` after scaling.
    fn scaled(&self, j: u32, f: f64, positions: u32) -> f64 {
        match &self.scaling {
            Scaling::None => f,
            Scaling::Linear { factor } => f / factor,
            &Scaling::Llama3 { factor, low, high, original } => {
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
            &Scaling::Yarn { factor, fast, slow, original, whole } => {
                let (first, last) = (self.pair(original, fast), self.pair(original, slow));
                let (first, last) = if whole { (libm::floor(first), libm::ceil(last)) } else { (first, last) };
                let (first, last) = (first.max(0.0), last.min(f64::from(self.rotary) - 1.0));
                let stretched = ((f64::from(j) - first) / (last - first).max(1e-3)).clamp(0.0, 1.0);
                f / factor * stretched + f * (1.0 - stretched)
            }
            Scaling::Long { short, long, original } => {
                let divisors = if positions > *original { long } else { short };
                f / divisors.get(j as usize).map_or(1.0, |divisor| f64::from(*divisor))
            }
        }
    }

    /// The index of the pair that turns `turns` times within `positions`, between the whole ones.
    fn pair(&self, positions: f64, turns: f64) -> f64 {
        let rotary = f64::from(self.rotary);
        rotary * libm::log(positions / (turns * 2.0 * PI)) / (2.0 * libm::log(self.theta))
    }

    /// Cosines and sines of `positions` positions, `[positions, rotary/2, 2]`. The angle is rounded to f32 first, as in
    /// the models' own code.
    pub fn table(&self, positions: u32) -> Vec<f32> {
        let inverse = self.inverse(positions);
        let long = matches!(self.scaling, Scaling::Long { original, .. } if positions > original);
        let magnitude = self.long_magnitude.filter(|_| long).unwrap_or(self.magnitude);
        let angles = (0..positions).flat_map(|p| inverse.iter().map(move |f| f64::from(p as f32 * f)));
        angles.flat_map(|angle| [libm::cos(angle), libm::sin(angle)].map(|x| (x * magnitude) as f32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_scaling_keeps_short_and_stretches_long_wavelengths() {
        let plain = Frequencies::new(500000.0, 128);
        let scaling = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let (kept, scaled) = (plain.inverse(1), Frequencies { scaling, ..plain }.inverse(1));
        assert_eq!(kept[0], scaled[0]);
        assert!((kept[63] / scaled[63] - 8.0).abs() < 1e-5);
        assert!(kept.iter().zip(&scaled).all(|(p, s)| *s <= *p && *s >= *p / 8.001));
    }

    #[test]
    fn yarn_keeps_short_and_stretches_long_wavelengths() {
        let plain = Frequencies::new(10000.0, 64);
        let yarn = |factor, magnitude| Frequencies {
            scaling: Scaling::Yarn { factor, fast: 32.0, slow: 1.0, original: 2048.0, whole: true },
            magnitude,
            ..plain.clone()
        };
        let (kept, scaled) = (plain.inverse(1), yarn(4.0, 1.0).inverse(1));
        assert_eq!(kept[0], scaled[0]);
        assert!((kept[31] / scaled[31] - 4.0).abs() < 1e-5);
        assert!(kept.iter().zip(&scaled).all(|(p, s)| *s <= *p && *s >= *p / 4.001));
        assert_eq!(yarn(1.0, 1.0).inverse(1), kept, "a factor of 1 stretches nothing");
        let (once, twice) = (yarn(4.0, 1.0).table(3), yarn(4.0, 2.0).table(3));
        assert!(once.iter().zip(&twice).all(|(a, b)| 2.0 * a == *b));
    }

    #[test]
    fn divisors_of_llama3_are_its_scaling() {
        let plain = Frequencies::new(500000.0, 64);
        let scaling = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
        let scaled = Frequencies { scaling, ..plain.clone() }.inverse(1);
        let divisors: Vec<f32> = plain.inverse(1).iter().zip(&scaled).map(|(plain, scaled)| plain / scaled).collect();
        let divided = Frequencies { divisors: Some(divisors.into()), ..plain }.inverse(1);
        assert!(divided.iter().zip(&scaled).all(|(a, b)| (a / b - 1.0).abs() < 1e-6));
    }

    #[test]
    fn longrope_takes_its_divisors_by_the_length_of_the_table() {
        let plain = Frequencies::new(10000.0, 4);
        let scaling = Scaling::Long { short: [1.0, 2.0].into(), long: [4.0, 8.0].into(), original: 10 };
        let long = Frequencies { scaling, ..plain.clone() };
        let divided = |by: [f64; 2]| -> Vec<f32> {
            plain.inverse(1).iter().zip(by).map(|(f, by)| (f64::from(*f) / by) as f32).collect()
        };
        assert_eq!(long.inverse(10), divided([1.0, 2.0]));
        assert_eq!(long.inverse(11), divided([4.0, 8.0]));
    }
}
