//! Options that do not combine.

use super::options::Generation;
use crate::error::{Error, Result};

/// The name of an option, and whether it is set.
type Set = (&'static str, fn(&Generation) -> bool);

/// Ways to draw, which a search for likely texts has no use for.
pub(super) const DRAWS: &[Set] = &[
    ("temperature", |o| o.sampling.temperature > 0.0),
    ("mirostat", |o| o.samplers.mirostat.is_some()),
    ("top-k", |o| o.sampling.top_k > 0),
    ("top-p", |o| o.sampling.top_p < 1.0),
    ("min-p", |o| o.sampling.min_p > 0.0),
    ("typical", |o| o.samplers.typical < 1.0),
    ("tail-free", |o| o.samplers.tail_free < 1.0),
    ("top-n-sigma", |o| o.samplers.top_n_sigma > 0.0),
    ("top-h", |o| o.samplers.top_h > 0.0),
    ("epsilon", |o| o.samplers.epsilon > 0.0),
    ("eta", |o| o.samplers.eta > 0.0),
    ("xtc", |o| o.samplers.xtc_probability > 0.0),
    ("dynamic-temperature", |o| o.samplers.dynamic_range > 0.0),
];

/// Drafts of tokens, which several continuations at a time leave no room for.
pub(super) const DRAFTS: &[Set] = &[("speculation", |o| o.speculate.is_some())];

/// Reports of each token, which a result without tokens cannot hold.
pub(super) const REPORTS: &[Set] = &[("logprobs", |o| o.logprobs.is_some()), ("surprise", |o| o.surprise)];

/// The bound on reasoning, which needs a conversation to find reasoning in.
pub(super) const REASONING: &[Set] = &[("a reasoning budget", |o| o.reasoning_budget.is_some())];

/// Tokens that were generated before, which only a single continuation goes on behind.
pub(super) const REPLAY: &[Set] = &[("replay", |o| !o.replay.is_empty())];

/// Refuses options that `method` does not combine with.
///
/// # Errors
/// `Setting` that names both.
pub(super) fn admit(method: &str, options: &Generation, refused: &[&[Set]]) -> Result<()> {
    match refused.iter().copied().flatten().find(|(_, is_set)| is_set(options)) {
        Some((name, _)) => {
            Err(Error::Setting { reason: format!("{method} and {name} do not combine: leave one of them out") })
        }
        None => Ok(()),
    }
}
