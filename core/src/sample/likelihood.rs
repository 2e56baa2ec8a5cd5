//! Probabilities of tokens from rows of logits.

/// The probability that a row of logits gives one token.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Likelihood {
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// Entropy of the whole distribution, in nats.
    pub entropy: f64,
    /// Number of tokens with a higher probability.
    pub rank: u32,
    /// Difference between the logarithms of the two highest probabilities.
    pub margin: f64,
}

/// Returns `ln p(id)`, `-sum p ln p` and the number of larger logits; an id outside of the row has no probability.
pub fn likelihood(row: &[f32], id: u32) -> Likelihood {
    let own = row.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    let max = row.iter().copied().fold(f32::MIN, f32::max);
    let (mut sum, mut weighted, mut rank) = (0.0f64, 0.0f64, 0);
    let mut two = [f32::NEG_INFINITY; 2];
    for &z in row {
        two = if z > two[0] { [z, two[0]] } else { [two[0], two[1].max(z)] };
        let above = f64::from(z - max);
        let e = above.exp();
        sum += e;
        weighted += if e > 0.0 { e * above } else { 0.0 };
        rank += u32::from(z > own);
    }
    let log = sum.ln();
    let margin = f64::from(two[0]) - f64::from(two[1]);
    Likelihood { logprob: f64::from(own - max) - log, entropy: log - weighted / sum, rank, margin }
}

/// Returns the likeliest tokens of a row and the natural logarithms of their probabilities, the likeliest first.
pub fn likeliest(row: &[f32], count: usize) -> Vec<(u32, f64)> {
    let mut ids: Vec<u32> = (0..row.len() as u32).collect();
    let by_logit = |a: &u32, b: &u32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
    if count < ids.len() {
        ids.select_nth_unstable_by(count, by_logit);
        ids.truncate(count);
    }
    ids.sort_unstable_by(by_logit);
    let Some(&first) = ids.first() else { return Vec::new() };
    let log_first = likelihood(row, first).logprob;
    let log = |id: u32| log_first + f64::from(row[id as usize]) - f64::from(row[first as usize]);
    ids.iter().map(|&id| (id, log(id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihood_of_a_row_is_its_softmax() {
        let row = [0.0, 2f32.ln(), 0.0];
        let found = likelihood(&row, 0);
        assert!((found.logprob - 0.25f64.ln()).abs() < 1e-6 && found.rank == 1, "{found:?}");
        assert!((found.margin - 2f64.ln()).abs() < 1e-6, "{found:?}");
        assert!((found.entropy - 1.5 * 2f64.ln()).abs() < 1e-6, "{found:?}");
        let top: Vec<u32> = likeliest(&row, 2).iter().map(|(id, _)| *id).collect();
        assert_eq!(top, [1, 0]);
        assert_eq!(likelihood(&row, 9).logprob, f64::NEG_INFINITY);
    }
}
