//! The angles of rotary embeddings.

use alloc::vec::Vec;
use core::f64::consts::PI;

/// How a model stretches its positions beyond the length it was trained on.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Scaling {
    None,
    /// Every frequency divided by `factor`.
    Linear {
        factor: f64,
    },
    /// Llama 3.1: wavelengths above `original / low` are divided by `factor`, those below `original / high` kept, those
    /// between interpolated.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
}

/// `1 / theta^(2j / rotary)` for `j < rotary / 2`, then scaled.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Frequencies {
    pub theta: f64,
    pub rotary: u32,
    pub scaling: Scaling,
}

impl Frequencies {
    /// Radians per position of each pair, rounded to f32 as the models' own code keeps them.
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
                }) as f32
            })
            .collect()
    }

    /// Cosines and sines of `positions` positions, `[positions, rotary/2, 2]`. The angle is rounded to f32 first, as in
    /// the models' own code.
    pub fn table(&self, positions: u32) -> Vec<f32> {
        let inverse = self.inverse();
        let angles = (0..positions).flat_map(|p| inverse.iter().map(move |f| f64::from(p as f32 * f)));
        angles.flat_map(|angle| [libm::cos(angle) as f32, libm::sin(angle) as f32]).collect()
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
}
