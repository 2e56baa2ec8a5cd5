//! One op against the outputs that a case file expects, or against its own definition.

use super::{Bounds, Finding, spec};
use crate::any::Any;
use crate::backend::Backend;
use crate::error::Result;
use crate::host::HostBackend;
use crate::operands::run_args;
use crate::weights::Checkpoint;
use foveate_kernels::dtype::DType;
use foveate_kernels::ops::Op;
use foveate_kernels::ops::settings::table;
use foveate_kernels::plan::{Access, Arg};
use foveate_kernels::rng::Rng;
use foveate_kernels::testing::{Case, tolerance_on};
use foveate_kernels::testing::{Difference, Tolerance, compare};

/// Tensors of a file that are expectations begin with this.
const WANT: &str = "want.";

/// Runs the op of a case file and compares everything that the file expects: inputs under the names of the op's
/// arguments, expectations as `want.NAME`, the metadata `op` and `params`.
///
/// If the file has `dout`, the op's gradients are computed from its outputs.
///
/// An expectation that nothing computes (of an op that is not here, or a gradient of one without a backward form) is a
/// finding that failed.
///
/// # Errors
/// Whatever keeps the op from running: a file that is no case, a spec that the op refuses.
pub async fn op<B: Backend>(backend: &B, file: &Checkpoint, bounds: Bounds) -> Result<Vec<Finding>> {
    let wanted = || file.names().filter_map(|name| name.strip_prefix(WANT));
    let spec::Case { ops, backward } = match spec::read(file)? {
        Ok(case) => case,
        Err(missing) => return Ok(wanted().map(|name| Finding::failed(name, missing.clone())).collect()),
    };
    let differentiable = backward.is_some();
    let backward = backward.filter(|_| file.get("dout").is_some());
    let mut computed: Vec<Computed> = Vec::new();
    // An op of gradients may be a case of its own.
    let tolerance = |op: &Op| match table(op.name()).is_ok_and(|table| !table.gradients.is_empty()) {
        true => bounds.gradient,
        false => bounds.output,
    };
    let steps = ops.iter().chain(&backward).map(|step| (step, tolerance(&step.0)));
    for ((op, names), tolerance) in steps {
        op.kernel().validate()?;
        let args = op.kernel().args();
        let named = |arg: &Arg| names.iter().find(|(name, _)| *name == arg.name).map_or(arg.name, |(_, tensor)| tensor);
        let mut inputs = Vec::new();
        for arg in &args {
            // What the file has comes first: an op may write what another of its arguments is called in the file.
            let known = computed.iter().find(|known| known.name == named(arg) && file.get(known.name).is_none());
            inputs.push(match (arg.access, known) {
                (Access::Write, _) => vec![0xff; arg.bytes() as usize],
                (_, Some(known)) => known.bytes.clone(),
                // The loss may leave an output out, whose gradient is zero then.
                _ if file.get(named(arg)).is_none() && is_output_gradient(&computed, named(arg)) => {
                    vec![0; arg.bytes() as usize]
                }
                _ => input(file, arg, named(arg)).await?,
            });
        }
        let outputs = run_args(backend, op, &args, &inputs).await?;
        for (arg, (_, bytes)) in args.iter().filter(|arg| arg.access.writes()).zip(outputs.iter()) {
            computed.push(Computed { name: named(arg), arg: arg.clone(), bytes: bytes.to_vec(), tolerance });
        }
    }
    let mut findings = Vec::new();
    for name in wanted() {
        findings.push(match computed.iter().find(|written| written.name == name) {
            Some(written) => written.finding(&input(file, &written.arg, &[WANT, name].concat()).await?),
            None => Finding::failed(
                name,
                missing(file.note("op").unwrap_or_default(), name, differentiable, backward.is_some()),
            ),
        });
    }
    if findings.is_empty() {
        return Err(spec::bad("it expects nothing"));
    }
    Ok(findings)
}

/// An output of an op, under its name in the file.
struct Computed {
    name: &'static str,
    arg: Arg,
    bytes: Vec<u8>,
    tolerance: Tolerance,
}

