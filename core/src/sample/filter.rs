//! The filters of the chain.

use super::candidates::{Candidates, by_logit, keep_until, p_ln_p};
use super::{Filter, Samplers, Sampling};

/// Tokens that top-h looks at.
const TOP_H: usize = 100;

/// Runs one filter. `coin` decides whether XTC runs.
pub(super) fn apply(filter: Filter, c: &mut Candidates, sampling: &Sampling, samplers: &Samplers, coin: f32) {
    match filter {
        Filter::Temperature => {
            temperature(c, sampling.temperature.into(), samplers.dynamic_range.into(), samplers.dynamic_exponent.into())
        }
        Filter::TopNSigma if samplers.top_n_sigma > 0.0 => top_n_sigma(c, samplers.top_n_sigma.into()),
        Filter::TopH if samplers.top_h > 0.0 => top_h(c, samplers.top_h.into()),
        Filter::TopK if sampling.top_k > 0 => c.keep_likeliest(sampling.top_k as usize),
        Filter::TopP if sampling.top_p < 1.0 => top_p(c, sampling.top_p.into()),
        Filter::MinP if sampling.min_p > 0.0 => {
            let (max, share) = (c.max(), f64::from(sampling.min_p));
            let temperature = c.temperature;
            c.kept.retain(|(_, z)| ((f64::from(*z) - f64::from(max)) / temperature).exp() >= share);
        }
        Filter::Typical if samplers.typical < 1.0 => typical(c, samplers.typical.into()),
        Filter::TailFree if samplers.tail_free < 1.0 => tail_free(c, samplers.tail_free.into()),
        Filter::Epsilon if samplers.epsilon > 0.0 => c.keep_if(|p| p >= f64::from(samplers.epsilon)),
        Filter::Eta if samplers.eta > 0.0 => {
            let epsilon = f64::from(samplers.eta);
            let least = epsilon.min(epsilon.sqrt() * (-c.entropy()).exp());
            c.keep_if(|p| p >= least);
        }
        Filter::Xtc if coin < samplers.xtc_probability => xtc(c, samplers.xtc_threshold.into()),
        _ => {}
    }
}

/// A fixed temperature, or `low + (high - low) * (H / ln n)^exponent`, `range` around it, where n tokens are left.
fn temperature(c: &mut Candidates, temperature: f64, range: f64, exponent: f64) {
    let n = c.kept.len() as f64;
    let chosen = if range == 0.0 {
        temperature
    } else if n > 1.0 {
        let (low, high) = ((temperature - range).max(0.0), temperature + range);
        low + (high - low) * (c.entropy() / n.ln()).clamp(0.0, 1.0).powf(exponent)
    } else {
        return;
    };
    if chosen > 0.0 { c.temperature *= chosen } else { c.keep_first() }
}

/// Keeps logits of at least `max - n * sigma` (2411.07641). The temperature makes no difference to that.
fn top_n_sigma(c: &mut Candidates, n: f64) {
    let count = c.kept.len() as f64;
    let logits = || c.kept.iter().map(|(_, z)| f64::from(*z));
    let mean = logits().sum::<f64>() / count;
    let sigma = (logits().map(|z| (z - mean).powi(2)).sum::<f64>() / count).sqrt();
    let least = f64::from(c.max()) - n * sigma;
    c.kept.retain(|(_, z)| f64::from(*z) >= least);
}

/// Keeps the likeliest tokens of the first 100 while their part of the entropy is at most `share` of it.
fn top_h(c: &mut Candidates, share: f64) {
    c.keep_likeliest(TOP_H);
    c.sort();
    let parts: Vec<f64> = c.probabilities().into_iter().map(|p| -p_ln_p(p)).collect();
    let most = share * parts.iter().sum::<f64>();
    let mut sum = 0.0;
    let inside = |part: &&f64| {
        sum += **part;
        sum <= most
    };
    let count = parts.iter().take_while(inside).count();
    c.kept.truncate(count.max(1));
}

/// Keeps the fewest likeliest tokens whose probabilities sum up to `p` (1904.09751).
fn top_p(c: &mut Candidates, p: f64) {
    let (max, most, mut sum) = (c.max(), p * c.mass(), 0.0);
    let mut kept = std::mem::take(&mut c.kept);
    keep_until(&mut kept, by_logit, |(_, z)| {
        let enough = sum >= most;
        sum += c.weight(*z, max);
        enough
    });
    c.kept = kept;
}

/// Keeps the tokens whose surprise is nearest to the entropy, until their probabilities sum up to `mass` (2202.00666).
fn typical(c: &mut Candidates, mass: f64) {
    let probabilities = c.probabilities();
    let entropy = -probabilities.iter().copied().map(p_ln_p).sum::<f64>();
    // A token whose probability is 0 after rounding is never typical.
    let mut far: Vec<(f64, f64, (u32, f32))> = probabilities
        .iter()
        .zip(&c.kept)
        .filter(|(p, _)| **p > 0.0)
        .map(|(&p, &token)| ((-p.ln() - entropy).abs(), p, token))
        .collect();
    let mut sum = 0.0;
    keep_until(
        &mut far,
        |a, b| a.0.total_cmp(&b.0).then(a.2.0.cmp(&b.2.0)),
        |(_, p, _)| {
            let enough = sum >= mass;
            sum += p;
            enough
        },
    );
    c.kept = far.into_iter().map(|(_, _, token)| token).collect();
}

/// Cuts the sorted probabilities where the sum of their absolute second differences, normalised, exceeds `z`.
fn tail_free(c: &mut Candidates, z: f64) {
    c.sort();
    let p = c.probabilities();
    let curvature: Vec<f64> = p.windows(3).map(|w| ((w[0] - w[1]) - (w[1] - w[2])).abs()).collect();
    let sum: f64 = curvature.iter().sum();
    if sum == 0.0 || sum.is_nan() {
        return;
    }
    let mut running = 0.0;
    let inside = |d: &&f64| {
        running += **d / sum;
        running <= z
    };
    let count = curvature.iter().take_while(inside).count();
    c.kept.truncate(1 + count);
}

/// Keeps the least likely one of the tokens of at least `threshold`, and all tokens below it.
fn xtc(c: &mut Candidates, threshold: f64) {
    let p = c.probabilities();
    let above = || c.kept.iter().zip(&p).filter(|(_, p)| **p >= threshold).map(|(token, _)| *token);
    let Some(stays) = above().max_by(by_logit).filter(|_| above().count() > 1) else { return };
    let mut each = p.iter();
    c.kept.retain(|token| each.next().is_some_and(|p| *p < threshold) || *token == stays);
}
