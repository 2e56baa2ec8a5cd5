//! `foveate devices`

use super::print;
use clap::Args;
use foveate::check;
use foveate::gpu::{self, Gpu};
use foveate::host::HostBackend;
use foveate::kernels::dtype::DType;
use foveate::kernels::ops::Op;
use foveate::kernels::plan::Caps;
use foveate::kernels::plan::shader::{Const, Shader};
use foveate::kernels::testing;
use foveate::kernels::testing::Case;
use foveate::kernels::{activation, attention, embed, linear, norm, rope, sample};
use foveate::{Any, Backend};
use foveate::{Result, wait};
use std::process::ExitCode;

/// A case is small if it reads and writes less, in bytes: the test of a device takes seconds.
const SMALL: u64 = 256 << 10;
/// Small cases of each op in the test.
const EACH: usize = 3;

#[derive(Args)]
pub(super) struct Arguments {
    /// Use the limits of every WebGPU device, and no optional feature.
    #[arg(long)]
    baseline: bool,
    /// List adapters without testing them.
    #[arg(long)]
    no_test: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut healthy = true;
    let cpu = Any::Host(HostBackend::exact_cpu(0));
    print(&format!("{}\n", cpu.describe()))?;
    healthy &= test(&cpu, arguments)?;
    let adapters = wait(gpu::adapters());
    if adapters.is_empty() {
        print("no GPU adapter was found\n")?;
    }
    for (number, adapter) in adapters.into_iter().enumerate() {
        let options = gpu::Options::default().baseline(arguments.baseline).software(true);
        match wait(Gpu::from_adapter(&adapter, options)) {
            Ok(gpu) => {
                let caps = *gpu.caps();
                let software =
                    if caps.software { ", a software driver: taken only with --device gpu or gpu:N" } else { "" };
                print(&format!("\ngpu:{number}: {}{software}\n{}", gpu.describe(), limits(&caps)))?;
                for (step, tokens) in [("decode", 1), ("prefill", 256)] {
                    print(&format!("  kernels of a {step} step ({tokens} at a time):\n{}", variants(&caps, tokens)))?;
                }
                healthy &= test(&Any::Gpu(gpu), arguments)?;
            }
            Err(error) => {
                healthy = false;
                print(&format!("\n{}: {error}\n", adapter.get_info().name))?;
            }
        }
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn limits(caps: &Caps) -> String {
    let subgroups = match caps.subgroups {
        true => format!("subgroups of {} to {}", caps.subgroup_min, caps.subgroup_max),
        false => "no subgroups".into(),
    };
    format!(
        "  features: {}, {subgroups}\n  limits: {} bytes of workgroup memory, {} invocations, {} storage buffers, \
         bindings of {} MiB, buffers of {} MiB, {} workgroups a dimension\n",
        if caps.shader_f16 { "shader-f16" } else { "no shader-f16" },
        caps.workgroup_bytes,
        caps.invocations,
        caps.storage_buffers,
        caps.binding_bytes >> 20,
        caps.buffer_bytes >> 20,
        caps.workgroups,
    )
}

/// The ops of a step of a small Llama with 4-bit weights: 9 heads of 64 on 3, as SmolLM2 135M has them.
fn step(tokens: u32) -> Vec<Op> {
    let (dim, inner, vocab, keys) = (576, 1536, 49152, 1024);
    let format = DType::Q4_1;
    let attention = attention::Spec::causal(1, tokens, keys, 9, 3, 64).with_paged(Some(attention::Pages {
        pages: 16,
        page: 64,
        width: 16,
    }));
    let rope = rope::Spec::new(tokens, 12, 64, keys).with_stride(960);
    let activation =
        activation::Spec::new(tokens, inner, activation::Kind::Silu).with_gated(true).with_stride(2 * inner);
    vec![
        embed::Spec::new(tokens, vocab, dim, format).into(),
        norm::Spec::rms(tokens, dim, 1e-5).into(),
        linear::Spec::new(tokens, dim, 960, format).into(),
        rope.into(),
        attention.into(),
        activation.into(),
        linear::Spec::new(tokens, inner, dim, format).into(),
        linear::Spec::new(1, dim, vocab, format).into(),
        sample::Spec::new(vocab).into(),
    ]
}

/// A line for each op: the shaders of its plan with their constants.
fn variants(caps: &Caps, tokens: u32) -> String {
    let mut text = String::new();
    for op in step(tokens) {
        let shaders = match op.kernel().plan(caps) {
            Ok(plan) => plan.passes.iter().map(|pass| variant(&pass.shader)).collect::<Vec<_>>().join(", then "),
            Err(error) => format!("none: {error}"),
        };
        text.push_str(&format!("    {:11} {shaders}\n", op.name()));
    }
    text
}

fn variant(shader: &Shader) -> String {
    let value = |value: &Const| match value {
        Const::U32(n) => n.to_string(),
        Const::Bool(b) => b.to_string(),
        Const::Alias(name) => (*name).into(),
    };
    let consts: Vec<String> = shader.consts.iter().map(|(name, v)| format!("{name}={}", value(v))).collect();
    let features = [(shader.features.f16, " f16"), (shader.features.subgroups, " subgroups")];
    let features: String = features.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    format!("{}({}){features}", shader.name, consts.join(" "))
}

/// Runs a few small cases of every op against its definition.
fn test(device: &Any, arguments: &Arguments) -> Result<bool> {
    if arguments.no_test {
        return Ok(true);
    }
    let (mut ran, mut failed) = (0, Vec::new());
    for name in Op::NAMES {
        let small = |case: &Case| case.op.name() == *name && (1..SMALL).contains(&case.op.bytes());
        for case in testing::cases().into_iter().filter(small).take(EACH) {
            ran += 1;
            match wait(check::case(device, &case)) {
                Ok(finding) if finding.passed => {}
                Ok(finding) => failed.push(format!("{}: {}", finding.name, finding.detail)),
                Err(error) => failed.push(format!("{}: {error}", case.id)),
            }
        }
    }
    print(&format!("  self-test: {} of {ran} cases agree with the definitions\n", ran - failed.len()))?;
    for line in &failed {
        print(&format!("    FAILED  {line}\n"))?;
    }
    Ok(failed.is_empty())
}