impl Computed {
    /// Compares numbers within the tolerance, and ids, counts and stored formats bit for bit.
    fn finding(&self, want: &[u8]) -> Finding {
        if self.arg.dtype == DType::F32 {
            let [got, want]: [Vec<f32>; 2] = [&self.bytes[..], want].map(bytemuck::pod_collect_to_vec);
            return Finding::compared(self.name, &compare(&got, &want, self.tolerance));
        }
        let different = self.bytes.iter().zip(want).filter(|(got, want)| got != want).count();
        let detail = format!("{different} of {} bytes differ", want.len());
        Finding { name: self.name.into(), passed: different == 0, detail }
    }
}

/// Returns whether this is the name of the gradient of an output that was computed.
fn is_output_gradient(computed: &[Computed], name: &str) -> bool {
    name.strip_prefix('d').is_some_and(|of| computed.iter().any(|output| output.name == of))
}

/// Why nothing computes an expectation, of an op with a backward form or without, which ran or did not.
fn missing(op: &str, name: &str, differentiable: bool, ran: bool) -> String {
    match name.strip_prefix('d') {
        Some(of) if !differentiable => format!("the gradient of {of} is missing: {op} has no backward form"),
        Some(of) if !ran => format!("the gradient of {of} needs dout, which is missing"),
        Some(of) => format!("{op} has no gradient of {of}"),
        None => format!("{op} has no output of this name"),
    }
}

/// The bytes of an input, of exactly the shape that the op expects.
async fn input(file: &Checkpoint, arg: &Arg, tensor: &str) -> Result<Vec<u8>> {
    let shape: Vec<u64> = arg.shape.iter().map(|&d| d.into()).collect();
    let info = file.require(tensor, &shape)?;
    let stored = info.dtype()?;
    // Counts are stored signed, since few libraries have an unsigned type.
    let counts = stored == DType::I32 && arg.dtype == DType::U32;
    if stored != arg.dtype && !counts {
        return Err(spec::bad(format!("{tensor} is stored as {stored}, {} is needed", arg.dtype)));
    }
    let bytes = file.read(info, 0, info.bytes).await?;
    if counts && bytemuck::pod_collect_to_vec::<u8, i32>(&bytes).iter().any(|&n| n < 0) {
        return Err(spec::bad(format!("{tensor} holds a negative count")));
    }
    Ok(bytes)
}

/// Runs a named case of an op on drawn inputs, on `backend` and by the definition, and compares every output: the
/// self-test of a device.
///
/// # Errors
/// Whatever keeps the op from running.
pub async fn case(backend: &Any, case: &Case) -> Result<Finding> {
    #[cfg_attr(not(feature = "gpu"), expect(irrefutable_let_patterns))]
    let cpu = if let Any::Host(host) = backend { host.threads() } else { None };
    let tolerance = cpu.map_or(case.tolerance, |cpu| tolerance_on(cpu, &case.op, case.tolerance));
    let inputs = case.op.kernel().inputs(&mut Rng::new(0x5eed));
    let lengths: Vec<u64> = inputs.iter().map(|bytes| bytes.len() as u64).collect();
    let args = case.op.check(&lengths)?;
    let wanted = run_args(&HostBackend::reference(), &case.op, &args, &inputs).await?;
    let got = run_args(backend, &case.op, &args, &inputs).await?;
    let mut worst: Option<(&str, Difference)> = None;
    let outputs = got.iter().zip(wanted.iter());
    for (arg, ((_, got), (_, wanted))) in args.iter().filter(|arg| arg.access.writes()).zip(outputs) {
        let [got, wanted]: [Vec<f32>; 2] = [got, wanted].map(bytemuck::pod_collect_to_vec);
        let found = match arg.dtype {
            DType::F32 => compare(&got, &wanted, tolerance),
            // Ids and counts are bits: as numbers they would be compared with a tolerance.
            _ => compare(&whole(&got), &whole(&wanted), Tolerance::EXACT),
        };
        if worst.as_ref().is_none_or(|(_, w)| w.within && (!found.within || found.relative_rms > w.relative_rms)) {
            worst = Some((arg.name, found));
        }
    }
    Ok(match worst {
        Some((name, found)) => Finding { detail: format!("{name}: {found}"), ..Finding::compared(&case.id, &found) },
        None => Finding::failed(&case.id, "the op writes nothing"),
    })
}

/// Words as numbers: exact below 2^24, which holds every vocabulary.
fn whole(bits: &[f32]) -> Vec<f32> {
    bits.iter().map(|x| x.to_bits() as f32).collect()
}
