//! Tests only: `cargo test --manifest-path core/interleavings/Cargo.toml`.
