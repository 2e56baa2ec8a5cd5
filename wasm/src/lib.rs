//! foveate for browsers: converts between JavaScript's values and `foveate-core`, and nothing else.
//!
//! The package `foveate` in `web/` is the interface for people; this is what it calls.
//!
//! Elsewhere than on `wasm32` the crate is empty: futures that wait for JavaScript are not `Send`, as the core's are there.
#![cfg(target_arch = "wasm32")]
// Not shared between threads here: the core wants it so.
#![allow(clippy::arc_with_non_send_sync)]

mod device;
mod error;
mod files;
mod generation;
mod guide;
mod model;
mod open;
mod options;
mod reading;
mod render;
mod session;
mod slot;
mod source;
mod task;
mod tokenizer;

pub use device::{
    Device, case_names, case_shaders, check_model, op_arguments, op_inputs, op_names, op_plan, op_types, open_device,
};
pub use generation::Generation;
pub use model::{Model, load};
pub use open::set_subgroups;
pub use reading::Reading;
pub use session::{Augmentation, Session, Snapshot, View};
pub use tokenizer::{Tokenizer, open_tokenizer};

use std::sync::atomic::{AtomicU32, Ordering};
use wasm_bindgen::prelude::*;

/// Bytes of the wasm memory, which never shrinks.
#[wasm_bindgen(js_name = wasmBytes)]
pub fn wasm_bytes() -> f64 {
    let memory: js_sys::WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
    let buffer: js_sys::ArrayBuffer = memory.buffer().unchecked_into();
    f64::from(buffer.byte_length())
}

static THREADS: AtomicU32 = AtomicU32::new(1);

/// Makes room for `threads` threads of the CPU executor, the caller's among them; workers that are beside the caller's
/// lend the others by [`lend_thread`]. With 1, models that are loaded from now on have one thread.
#[wasm_bindgen(js_name = expectThreads)]
pub fn expect_threads(threads: u32) {
    THREADS.store(threads.max(1), Ordering::Relaxed);
    if threads > 1 {
        foveate_core::cpu::expect_workers(threads as usize - 1);
    }
}

/// Lends the calling worker to the CPU executor: it does nothing else any more.
#[wasm_bindgen(js_name = lendThread)]
pub fn lend_thread() {
    foveate_core::cpu::lend_thread();
}

/// Threads of the CPU executor.
fn threads() -> usize {
    THREADS.load(Ordering::Relaxed) as usize
}
