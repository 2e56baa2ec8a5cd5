//! The engine and its HTTP interface, over the small model.

mod client;
mod engine;
mod http;
mod limits;
mod models;
mod random;
mod responses;
#[cfg(feature = "tls")]
mod tls;
mod tools;
