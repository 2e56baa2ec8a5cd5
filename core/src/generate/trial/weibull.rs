//! A mixture of two Weibull distributions, fitted by expectation maximisation.
//!
//! ```text
//! f(x; k, l) = (k / l) (x / l)^(k - 1) exp(-(x / l)^k)
//! ```
//! The share of the first component is bounded to 0.2 to 0.8, shapes and scales to 0.01 and more. The fit begins at the
//! values of the authors' code: 0.5, (1, 1), (1.5, 2).

/// The share of the first component, and the shape and scale of both; the first one has the larger mean.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Mixture {
    share: f64,
    components: [[f64; 2]; 2],
}

const LEAST: f64 = 0.01;
/// A shape at which a component is a point for all purposes.
const MOST: f64 = 1e4;
const STEPS: usize = 5000;

fn log_density(x: f64, [shape, scale]: [f64; 2]) -> f64 {
    let log = x.ln() - scale.ln();
    shape.ln() - scale.ln() + (shape - 1.0) * log - (shape * log).exp()
}

/// `ln(exp a + exp b)`
fn log_add(a: f64, b: f64) -> f64 {
    let max = a.max(b);
    if max == f64::NEG_INFINITY { max } else { max + ((a - max).exp() + (b - max).exp()).ln() }
}

impl Mixture {
    /// Fits `values`, all above 0.
    pub(super) fn fit(values: &[f64]) -> Self {
        let mut mixture = Self { share: 0.5, components: [[1.0, 1.0], [1.5, 2.0]] };
        let mut last = f64::NEG_INFINITY;
        for _ in 0..STEPS {
            let shares: Vec<f64> = values.iter().map(|x| mixture.first(*x)).collect();
            let mean = shares.iter().sum::<f64>() / values.len() as f64;
            mixture.share = mean.clamp(0.2, 0.8);
            let others: Vec<f64> = shares.iter().map(|share| 1.0 - share).collect();
            for (component, weights) in mixture.components.iter_mut().zip([&shares, &others]) {
                *component = weighted(values, weights).unwrap_or(*component);
            }
            let now: f64 = values.iter().map(|x| mixture.log_density(*x)).sum();
            if (now - last).abs() < 1e-12 * now.abs().max(1.0) {
                break;
            }
            last = now;
        }
        if mean(mixture.components[0]) < mean(mixture.components[1]) {
            mixture.components.swap(0, 1);
            mixture.share = 1.0 - mixture.share;
        }
        mixture
    }

    fn logs(&self, x: f64) -> [f64; 2] {
        let [first, second] = self.components;
        [self.share.ln() + log_density(x, first), (1.0 - self.share).ln() + log_density(x, second)]
    }

    fn log_density(&self, x: f64) -> f64 {
        let [first, second] = self.logs(x);
        log_add(first, second)
    }

    /// The chance that `x` is of the first component.
    fn first(&self, x: f64) -> f64 {
        let [first, second] = self.logs(x);
        let sum = log_add(first, second);
        if sum == f64::NEG_INFINITY { 0.5 } else { (first - sum).exp() }
    }

    /// The chance that `x` is of the component with the larger mean.
    pub(super) fn high(&self, x: f64) -> f64 {
        self.first(x)
    }
}

fn mean([shape, scale]: [f64; 2]) -> f64 {
    scale * libm::tgamma(1.0 + 1.0 / shape)
}

/// The shape and scale of the highest likelihood for weighted values: the shape solves
/// `sum w x^k ln x / sum w x^k - 1/k = sum w ln x / sum w`, whose left side grows with `k`.
fn weighted(values: &[f64], weights: &[f64]) -> Option<[f64; 2]> {
    let sum: f64 = weights.iter().sum();
    if sum.is_nan() || sum < 1e-9 {
        return None;
    }
    let max = values.iter().copied().fold(f64::MIN, f64::max);
    // Powers of values up to 1 do not overflow.
    let logs: Vec<f64> = values.iter().map(|x| (x / max).ln()).collect();
    let target = logs.iter().zip(weights).map(|(log, w)| w * log).sum::<f64>() / sum;
    let powers = |shape: f64| {
        let each = || logs.iter().zip(weights).map(move |(log, w)| (log, w * (shape * log).exp()));
        let (of_logs, all) = (each().map(|(log, power)| log * power).sum::<f64>(), each().map(|(_, p)| p).sum::<f64>());
        (of_logs / all, all)
    };
    let (mut low, mut high) = (LEAST, MOST);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        let above = powers(middle).0 - 1.0 / middle > target;
        if above { high = middle } else { low = middle }
    }
    let shape = 0.5 * (low + high);
    let scale = max * (powers(shape).1 / sum).powf(1.0 / shape);
    (shape.is_finite() && scale.is_finite()).then_some([shape.max(LEAST), scale.max(LEAST)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixture_is_fitted_to_the_worked_example() {
        let values = [0.92, 0.90, 0.88, 0.86, 0.60, 0.55, 0.52, 0.50, 0.48, 0.45];
        let mixture = Mixture::fit(&values);
        let [[k1, l1], [k2, l2]] = mixture.components;
        let near = |a: f64, b: f64, far: f64| assert!((a - b).abs() < far, "{mixture:?}");
        near(mixture.share, 0.4, 1e-4);
        near(k1, 44.95, 0.05);
        near(l1, 0.9009, 1e-4);
        near(k2, 11.08, 0.05);
        near(l2, 0.5394, 1e-4);
        near(values.iter().map(|x| mixture.log_density(*x)).sum::<f64>(), 11.985, 1e-3);
        assert!(values[..4].iter().all(|x| mixture.high(*x) > 0.99));
        assert!(values[4..].iter().all(|x| mixture.high(*x) < 0.01));
    }

    #[test]
    fn weighted_fit_solves_its_equations() {
        let (values, weights) = ([0.2, 0.5, 0.9, 1.7], [1.0, 2.0, 0.5, 1.0]);
        let [shape, scale] = weighted(&values, &weights).expect("a fit");
        let likelihood =
            |k: f64, l: f64| values.iter().zip(weights).map(|(x, w)| w * log_density(*x, [k, l])).sum::<f64>();
        let best = likelihood(shape, scale);
        for (k, l) in [(1e-4, 0.0), (-1e-4, 0.0), (0.0, 1e-4), (0.0, -1e-4)] {
            assert!(likelihood(shape + k, scale + l) < best);
        }
    }
}
