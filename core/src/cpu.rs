//! Threads and dense products for the fast host forms of the kernels.

use foveate_kernels::host::{Host, Matrix, Tile};

/// The processor: a pool of threads, and products by the `gemm` crate.
pub struct Cpu {
    #[cfg(feature = "threads")]
    pool: Option<rayon::ThreadPool>,
}

impl Cpu {
    /// As many threads as were asked for, or one for each physical core.
    ///
    /// Where the system starts no threads, as in a browser without workers, everything runs on the caller's; see
    /// [`threads`](Host::threads).
    pub fn new(threads: Option<std::num::NonZeroUsize>) -> Self {
        #[cfg(feature = "threads")]
        {
            let threads = threads.map_or_else(num_cpus::get_physical, std::num::NonZeroUsize::get);
            let name = |i| format!("foveate-{i}");
            let start = || rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build();
            let pool = if threads > 1 { start().ok() } else { None };
            Self { pool }
        }
        #[cfg(not(feature = "threads"))]
        {
            let _ = threads;
            Self {}
        }
    }

    /// Runs `body` on a thread of the pool. The parallel parts of ops that run inside start without waking the pool anew,
    /// which matters where a step is many small ops.
    pub fn enter<R: Send>(&self, body: impl FnOnce() -> R + Send) -> R {
        #[cfg(feature = "threads")]
        if let Some(pool) = &self.pool {
            return pool.install(body);
        }
        body()
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Host for Cpu {
    fn threads(&self) -> usize {
        #[cfg(feature = "threads")]
        if let Some(pool) = &self.pool {
            return pool.current_num_threads();
        }
        1
    }

    fn parallel(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        #[cfg(feature = "threads")]
        if let (Some(pool), true) = (&self.pool, tasks > 1) {
            use std::sync::atomic::{AtomicUsize, Ordering};
            // Tasks are taken in order, one by one: an op puts its longest first.
            let next = AtomicUsize::new(0);
            let work = || {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        task if task < tasks => body(task),
                        _ => break,
                    }
                }
            };
            let helpers = pool.current_num_threads().min(tasks) - 1;
            return pool.in_place_scope(|scope| {
                (0..helpers).for_each(|_| scope.spawn(|_| work()));
                work();
            });
        }
        (0..tasks).for_each(body);
    }

    fn matmul(&self, a: Matrix<'_>, b: Matrix<'_>, c: &mut Tile<'_>, add: bool) {
        let ([m, k], n) = (a.shape(), b.shape()[1]);
        assert!(b.shape()[0] == k && c.shape() == [m, n], "shapes of a product");
        let ([a_row, a_column], [b_row, b_column]) = (a.strides().map(|s| s as isize), b.strides().map(|s| s as isize));
        let c_row = c.stride() as isize;
        // SAFETY: the matrices lie inside of their slices, as their constructors have checked, and have these shapes.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                c_row,
                add,
                a.as_ptr(),
                a_column,
                a_row,
                b.as_ptr(),
                b_column,
                b_row,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foveate_kernels::cases::Rng;
    use foveate_kernels::host::SingleThread;
    use std::num::NonZeroUsize;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn cpu_runs_every_task_once() {
        for threads in [1, 2, 5] {
            let cpu = Cpu::new(NonZeroUsize::new(threads));
            for tasks in [0, 1, 2, 7, 1000] {
                let counts: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
                let count = |i: usize| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                };
                cpu.parallel(tasks, &count);
                cpu.enter(|| cpu.parallel(tasks, &count));
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 2));
            }
        }
    }

    #[test]
    fn cpu_products_match_plain_loops() {
        let (cpu, mut rng) = (Cpu::new(NonZeroUsize::new(1)), Rng::new(1));
        for [m, n, k] in [[1, 1, 1], [5, 0, 3], [3, 4, 0], [17, 33, 64], [64, 128, 40], [2, 100, 7]] {
            let (a, b) = (rng.normals(m * (k + 3), 1.0), rng.normals((n + 2) * (k + 2), 1.0));
            for (add, transposed) in [(false, false), (true, false), (false, true), (true, true)] {
                let a = Matrix::new(&a, [m, k], k + 3);
                let b = if transposed {
                    Matrix::new(&b, [n, k], k + 2).transposed()
                } else {
                    Matrix::new(&b, [k, n], n + 2)
                };
                let (mut got, mut want) = (vec![1.0; m * (n + 1)], vec![1.0; m * (n + 1)]);
                cpu.matmul(a, b, &mut Tile::new(&mut got, [m, n], n + 1), add);
                SingleThread.matmul(a, b, &mut Tile::new(&mut want, [m, n], n + 1), add);
                assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-4), "{m} {n} {k}");
            }
        }
    }
}
