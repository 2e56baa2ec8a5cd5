//! The rows of the table of families.

mod act;
mod alibi;
mod gpt;
mod granite;
mod parallel;
mod plain;
mod slides;

use super::like::Like;
pub(super) use alibi::with_slopes;

/// Every row.
pub(super) const ALL: [&[&Like]; 7] =
    [plain::ALL, slides::ALL, granite::ALL, act::ALL, parallel::ALL, gpt::ALL, alibi::ALL];

/// The row of a `model_type`.
pub(super) fn find(name: &str) -> Option<&'static Like> {
    ALL.into_iter().flatten().copied().find(|row| row.name == name)
}
