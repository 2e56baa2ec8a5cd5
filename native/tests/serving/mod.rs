//! The engine and its HTTP interface, over the small model.

mod client;
mod engine;
mod http;
mod random;
mod tools;
