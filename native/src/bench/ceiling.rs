//! The peak throughput of the machine, measured with the executor's threads or on its device.

use super::loaded::samples;
use super::statistics::{Effort, Spread};
use crate::error::Result;
use foveate_core::gpu::Gpu;
use foveate_core::kernels::ceiling::Load;
use foveate_core::kernels::cpu;
use foveate_core::kernels::cpu::{Host, Shared, SingleThread};
use foveate_core::{Any, Backend, Operand};
use serde::Serialize;
use std::hint::black_box;

/// Bytes that each side of the copy has: more than caches hold.
const COPY_BYTES: u64 = 64 << 20;
/// Threads of a GPU that multiply: enough to fill any.
const INVOCATIONS: u32 = 1 << 18;
/// Seconds that the multiply-adds take at least.
const LEAST: f64 = 5e-3;
const EFFORT: Effort = Effort { runs: 5, seconds: 0.1 };

/// The best of several copies and of several loops of multiply-adds.
///
/// An op that reads much and writes little can be above the copy, and one whose operands stay in caches far above it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Ceiling {
    /// Bytes read plus bytes written.
    pub bytes_s: f64,
    /// A multiply-add counted as two.
    pub flop_s: f64,
}

impl Ceiling {
    /// # Errors
    /// Whatever the device refuses.
    pub fn of(device: &Any) -> Result<Self> {
        match device {
            Any::Gpu(gpu) => on_gpu(device, gpu),
            Any::Host(backend) => match backend.threads() {
                Some(threads) => on_host(device, threads),
                None => on_host(device, &SingleThread),
            },
        }
    }

    /// The least time that work of this size can take.
    pub fn seconds(&self, flop: u64, bytes: u64) -> f64 {
        (flop as f64 / self.flop_s).max(bytes as f64 / self.bytes_s)
    }
}

fn on_host(device: &Any, host: &dyn Host) -> Result<Ceiling> {
    let bytes = COPY_BYTES as usize;
    let (from, mut to) = (vec![1u8; bytes], vec![0u8; bytes]);
    let copy = || {
        let shared = Shared::new(black_box(&mut to));
        cpu::split(host, bytes, 1 << 20, &|range| {
            // SAFETY: the ranges of a split are disjoint.
            unsafe { shared.part(range.clone()) }.copy_from_slice(&black_box(&from)[range]);
        });
    };
    let copied = best(device, copy)?;
    let (tasks, rounds) = (host.threads(), 1 << 21);
    let multiplied = best(device, || {
        host.parallel(tasks, &|_| {
            black_box(multiply(black_box(rounds)));
        })
    })?;
    let flop = tasks as u64 * rounds * flop_a_round();
    Ok(Ceiling { bytes_s: 2.0 * bytes as f64 / copied, flop_s: flop as f64 / multiplied })
}

fn best(device: &Any, run: impl FnMut()) -> Result<f64> {
    let run = std::cell::RefCell::new(run);
    let record = || {
        (run.borrow_mut())();
        Ok(())
    };
    Ok(samples(device, EFFORT, record, || Ok(()))?.min)
}

/// Chains of multiply-adds that wait only for themselves: more than a processor has in flight.
const CHAINS: usize = 12;

/// `rounds` times a multiply-add of every chain, on the widest vectors that the processor has.
fn multiply(rounds: u64) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        #[target_feature(enable = "avx512f")]
        fn avx512(rounds: u64) -> f32 {
            let (x, y, mut sums) = (_mm512_set1_ps(0.5), _mm512_set1_ps(1.0), [_mm512_setzero_ps(); CHAINS]);
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = _mm512_fmadd_ps(*sum, x, y);
                }
            }
            let mut all = 0.0;
            for sum in sums {
                all += _mm512_reduce_add_ps(sum);
            }
            all
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(rounds: u64) -> f32 {
            let (x, y, mut sums) = (_mm256_set1_ps(0.5), _mm256_set1_ps(1.0), [_mm256_setzero_ps(); CHAINS]);
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = _mm256_fmadd_ps(*sum, x, y);
                }
            }
            let mut all = 0.0;
            for sum in sums {
                all += _mm256_cvtss_f32(sum);
            }
            all
        }
        if lanes() == 16 {
            // SAFETY: there are 16 lanes only with AVX-512.
            return unsafe { avx512(rounds) };
        }
        if std::is_x86_feature_detected!("fma") && std::is_x86_feature_detected!("avx2") {
            // SAFETY: the features have been detected.
            return unsafe { avx2(rounds) };
        }
    }
    let mut sums = [[0.0f32; 8]; CHAINS];
    for _ in 0..rounds {
        for sum in sums.as_flattened_mut() {
            *sum = *sum * 0.5 + 1.0;
        }
    }
    sums.into_iter().flatten().sum()
}

/// Elements of a chain.
fn lanes() -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx512f") {
        return 16;
    }
    8
}

fn flop_a_round() -> u64 {
    2 * CHAINS as u64 * lanes()
}

fn on_gpu(device: &Any, gpu: &Gpu) -> Result<Ceiling> {
    let copy = Load::Copy { vectors: (COPY_BYTES.min(gpu.caps().binding_bytes) / 16) as u32 };
    let copied = time(device, gpu, &copy)?;
    let mut rounds = 16;
    loop {
        let load = Load::Multiply { invocations: INVOCATIONS, rounds };
        let multiplied = time(device, gpu, &load)?;
        if multiplied.min >= LEAST || rounds >= 1 << 16 {
            let (bytes_s, flop_s) = (copy.bytes() as f64 / copied.min, load.flop() as f64 / multiplied.min);
            return Ok(Ceiling { bytes_s, flop_s });
        }
        rounds *= 4;
    }
}

fn time(device: &Any, gpu: &Gpu, load: &Load) -> Result<Spread> {
    let args = load.args();
    let buffers: Vec<_> = args.iter().map(|arg| gpu.alloc(arg.name, arg.bytes())).collect::<Result<_, _>>()?;
    let operands: Vec<_> = buffers.iter().map(Operand::new).collect();
    let wait = || Ok(crate::wait(gpu.download(&buffers[0], 0, 4)).map(|_| ())?);
    samples(device, EFFORT, || Ok(gpu.run_load(load, &operands)?), wait)
}
