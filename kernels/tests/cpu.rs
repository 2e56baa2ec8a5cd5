//! The fast host forms against the definitions: every case, on every vector unit, with one thread and with several.

use foveate_kernels::cases::Rng;
use foveate_kernels::close::{Tolerance, compare};
use foveate_kernels::dtype::DType;
use foveate_kernels::host::{Args, Host, Simd, SingleThread, View};
use foveate_kernels::op::{self, Access, Arg, Op};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Three threads that take tasks as they come, from the last to the first.
struct Threads(Simd);

impl Host for Threads {
    fn threads(&self) -> usize {
        3
    }

    fn parallel(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(task) = tasks.checked_sub(1 + next.fetch_add(1, Ordering::Relaxed)) {
                body(task);
            }
        };
        std::thread::scope(|scope| {
            (1..3).for_each(|_| drop(scope.spawn(work)));
            work();
        });
    }

    fn simd(&self) -> Simd {
        self.0
    }
}

/// Words with a pattern behind every argument, which nothing may change.
const GUARD: usize = 8;
const PATTERN: u32 = 0x5a5a_a5a5;

/// Runs `body` on the bytes of `inputs`; returns those of the arguments that are written.
fn run(args: &[Arg], inputs: &[Vec<u8>], body: &dyn Fn(&mut Args<'_>)) -> Vec<Vec<u32>> {
    let words = |bytes: &Vec<u8>| {
        let mut padded = bytes.clone();
        padded.resize(bytes.len().next_multiple_of(4), 0xff);
        let mut words: Vec<u32> = padded.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
        words.extend([PATTERN; GUARD]);
        words
    };
    let mut memory: Vec<Vec<u32>> = inputs.iter().map(words).collect();
    let views = args.iter().zip(&mut memory).map(|(arg, words)| match arg.access {
        Access::Read => View::In(bytemuck::cast_slice(words.as_slice())),
        _ => View::Out(bytemuck::cast_slice_mut(words.as_mut_slice())),
    });
    body(&mut Args::new(args, views.collect()));
    for (arg, words) in args.iter().zip(&mut memory) {
        let guard = words.split_off(words.len() - GUARD);
        assert!(guard.iter().all(|&w| w == PATTERN), "{} is written behind its end", arg.name);
    }
    memory
}

/// Compares what the host form writes with what the definition writes.
fn check(id: &str, op: &Op, inputs: &[Vec<u8>], host: &dyn Host, tolerance: Tolerance) -> Result<(), String> {
    let kernel = op.kernel();
    kernel.validate().map_err(|e| format!("{id}: {e}"))?;
    let args = kernel.args();
    let want = run(&args, inputs, &|args| kernel.reference(args));
    let got = run(&args, inputs, &|args| kernel.cpu(host, args));
    if got != run(&args, inputs, &|args| kernel.cpu(host, args)) {
        return Err(format!("{id}: two runs differ"));
    }
    for ((arg, got), want) in args.iter().zip(&got).zip(&want) {
        if arg.access == Access::Read || arg.dtype == DType::U32 {
            if got != want {
                return Err(format!("{id}: {} is {got:?}, expected {want:?}", arg.name));
            }
            continue;
        }
        let difference = compare(bytemuck::cast_slice(got), bytemuck::cast_slice(want), tolerance);
        if !difference.within {
            return Err(format!("{id} on {}: {}: {difference}", host.simd().name(), arg.name));
        }
    }
    Ok(())
}

#[test]
fn cpu_matches_the_reference_in_every_case() {
    let mut failures = Vec::new();
    for (i, case) in op::cases().iter().enumerate() {
        let inputs = case.op.kernel().inputs(&mut Rng::new(i as u64));
        let mut hosts: Vec<Box<dyn Host>> = vec![Box::new(SingleThread)];
        hosts.extend(Simd::available().into_iter().map(|simd| Box::new(Threads(simd)) as Box<dyn Host>));
        for host in hosts {
            failures.extend(check(&case.id, &case.op, &inputs, &*host, case.tolerance).err());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
