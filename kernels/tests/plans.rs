//! What plans say of their cost.

use foveate_kernels::dtype::DType;
use foveate_kernels::error::Error;
use foveate_kernels::ops::{Kernel, Op};
use foveate_kernels::plan::Caps;
use foveate_kernels::testing::shapes;
use foveate_kernels::{delta, embed, linear, norm};

#[test]
fn plan_binds_at_least_what_its_op_must_move() {
    for (name, op) in shapes() {
        let plan = op.kernel().plan(&Caps::WEBGPU).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(plan.bytes() >= op.bytes(), "{name}: {} of {}", plan.bytes(), op.bytes());
        assert_eq!(plan.barriers() + 1, plan.passes.len(), "{name}");
    }
}

#[test]
fn plan_counts_what_is_read_and_written_twice() {
    let spec = norm::Spec::rms(8, 64, 1e-5).with_residual(true);
    let plan = spec.plan(&Caps::WEBGPU).expect("a small plan");
    // x there and back, residual, weight, out.
    assert_eq!(plan.bytes(), 4 * (2 * 8 * 64 + 8 * 64 + 64 + 8 * 64));
    assert!(plan.workgroup_barriers() > 0, "a reduction waits");
    assert_eq!(plan.scratch_bytes(), 0);
    let whole = Op::from(linear::Spec::new(1, 64, 1024, DType::F32));
    assert_eq!(whole.kernel().plan(&Caps::WEBGPU).expect("a small plan").bytes(), whole.bytes());
}

#[test]
fn plans_of_weights_in_too_many_bindings_are_refused() {
    let small = Caps::WEBGPU.with_binding_bytes(4096).with_buffer_bytes(4096);
    let refused = embed::Spec::new(1, 1 << 24, 64, DType::F32).plan(&small);
    assert!(matches!(refused, Err(Error::Limit { what: "bindings of a weight", .. })), "{refused:?}");
}

/// Which form is faster was measured: docs/benchmarks.md.
#[test]
fn plan_of_the_delta_rule_goes_in_chunks_where_they_are_faster() {
    let software = Caps::WEBGPU.with_software(true);
    let wide = software.with_subgroups(8, 8);
    let head = delta::Spec::new(1, 100, 8, 64, 64).with_gate(delta::Gate::Head);
    let channel = head.with_gate(delta::Gate::Channel);
    for (spec, caps, chunks) in [
        (head, Caps::WEBGPU, true),
        (channel, Caps::WEBGPU, true),
        (head.with_tokens(16), Caps::WEBGPU, false),
        (head, wide, true),
        (head.with_key_dim(129), wide, false),
        (channel, wide, false),
        (head, software, false),
    ] {
        let plan = spec.plan(&caps).expect("a small plan");
        let found = plan.passes.iter().any(|pass| pass.shader.name.starts_with("delta.chunk"));
        assert_eq!(found, chunks, "{spec:?}");
    }
}
