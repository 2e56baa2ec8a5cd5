//! Changes of logits in front of the filters.

use super::past::Past;
use super::{Samplers, repeats};
use crate::cache::NO_TOKEN;
use crate::tokenizer::Tokenizer;
use std::collections::BTreeMap;

/// Excludes the tokens whose bit is 0, in words of 32; tokens behind the last word are excluded, too.
pub(super) fn mask(row: &mut [f32], allowed: &[u32]) {
    for (word, part) in row.chunks_mut(32).enumerate() {
        let bits = allowed.get(word).copied().unwrap_or(0);
        if bits != u32::MAX {
            let excluded = part.iter_mut().enumerate().filter(|(bit, _)| bits >> bit & 1 == 0);
            excluded.for_each(|(_, z)| *z = f32::NEG_INFINITY);
        }
    }
}

pub(super) fn exclude(row: &mut [f32], ids: &[u32]) {
    for id in ids {
        if let Some(z) = row.get_mut(*id as usize) {
            *z = f32::NEG_INFINITY;
        }
    }
}

/// Biases, penalties, DRY and n-grams, in this order.
pub(super) fn apply(row: &mut [f32], samplers: &Samplers, repetition: f32, past: Past<'_>, words: Option<&Tokenizer>) {
    for (id, bias) in &samplers.logit_bias {
        if let Some(z) = row.get_mut(*id as usize) {
            *z += bias;
        }
    }
    penalise(row, samplers, repetition, past);
    if samplers.dry.multiplier > 0.0 {
        repeats::dry(row, past.tokens, &samplers.dry, words);
    }
    exclude(row, &repeats::ngrams(past.tokens, samplers.no_repeat_ngram as usize));
}

fn penalise(row: &mut [f32], samplers: &Samplers, repetition: f32, past: Past<'_>) {
    let last = |count: usize| &past.tokens[past.tokens.len().saturating_sub(count)..];
    let (all, generated) = match samplers.penalty_window {
        Some(window) => (last(window as usize), last(window as usize)),
        None => (past.tokens, last(past.generated as usize)),
    };
    if repetition != 1.0 {
        for id in counts(all).into_keys() {
            if let Some(z) = row.get_mut(id as usize) {
                *z = if *z > 0.0 { *z / repetition } else { *z * repetition };
            }
        }
    }
    let (frequency, presence) = (samplers.frequency_penalty, samplers.presence_penalty);
    if frequency != 0.0 || presence != 0.0 {
        for (id, count) in counts(generated) {
            if let Some(z) = row.get_mut(id as usize) {
                *z -= count as f32 * frequency + presence;
            }
        }
    }
}

fn counts(tokens: &[u32]) -> BTreeMap<u32, u32> {
    let mut counts = BTreeMap::new();
    tokens.iter().filter(|id| **id != NO_TOKEN).for_each(|id| *counts.entry(*id).or_insert(0) += 1);
    counts
}
