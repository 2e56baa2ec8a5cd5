//! Repetitions in a text: DRY and n-grams.

use super::Dry;
use crate::tokenizer::Tokenizer;
use std::collections::BTreeMap;

/// For each token, how long a repetition it would continue: `n` tokens in front of an earlier place of it are the last `n` of
/// the text, at most `limit`.
///
/// Cost: O(tokens), by the Z function of the reversed text.
pub(super) fn continued(text: &[u32], limit: usize) -> BTreeMap<u32, usize> {
    let reversed: Vec<u32> = text.iter().rev().copied().collect();
    let z = z_function(&reversed);
    let mut longest = BTreeMap::new();
    // The suffix that ends in front of reversed[i - 1] matches the end of the text in z[i] tokens.
    for i in 1..reversed.len() {
        let n = z[i].min(limit);
        let entry = longest.entry(reversed[i - 1]).or_insert(0);
        *entry = n.max(*entry);
    }
    longest
}

/// `z[i]`: length of the longest common prefix of `text` and `text[i..]`; `z[0]` is 0.
fn z_function(text: &[u32]) -> Vec<usize> {
    let mut z = vec![0; text.len()];
    let (mut left, mut right) = (0, 0);
    for i in 1..text.len() {
        let known = if i < right { z[i - left].min(right - i) } else { 0 };
        let more = text[i + known..].iter().zip(&text[known..]).take_while(|(a, b)| a == b).count();
        z[i] = known + more;
        if i + z[i] > right {
            (left, right) = (i, i + z[i]);
        }
    }
    z
}

/// Subtracts the penalty of DRY.
pub(super) fn dry(row: &mut [f32], text: &[u32], dry: &Dry, tokenizer: Option<&Tokenizer>) {
    let window = dry.window.map_or(text.len(), |window| text.len().min(window as usize));
    let text = &text[text.len() - window..];
    let allowed = dry.allowed_length as usize;
    if text.len() <= allowed {
        return;
    }
    let spelled = |id: u32| tokenizer.and_then(|t| t.decode(&[id], false).ok()).unwrap_or_default();
    let limit = behind_breaker(text, &dry.breakers, spelled);
    if limit < allowed {
        return;
    }
    // A larger power is beyond f32.
    let most = if dry.base > 1.0 { (f32::MAX.ln() / dry.base.ln()).floor() } else { f32::MAX };
    for (id, n) in continued(text, limit) {
        let breaks = || {
            let spelling = spelled(id);
            dry.breakers.iter().any(|breaker| spelling.contains(breaker.as_str()))
        };
        if n >= allowed.max(1)
            && !breaks()
            && let Some(z) = row.get_mut(id as usize)
        {
            *z -= dry.multiplier * dry.base.powf(((n - allowed) as f32).min(most));
        }
    }
}

/// Tokens behind the last breaker, which may span tokens.
fn behind_breaker(text: &[u32], breakers: &[String], spelled: impl Fn(u32) -> String) -> usize {
    let (mut tail, mut lengths) = (String::new(), Vec::new());
    for (behind, &id) in text.iter().rev().enumerate() {
        let spelling = spelled(id);
        tail.insert_str(0, &spelling);
        lengths.push(spelling.len());
        // Breakers that begin in this token, the one that ends last.
        let ends = breakers.iter().filter_map(|breaker| {
            let at = tail.rfind(breaker.as_str()).filter(|at| *at < spelling.len())?;
            Some(at + breaker.len())
        });
        if let Some(end) = ends.max() {
            let mut covered = 0;
            let tokens = lengths.iter().rev().take_while(|length| {
                let inside = covered < end;
                covered += **length;
                inside
            });
            return behind + 1 - tokens.count();
        }
    }
    text.len()
}

/// The tokens that would complete an n-gram of `text` again.
pub(super) fn ngrams(text: &[u32], n: usize) -> Vec<u32> {
    if n == 0 || text.len() < n {
        return Vec::new();
    }
    let last = &text[text.len() - (n - 1)..];
    text.windows(n).filter(|w| w[..n - 1] == *last).map(|w| w[n - 1]).collect()
}
