//! The cache of segments: its bookkeeping against a model that keeps every token, and what models compute over it.

mod hybrid;
mod numeric;
mod packed;
mod plain;
mod saved;
mod splice;
mod support;
