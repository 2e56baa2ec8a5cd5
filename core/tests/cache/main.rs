//! The cache of segments: its bookkeeping against a model that keeps every token, and what models compute over it.

// Of which another test uses more.
mod batch;
mod families;
#[expect(dead_code)]
#[path = "../hybrid/folder.rs"]
mod folder;
mod hybrid;
mod not_finite;
mod numeric;
mod observe;
mod packed;
mod plain;
mod routing;
mod saved;
mod score;
mod splice;
mod support;
mod verbs;
mod windowed;
