//! Trial decoding: several continuations are drawn in forks of the cache, and their own probabilities say which to keep.
//!
//! | function | draws | keeps |
//! |---|---|---|
//! | [`draw`] | `n` whole answers | all of them, with their probabilities |
//! | [`best`] | | the answer of the highest mean log-probability |
//! | [`consensus`] | | the answer that most of the answers, or most of their probability, agree on |
//! | [`cautious`] | where the model is unsure, several ways to the next punctuation mark | the one of the lowest perplexity |
//! | [`likeliest_prompt`] | nothing | the prompt under which an input is least surprising |

mod cautious;
mod consensus;
mod prompting;
mod walk;
mod weibull;

pub use cautious::{Cautious, CautiousText, Trial, cautious};
pub use consensus::{Consensus, TextProbability, Vote, Weights, consensus, last_number};
pub use prompting::{PromptScore, likeliest_prompt};
pub use walk::{Draw, best, draw};

/// The index of the smallest value, the first of equals.
fn least(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, at| if values[at] < values[best] { at } else { best })
}
