//! Runs futures in the thread that JavaScript calls, each as a promise.
//!
//! The executor of js-sys waits by `Atomics.waitAsync` in builds with atomics, which needs a memory that is shared. This
//! module runs with and without one. All futures begin and continue in one thread, so a wake queues a microtask.

use js_sys::Promise;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = queueMicrotask)]
    fn queue_microtask(work: &JsValue);
}

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Answer = Pin<Box<dyn Future<Output = Result<JsValue, JsValue>>>>;

thread_local! {
    /// Futures that wait, by their numbers, and the next number.
    static WAITING: RefCell<(BTreeMap<u32, Task>, u32)> = const { RefCell::new((BTreeMap::new(), 0)) };
}

/// Wakes the future of a number.
struct Wakeup {
    number: u32,
    /// True from a wake until the future is polled.
    queued: AtomicBool,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            queue_microtask(&Closure::once_into_js(move || poll(&self)));
        }
    }
}

fn poll(wakeup: &Arc<Wakeup>) {
    wakeup.queued.store(false, Ordering::Relaxed);
    // The future is out of the map while it runs: it may start others, and one that has trapped is not run again.
    let Some(mut task) = WAITING.with_borrow_mut(|(tasks, _)| tasks.remove(&wakeup.number)) else { return };
    if task.as_mut().poll(&mut Context::from_waker(&Waker::from(wakeup.clone()))).is_pending() {
        WAITING.with_borrow_mut(|(tasks, _)| tasks.insert(wakeup.number, task));
    }
}

fn spawn(task: Task) {
    let number = WAITING.with_borrow_mut(|(tasks, next)| {
        let number = *next;
        *next = next.wrapping_add(1);
        tasks.insert(number, task);
        number
    });
    Arc::new(Wakeup { number, queued: AtomicBool::new(false) }).wake();
}

/// Runs a future. The macro `wasm_bindgen` calls this for each `async fn` that it exports.
pub(crate) fn future_to_promise(future: impl Future<Output = Result<JsValue, JsValue>> + 'static) -> Promise {
    let mut future: Option<Answer> = Some(Box::pin(future));
    Promise::new(&mut move |resolve, reject| {
        let Some(future) = future.take() else { return };
        spawn(Box::pin(async move {
            let (settle, value) = match future.await {
                Ok(value) => (resolve, value),
                Err(error) => (reject, error),
            };
            // The functions that settle a promise do not throw.
            let _ = settle.call1(&JsValue::UNDEFINED, &value);
        }));
    })
}
