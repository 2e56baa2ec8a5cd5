//! Tokens that are left to choose from.

use std::cmp::Ordering;

/// Tokens with their logits and the temperature that divides them. Probabilities are over these tokens alone.
///
/// There is one order everywhere: by falling logit, ties by id.
pub(super) struct Candidates {
    /// Never empty.
    pub(super) kept: Vec<(u32, f32)>,
    pub(super) temperature: f64,
}

pub(super) fn by_logit(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// `p ln p`, which is 0 at 0.
pub(super) fn p_ln_p(p: f64) -> f64 {
    if p > 0.0 { p * p.ln() } else { 0.0 }
}

impl Candidates {
    /// The tokens of a row that are not masked.
    pub(super) fn new(row: &[f32]) -> Self {
        let kept = (0u32..).zip(row.iter().copied()).filter(|(_, z)| *z > f32::NEG_INFINITY).collect();
        Self { kept, temperature: 1.0 }
    }

    /// The first token of the order alone, if one is not masked.
    pub(super) fn likeliest(row: &[f32]) -> Self {
        let unmasked = (0u32..).zip(row.iter().copied()).filter(|(_, z)| *z > f32::NEG_INFINITY);
        Self { kept: unmasked.min_by(by_logit).into_iter().collect(), temperature: 1.0 }
    }

    pub(super) fn max(&self) -> f32 {
        self.kept.iter().fold(f32::NEG_INFINITY, |max, (_, z)| max.max(*z))
    }

    /// The probability of a token in relation to the likeliest one.
    pub(super) fn weight(&self, z: f32, max: f32) -> f64 {
        ((f64::from(z) - f64::from(max)) / self.temperature).exp()
    }

    /// The sum of the weights.
    pub(super) fn mass(&self) -> f64 {
        let max = self.max();
        self.kept.iter().map(|(_, z)| self.weight(*z, max)).sum()
    }

    /// The probability of each token, in the order of `kept`.
    pub(super) fn probabilities(&self) -> Vec<f64> {
        let max = self.max();
        let weights: Vec<f64> = self.kept.iter().map(|(_, z)| self.weight(*z, max)).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|w| w / sum).collect()
    }

    /// In nats.
    pub(super) fn entropy(&self) -> f64 {
        -self.probabilities().into_iter().map(p_ln_p).sum::<f64>()
    }

    /// Keeps the likeliest token alone.
    pub(super) fn keep_first(&mut self) {
        let first = self.kept.iter().copied().min_by(by_logit);
        self.kept.clear();
        self.kept.extend(first);
    }

    /// Keeps the first `count` tokens of the order, at least one.
    pub(super) fn keep_likeliest(&mut self, count: usize) {
        let count = count.max(1);
        if count < self.kept.len() {
            self.kept.select_nth_unstable_by(count, by_logit);
            self.kept.truncate(count);
        }
    }

    /// Keeps the tokens that pass, or if none does the likeliest.
    pub(super) fn keep_if(&mut self, pass: impl Fn(f64) -> bool) {
        let probabilities = self.probabilities();
        if !probabilities.iter().any(|p| pass(*p)) {
            return self.keep_first();
        }
        let mut each = probabilities.into_iter();
        self.kept.retain(|_| each.next().is_some_and(&pass));
    }

    pub(super) fn sort(&mut self) {
        self.kept.sort_unstable_by(by_logit);
    }
}

/// Keeps the first items by `order` until `enough` is true before one of them; the first is always kept. Sorts only as much
/// as that takes.
pub(super) fn keep_until<T>(
    items: &mut Vec<T>,
    order: impl Fn(&T, &T) -> Ordering,
    mut enough: impl FnMut(&T) -> bool,
) {
    let mut sorted = 0;
    while sorted < items.len() {
        let rest = &mut items[sorted..];
        let part = rest.len().min((4 * sorted).max(256));
        if part < rest.len() {
            rest.select_nth_unstable_by(part, &order);
        }
        rest[..part].sort_unstable_by(&order);
        if let Some(at) = rest[..part].iter().position(&mut enough) {
            items.truncate((sorted + at).max(1));
            return;
        }
        sorted += part;
    }
}
