//! The rows of the table of families.

mod act;
mod alibi;
mod encoder;
mod gpt;
mod granite;
mod latent;
mod lfm;
pub(super) mod moe;
mod olmo_hybrid;
mod parallel;
mod plain;
mod scans;
mod slides;

use super::like::Like;
pub(super) use alibi::with_slopes;

/// Every row.
pub(super) const ALL: &[&[&Like]] = &[
    plain::ALL,
    slides::ALL,
    granite::ALL,
    act::ALL,
    parallel::ALL,
    gpt::ALL,
    alibi::ALL,
    moe::ALL,
    encoder::ALL,
    lfm::ALL,
    scans::ALL,
    olmo_hybrid::ALL,
    latent::ALL,
];

/// The row of a `model_type`.
pub(super) fn find(name: &str) -> Option<&'static Like> {
    ALL.iter().copied().flatten().copied().find(|row| row.name == name)
}
