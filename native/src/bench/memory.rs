//! Memory that the CPU forms of ops allocate while they run.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};

/// The system's allocator, which counts when it is asked to. A program that wants working memory in its figures makes it
/// its `#[global_allocator]`; at rest it costs one load for each allocation.
pub struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
/// Bytes since counting began; below 0 where older memory was freed.
static NOW: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

fn count(bytes: i64) {
    if ON.load(Relaxed) {
        let now = NOW.fetch_add(bytes, Relaxed) + bytes;
        PEAK.fetch_max(now, Relaxed);
    }
}

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

/// Runs `body`; the most bytes that were allocated at a time meanwhile, by every thread of the process. `None` where the
/// program's allocator does not count. One caller at a time.
pub(super) fn working<R>(body: impl FnOnce() -> R) -> (R, Option<u64>) {
    NOW.store(0, Relaxed);
    PEAK.store(0, Relaxed);
    ON.store(true, Relaxed);
    drop(std::hint::black_box(Box::new(0u64)));
    let counts = PEAK.load(Relaxed) > 0;
    let result = body();
    ON.store(false, Relaxed);
    (result, counts.then(|| PEAK.load(Relaxed).max(0) as u64))
}
