//! Threads and dense products for the fast host forms of the kernels.

use foveate_kernels::cpu::{Bytes, Host, Matrix, Tile, Tiles};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The processor: threads, and products by the `gemm` crate.
pub struct Cpu {
    bytes: Option<Bytes>,
    tiles: Option<Tiles>,
    /// See [`Cpu::set_alike`].
    alike: AtomicUsize,
    #[cfg(feature = "threads")]
    team: Option<crate::team::Team>,
}

impl Cpu {
    /// Starts the threads that were asked for, or one for each physical core; the caller's thread is one of them.
    ///
    /// If the system starts no threads (as in a browser without workers), the calling thread runs everything; see
    /// [`threads`](Host::threads).
    pub fn new(threads: Option<std::num::NonZeroUsize>) -> Self {
        #[cfg(feature = "threads")]
        {
            let threads = threads.map_or_else(num_cpus::get_physical, std::num::NonZeroUsize::get);
            let team = if threads > 1 { crate::team::Team::new(threads - 1) } else { None };
            Self { bytes: Bytes::detect(), tiles: Tiles::detect(), alike: AtomicUsize::new(0), team }
        }
        #[cfg(not(feature = "threads"))]
        {
            let _ = threads;
            Self { bytes: Bytes::detect(), tiles: Tiles::detect(), alike: AtomicUsize::new(0) }
        }
    }

    /// Rounds activations beside quantised weights to 8 bits instead of 16. See [`Bytes::coarse`].
    pub fn coarse(self) -> Self {
        Self { bytes: self.bytes.map(Bytes::coarse), ..self }
    }

    /// Multiplies in f32, where otherwise activations are rounded to 16 bits for quantised weights and the numbers of
    /// larger products are split in two bfloat16.
    pub fn exact(self) -> Self {
        Self { bytes: None, tiles: None, ..self }
    }

    /// Makes steps of up to `tokens` tokens give each token the same bits as a step of that token alone, so that sequences
    /// that step together go on as each would alone. With 0, the default, steps take the fastest kernels.
    pub fn set_alike(&self, tokens: usize) {
        self.alike.store(tokens, Ordering::Relaxed);
    }
}

/// Makes room for threads that workers of a browser lend, beside the caller's: executors made from then on use them.
#[cfg(all(target_arch = "wasm32", feature = "threads"))]
pub fn expect_workers(workers: usize) {
    crate::team::browser::expect(workers);
}

/// Lends the caller's thread, for good.
#[cfg(all(target_arch = "wasm32", feature = "threads"))]
pub fn lend_thread() {
    crate::team::browser::lend();
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Host for Cpu {
    fn threads(&self) -> usize {
        #[cfg(feature = "threads")]
        if let Some(team) = &self.team {
            return team.threads();
        }
        1
    }

    fn bytes(&self) -> Option<Bytes> {
        self.bytes
    }

    fn tiles(&self) -> Option<Tiles> {
        self.tiles
    }

    fn alike(&self) -> usize {
        self.alike.load(Ordering::Relaxed)
    }

    fn parallel(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        #[cfg(feature = "threads")]
        if let (Some(team), true) = (&self.team, tasks > 1) {
            return team.run(tasks, body);
        }
        (0..tasks).for_each(body);
    }

    fn matmul(&self, a: Matrix<'_>, b: Matrix<'_>, c: &mut Tile<'_>, add: bool) {
        let ([m, k], n) = (a.shape(), b.shape()[1]);
        assert!(b.shape()[0] == k && c.shape() == [m, n], "shapes of a product");
        let ([a_row, a_column], [b_row, b_column]) = (a.strides().map(|s| s as isize), b.strides().map(|s| s as isize));
        let product = gemm_f32::gemm::f32::get_gemm_fn();
        // The library wants columns of its result together, where rows are: it computes c^T = b^T a^T.
        // SAFETY: the matrices lie inside of their slices, as their constructors have checked, and have these shapes.
        unsafe {
            product(
                n,
                m,
                k,
                c.as_mut_ptr(),
                c.stride() as isize,
                1,
                add,
                b.as_ptr(),
                b_row,
                b_column,
                a.as_ptr(),
                a_row,
                a_column,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm_common::Parallelism::None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foveate_kernels::cpu::SingleThread;
    use foveate_kernels::rng::Rng;
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
                cpu.parallel(tasks, &count);
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
