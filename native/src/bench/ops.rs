//! One op on one device.

use super::ceiling::Ceiling;
use super::loaded::{Clock, Loaded};
use super::statistics::{Effort, Spread};
use crate::error::Result;
use foveate_core::Any;
use foveate_core::kernels::ops::Op;
use foveate_core::kernels::plan::{Caps, Plan};
use serde::Serialize;

/// The resources that a plan needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PlanCost {
    /// Dispatches of all passes.
    pub dispatches: usize,
    /// Points at which the whole device waits, between dispatches.
    pub barriers: usize,
    /// Barriers of a workgroup as the shaders are written.
    pub workgroup_barriers: usize,
    /// All that the passes bind, see [`Plan::bytes`].
    pub bytes: u64,
    /// Bytes of scratch buffers.
    pub scratch_bytes: u64,
}

impl PlanCost {
    /// Returns the cost of the plan for this device, or of the plan for WebGPU's default limits if the device is the host.
    /// `None` if there is no plan.
    pub fn of(device: &Any, op: &Op) -> Option<Self> {
        let caps = match device {
            Any::Gpu(gpu) => gpu.caps(),
            Any::Host(_) => &Caps::WEBGPU,
        };
        let plan: Plan = op.kernel().plan(caps).ok()?;
        Some(Self {
            dispatches: plan.passes.len(),
            barriers: plan.barriers(),
            workgroup_barriers: plan.workgroup_barriers(),
            bytes: plan.bytes(),
            scratch_bytes: plan.scratch_bytes(),
        })
    }
}

/// True if the device has a form of the op.
pub fn runs(device: &Any, op: &Op) -> bool {
    matches!(device, Any::Host(_)) || PlanCost::of(device, op).is_some()
}

/// The measurements of an op.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The name of the row.
    pub name: String,
    /// The name of the op.
    pub op: &'static str,
    /// Every field of the spec.
    pub spec: String,
    /// The clock of `seconds`.
    pub clock: Clock,
    /// Seconds of a run.
    pub seconds: Spread,
    /// Floating-point operations of a run.
    pub flop: u64,
    /// Least bytes that must move.
    pub bytes: u64,
    /// Floating-point operations a second.
    pub flop_s: f64,
    /// Bytes a second.
    pub bytes_s: f64,
    /// `flop_s` as a part of the device's ceiling.
    pub flop_share: f64,
    /// `bytes_s` as a part of the device's ceiling.
    pub bytes_share: f64,
    /// The larger of the two parts.
    pub share: f64,
    /// The resources of the plan; `None` on a host without one.
    pub plan: Option<PlanCost>,
}

/// Measures an op.
///
/// # Errors
/// A spec that is not valid, and whatever the device refuses.
pub fn row(device: &Any, ceiling: &Ceiling, name: &str, op: &Op, effort: Effort) -> Result<Row> {
    let seconds = Loaded::new(device, op.clone())?.time(effort)?;
    let (flop, bytes) = (op.kernel().flop(), op.bytes());
    // A coarse clock may see no time at all; then there is no rate.
    let rate = |work: u64| if seconds.median > 0.0 { work as f64 / seconds.median } else { 0.0 };
    let (flop_share, bytes_share) = (rate(flop) / ceiling.flop_s, rate(bytes) / ceiling.bytes_s);
    Ok(Row {
        name: name.into(),
        op: op.name(),
        spec: format!("{op:?}"),
        clock: Clock::of(device),
        seconds,
        flop,
        bytes,
        flop_s: rate(flop),
        bytes_s: rate(bytes),
        flop_share,
        bytes_share,
        share: flop_share.max(bytes_share),
        plan: PlanCost::of(device, op),
    })
}
