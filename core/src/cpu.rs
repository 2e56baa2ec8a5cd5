//! Threads for the host forms of the kernels.

use foveate_kernels::host::{Host, SingleThread};

/// Placeholder until the threaded host lands.
pub struct Threads;

impl Threads {
    /// A pool of `threads` threads; 0 takes one for each core.
    pub fn new(_threads: usize) -> Self {
        Self
    }

    /// One line that names the executor.
    pub fn describe(&self) -> String {
        format!("cpu, {} threads", self.threads())
    }
}

impl Host for Threads {
    fn threads(&self) -> usize {
        1
    }
    fn parallel(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        SingleThread.parallel(tasks, body);
    }
    fn matmul(&self, size: [usize; 3], a: (&[f32], usize), b: (&[f32], usize), c: (&mut [f32], usize)) {
        SingleThread.matmul(size, a, b, c);
    }
}
