//! Writes into the pages of a key/value cache.

pub mod append;
pub mod rope_append;
