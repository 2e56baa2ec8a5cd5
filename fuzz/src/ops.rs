//! Arbitrary specs: validation and planning never panic, and where a spec is valid and small, the CPU executor gives what
//! the reference gives. The specs are drawn from the tables of the ops' settings; what is left out, and why, stands in
//! `foveate_kernels::testing`.

use arbitrary::Unstructured;
use foveate_core::host::HostBackend;
use foveate_core::kernels::dtype::DType;
use foveate_core::kernels::ops::Op;
use foveate_core::kernels::plan::Caps;
use foveate_core::kernels::rng::Rng;
use foveate_core::kernels::testing::{Entropy, Tolerance, compare, draw};
use foveate_core::{Backend, Operand};

/// The bytes of a fuzzer as numbers to choose with.
struct Bytes<'a, 'b>(&'b mut Unstructured<'a>);

impl Entropy for Bytes<'_, '_> {
    fn up_to(&mut self, most: u32) -> u32 {
        self.0.int_in_range(0..=most).unwrap_or(0)
    }
}

/// Bytes of all arguments, and operations, of a spec that is run.
const BYTES: u64 = 1 << 20;
const FLOP: u64 = 4_000_000;
/// Largest size in a shape of a spec that is run.
const SIZE: u32 = 1 << 16;

/// See the [module](self).
pub fn ops(bytes: &[u8]) {
    let mut u = Unstructured::new(bytes);
    let mut choice = Bytes(&mut u);
    let table = Op::TABLES[choice.up_to(Op::TABLES.len() as u32 - 1) as usize];
    let op = draw(table, &mut choice);
    let kernel = op.kernel();
    if kernel.validate().is_err() {
        return;
    }
    let args = kernel.args();
    let small = Caps::WEBGPU.with_binding_bytes(4096).with_buffer_bytes(4096).with_workgroups(64);
    let rich = Caps::WEBGPU.with_subgroups(4, 64).with_f16(true).with_workgroup_bytes(32768);
    let software = Caps::WEBGPU.with_software(true);
    for caps in [Caps::WEBGPU, small, rich, software] {
        if let Ok(plan) = kernel.plan(&caps) {
            for pass in plan.passes {
                pass.check(op.name(), &caps).expect("a plan fits the device that it is for");
            }
        }
    }
    let total = args.iter().fold(0u64, |sum, a| sum.saturating_add(a.bytes()));
    // Executors may loop over the rows of a tensor that has no elements.
    let long = args.iter().flat_map(|arg| &arg.shape).any(|&size| size > SIZE);
    if total > BYTES || kernel.flop() > FLOP || long {
        return;
    }
    let inputs = kernel.inputs(&mut Rng::new(u.arbitrary().unwrap_or(0)));
    let (reference, cpu) =
        (run(&HostBackend::reference(), &op, &inputs), run(&HostBackend::exact_cpu(1), &op, &inputs));
    for ((arg, got), want) in args.iter().zip(&cpu).zip(&reference) {
        if arg.dtype != DType::F32 {
            assert_eq!(got, want, "{} of {op:?}", arg.name);
            continue;
        }
        let (got, want): (Vec<f32>, Vec<f32>) = (bytemuck::pod_collect_to_vec(got), bytemuck::pod_collect_to_vec(want));
        let gradient = matches!(op, Op::AttentionBackward(_) | Op::SelectedAttentionBackward(_) | Op::DeltaBackward(_));
        let tolerance = if gradient { Tolerance::EXECUTOR_GRADIENT } else { Tolerance::EXECUTOR };
        // Of a few numbers, one that cancels can be all: then only the elementwise bound means something.
        let few = want.iter().filter(|x| **x != 0.0).count() < 64;
        let relative_rms = if few { f64::INFINITY } else { tolerance.relative_rms };
        let found = compare(&got, &want, Tolerance { relative_rms, ..tolerance });
        assert!(found.within, "{} of {op:?}: {found}", arg.name);
    }
}

fn run(backend: &HostBackend, op: &Op, inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let buffer = |bytes: &Vec<u8>| {
        let buffer = backend.alloc("fuzz", bytes.len() as u64).expect("a small buffer");
        backend.upload(&buffer, 0, bytes).expect("its own bytes");
        buffer
    };
    let buffers: Vec<_> = inputs.iter().map(buffer).collect();
    let operands: Vec<_> = buffers.iter().map(Operand::new).collect();
    backend.run_positional(op, &operands).expect("a valid spec runs");
    let download = |(b, i): (&_, &Vec<u8>)| pollster::block_on(backend.download(b, 0, i.len() as u64));
    buffers.iter().zip(inputs).map(|pair| download(pair).expect("its bytes")).collect()
}
