//! Repeating a measurement, and what to say of the samples.

use crate::error::Result;
use serde::Serialize;
use std::time::Instant;

/// How often to measure: until there are `runs` samples and `seconds` have gone by.
///
/// Slow measurements are cut short: at ten times `seconds` three samples are enough, at
/// sixty times one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Effort {
    /// Samples to collect at least.
    pub runs: usize,
    /// Seconds to measure at least.
    pub seconds: f64,
}

impl Effort {
    fn is_met(&self, samples: usize, elapsed: f64) -> bool {
        let (enough, long) = (samples >= self.runs, elapsed >= self.seconds);
        let over = |times: f64| self.seconds > 0.0 && elapsed >= times * self.seconds;
        (enough && long) || (samples >= 3 && over(10.0)) || over(60.0)
    }

    /// Samples that `run` gives, one or several at a time. The caller has run it before: a first time compiles, allocates
    /// and fills caches.
    ///
    /// # Errors
    /// Those of `run`.
    pub fn repeat(&self, mut run: impl FnMut() -> Result<Vec<f64>>) -> Result<Spread> {
        let (started, mut samples) = (Instant::now(), Vec::new());
        while samples.is_empty() || !self.is_met(samples.len(), started.elapsed().as_secs_f64()) {
            samples.extend(run()?);
        }
        Ok(Spread::of(samples))
    }
}

/// The middle of some samples, and how far they lie apart.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Spread {
    /// The middle sample.
    pub median: f64,
    /// A quarter of the samples is below.
    pub q1: f64,
    /// A quarter is above.
    pub q3: f64,
    /// The smallest sample.
    pub min: f64,
    /// The largest sample.
    pub max: f64,
    /// The number of samples.
    pub runs: usize,
}

impl Spread {
    /// Computes the spread of one or more samples. A quantile between two samples is interpolated.
    pub fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let last = samples.len() - 1;
        let quantile = |q: f64| {
            let at = q * last as f64;
            let (low, high) = (samples[at.floor() as usize], samples[at.ceil() as usize]);
            low + (high - low) * at.fract()
        };
        Self {
            median: quantile(0.5),
            q1: quantile(0.25),
            q3: quantile(0.75),
            min: samples[0],
            max: samples[last],
            runs: samples.len(),
        }
    }

    /// The same of `work` divided by each sample: rates from times.
    pub fn rate(&self, work: f64) -> Self {
        let of = |seconds: f64| if seconds > 0.0 { work / seconds } else { 0.0 };
        Self {
            median: of(self.median),
            q1: of(self.q3),
            q3: of(self.q1),
            min: of(self.max),
            max: of(self.min),
            runs: self.runs,
        }
    }
}

/// `y = c x^exponent`, by least squares over the logarithms.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Fit {
    /// The slope of the line.
    pub exponent: f64,
    /// `c`
    pub factor: f64,
    /// The share of the logarithms' variance that the line explains; 1 where nothing varies.
    pub r2: f64,
}

impl Fit {
    /// Through `(x, y)`, all positive; `None` for less than two different `x`.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        if points.iter().any(|(x, y)| *x <= 0.0 || *y <= 0.0) {
            return None;
        }
        let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
        let n = logs.len() as f64;
        let (mx, my) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
        let sum = |f: &dyn Fn(f64, f64) -> f64| logs.iter().map(|(x, y)| f(x - mx, y - my)).sum::<f64>();
        let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
        if logs.len() < 2 || xx <= 0.0 {
            return None;
        }
        let exponent = xy / xx;
        let r2 = if yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 };
        Some(Self { exponent, factor: (my - exponent * mx).exp(), r2 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_median_and_quartiles() {
        let spread = Spread::of(vec![5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(spread, Spread { median: 3.0, q1: 2.0, q3: 4.0, min: 1.0, max: 5.0, runs: 5 });
        let even = Spread::of(vec![4.0, 1.0]);
        assert_eq!((even.median, even.q1, even.q3), (2.5, 1.75, 3.25));
        let one = Spread::of(vec![7.0]);
        assert_eq!((one.min, one.median, one.max, one.runs), (7.0, 7.0, 7.0, 1));
    }

    #[test]
    fn spread_of_rates_turns_around() {
        let rate = Spread::of(vec![1.0, 2.0, 4.0]).rate(8.0);
        assert_eq!((rate.min, rate.median, rate.max), (2.0, 4.0, 8.0));
        assert!(rate.q1 < rate.median && rate.median < rate.q3);
    }

    #[test]
    fn fit_finds_the_exponent() {
        for exponent in [0.0, 1.0, 1.5, 2.0] {
            let points: Vec<(f64, f64)> =
                (8..15).map(|i| (1 << i) as f64).map(|x| (x, 3.0 * x.powf(exponent))).collect();
            let fit = Fit::of(&points).expect("several lengths");
            assert!((fit.exponent - exponent).abs() < 1e-9 && (fit.factor - 3.0).abs() < 1e-6, "{fit:?}");
            assert!((fit.r2 - 1.0).abs() < 1e-9, "{fit:?}");
        }
        // A point beside the line lowers r2.
        let fit = Fit::of(&[(1.0, 1.0), (2.0, 8.0), (4.0, 4.0)]).expect("several lengths");
        assert!((fit.exponent - 1.0).abs() < 1e-9 && fit.r2 < 0.5, "{fit:?}");
    }

    #[test]
    fn fit_needs_two_lengths_and_positive_values() {
        assert_eq!(Fit::of(&[]), None);
        assert_eq!(Fit::of(&[(1.0, 1.0)]), None);
        assert_eq!(Fit::of(&[(2.0, 1.0), (2.0, 3.0)]), None);
        assert_eq!(Fit::of(&[(1.0, 0.0), (2.0, 3.0)]), None);
    }

    #[test]
    fn effort_ends_also_where_runs_are_slow() {
        let effort = Effort { runs: 10, seconds: 0.5 };
        assert!(effort.is_met(10, 0.6) && !effort.is_met(10, 0.4) && !effort.is_met(9, 1.0));
        assert!(effort.is_met(3, 5.0) && !effort.is_met(2, 5.0) && effort.is_met(1, 30.0));
        // Without a time, the runs count.
        let effort = Effort { runs: 10, seconds: 0.0 };
        assert!(!effort.is_met(9, 0.1) && effort.is_met(10, 0.1));
    }
}
