//! Generations that follow several continuations of one text at a time, over forks of its cache.

mod beam;
mod contrastive;
mod guided;
mod hypothesis;
mod lanes;

pub use beam::{BeamSearch, EarlyStopping, beam_search};
pub use contrastive::{ContrastiveSearch, contrastive_search};
pub use guided::Guided;
pub use hypothesis::Hypothesis;
pub use lanes::Cost;
pub(super) use lanes::{Lanes, prefill};
