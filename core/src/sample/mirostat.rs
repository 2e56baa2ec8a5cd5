//! Mirostat (Basu et al., 2007.14966).

use super::Mirostat;
use super::candidates::{Candidates, by_logit};

/// Tokens that version 1 estimates the exponent of Zipf's law from.
const TERMS: usize = 100;

impl Mirostat {
    /// The first bound: twice the target.
    pub(super) fn begin(&self) -> f64 {
        2.0 * f64::from(self.tau)
    }

    /// Truncates by the bound `mu`, in bits.
    pub(super) fn truncate(&self, c: &mut Candidates, mu: f64) {
        if self.version == 1 {
            let k = zipf_k(c, mu);
            c.keep_likeliest(k);
        } else {
            c.keep_if(|p| -p.log2() <= mu);
        }
    }

    /// The next bound, after a token of this surprise.
    pub(super) fn learn(&self, mu: f64, surprise: f64) -> f64 {
        mu - f64::from(self.eta) * (surprise - f64::from(self.tau))
    }
}

/// Returns how many tokens of a Zipf law have `mu` as their cross-entropy rate: equation (30) of the paper.
fn zipf_k(c: &Candidates, mu: f64) -> usize {
    let n = c.kept.len();
    let mut first = c.kept.clone();
    if TERMS < n {
        first.select_nth_unstable_by(TERMS, by_logit);
        first.truncate(TERMS);
    }
    first.sort_unstable_by(by_logit);
    let (mut tb, mut tt) = (0.0, 0.0);
    for (i, pair) in first.windows(2).enumerate() {
        let t = ((i + 2) as f64 / (i + 1) as f64).ln();
        // The logarithm of the ratio of their probabilities.
        let b = (f64::from(pair[0].1) - f64::from(pair[1].1)) / c.temperature;
        tb += t * b;
        tt += t * t;
    }
    let s = if tt > 0.0 { tb / tt } else { 0.0 };
    // A flat distribution has no exponent.
    if s <= 0.0 {
        return n;
    }
    let epsilon = s - 1.0;
    let share = if epsilon.abs() < 1e-6 {
        mu.exp2() / (n as f64).ln()
    } else {
        epsilon * mu.exp2() / (1.0 - (n as f64).powf(-epsilon))
    };
    let k = share.powf(1.0 / s);
    // One token has ln(1) = 0 above; its share is NaN.
    if k.is_nan() { n } else { k.clamp(1.0, n as f64) as usize }
}
