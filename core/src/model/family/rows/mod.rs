//! The rows of the table of families.

mod act;
mod alibi;
mod encoder;
mod gpt;
mod granite;
mod kin;
mod latent;
mod lfm;
mod llama4;
pub(super) mod moe;
mod mor;
mod olmo_hybrid;
mod parallel;
mod plain;
mod scans;
mod sigmoid;
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
    kin::ALL,
    sigmoid::ALL,
    llama4::ALL,
    mor::ALL,
];

/// The row of a `model_type`.
pub(super) fn find(name: &str) -> Option<&'static Like> {
    ALL.iter().copied().flatten().copied().find(|row| row.name == name)
}
