//! Records ops for one submission.
//!
//! Storage buffers are bind group 0. The parameters of all passes of a submission share one uniform buffer, bind group
//! 1, with an offset for each dispatch. The bind groups of a decode loop therefore repeat from token to token and are
//! created once.
//!
//! A plan asks for the rest of an operand's offset as a parameter (`Value::Start`), because WebGPU aligns binding
//! offsets to 256 bytes. An op can so work on rows of a fused product without a copy.

use super::buffer::GpuBuffer;
use super::pipeline::{PARAMS_STRIDE, Pipeline};
use super::timing::Timer;
use super::{Gpu, lock};
use crate::backend::Operand;
use crate::error::{Error, Result};
use foveate_kernels::ops::Op;
use foveate_kernels::plan::{Arg, fit};
use foveate_kernels::plan::{Binding, Memory, Pass, Plan, Value};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

struct Dispatch {
    pipeline: Arc<Pipeline>,
    group: wgpu::BindGroup,
    workgroups: [u32; 3],
}

/// A pipeline and what it binds: buffer, piece, offset and bytes of each binding.
type GroupKey = (usize, Vec<(u64, usize, u64, u64)>);

/// A plan, with what its operands must hold and the pipelines of its passes.
struct Prepared {
    args: Vec<Arg>,
    scratch: Vec<u64>,
    passes: Vec<(Arc<Pipeline>, Pass)>,
}

impl Prepared {
    fn new(gpu: &Gpu, args: Vec<Arg>, plan: Plan) -> Result<Self> {
        let passes = plan.passes.into_iter().map(|pass| Ok((gpu.pipelines.get(gpu, &pass)?, pass)));
        Ok(Self { args, scratch: plan.scratch, passes: passes.collect::<Result<_>>()? })
    }
}

/// Lengths of what is recorded.
pub(super) struct Mark {
    dispatches: usize,
    params: usize,
    ops: usize,
    timed: usize,
}

/// Plans that are kept: more than a step of a model has ops that differ.
const PLANS: usize = 64;

#[derive(Default)]
pub(super) struct Recorder {
    /// The last plans, and which of them goes next. The layers of a model ask for the same ones, token by token: planning
    /// takes longer than recording.
    plans: Vec<(Op, Arc<Prepared>)>,
    oldest: usize,
    dispatches: Vec<Dispatch>,
    /// Parameters of the dispatches, each at a multiple of `PARAMS_STRIDE`.
    params: Vec<u8>,
    uniform: Option<(wgpu::Buffer, wgpu::BindGroup)>,
    groups: HashMap<GroupKey, wgpu::BindGroup>,
    scratch: Vec<GpuBuffer>,
    /// Intermediate buffer of copies whose source and destination are the same buffer.
    pub(super) between: Option<GpuBuffer>,
    /// Bytes uploaded since the queue last moved on.
    staged: u64,
    pub(super) timer: Timer,
    /// While ops are timed, the dispatches of each that has any.
    ops: Vec<Range<usize>>,
}

/// Uploads that may wait in staging memory at a time.
const STAGED_BYTES: u64 = 32 << 20;

/// A binding, resolved: where it begins, and how far before the argument that is.
struct Place<'a> {
    buffer: &'a wgpu::Buffer,
    id: u64,
    piece: usize,
    offset: u64,
    bytes: u64,
    /// Bytes between the aligned offset and the argument.
    skip: u64,
}

impl Recorder {
    pub(super) fn is_pending(&self) -> bool {
        !self.dispatches.is_empty()
    }

    /// Counts an upload; true when it is time to let the queue move on.
    pub(super) fn staged(&mut self, bytes: u64) -> bool {
        self.staged += bytes;
        let full = self.staged >= STAGED_BYTES;
        if full {
            self.staged = 0;
        }
        full
    }

    pub(super) fn record(&mut self, gpu: &Gpu, op: &Op, operands: &[Operand<'_, Gpu>]) -> Result<()> {
        let lengths: Vec<u64> = operands.iter().map(|o| o.buffer.len().saturating_sub(o.offset)).collect();
        let prepared = match self.plans.iter().find(|(planned, _)| planned == op) {
            Some((_, prepared)) => {
                fit(op.name(), &prepared.args, &lengths)?;
                prepared.clone()
            }
            None => {
                let args = op.check(&lengths)?;
                let prepared = Arc::new(Prepared::new(gpu, args, op.kernel().plan(&gpu.caps_of(op.name()))?)?);
                let kept = (op.clone(), prepared.clone());
                match self.plans.len() < PLANS {
                    true => self.plans.push(kept),
                    false => self.plans[self.oldest] = kept,
                }
                self.oldest = (self.oldest + 1) % PLANS;
                prepared
            }
        };
        self.add(gpu, op.name(), &prepared, operands)
    }

    /// Returns the current end of the recording, for `roll_back`.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            dispatches: self.dispatches.len(),
            params: self.params.len(),
            ops: self.ops.len(),
            timed: self.timer.len(),
        }
    }

    /// Discards what was recorded behind `mark` by a call that failed, and every bind group: one of them may be broken.
    pub(super) fn roll_back(&mut self, mark: Mark) {
        self.dispatches.truncate(mark.dispatches);
        self.params.truncate(mark.params);
        self.ops.truncate(mark.ops);
        self.timer.truncate(mark.timed);
        self.groups.clear();
    }

    /// Ops are planned anew, as by other capabilities.
    pub(super) fn forget_plans(&mut self) {
        (self.plans, self.oldest) = (Vec::new(), 0);
    }

    /// Records the passes of a plan over operands that hold `args`.
    pub(super) fn plan(
        &mut self,
        gpu: &Gpu,
        op: &'static str,
        args: Vec<Arg>,
        plan: Plan,
        operands: &[Operand<'_, Gpu>],
    ) -> Result<()> {
        self.add(gpu, op, &Prepared::new(gpu, args, plan)?, operands)
    }

    fn add(&mut self, gpu: &Gpu, op: &str, prepared: &Prepared, operands: &[Operand<'_, Gpu>]) -> Result<()> {
        check_sharing(op, &prepared.args, operands)?;
        self.reserve(gpu, &prepared.scratch)?;
        let (dispatches, params) = (self.dispatches.len(), self.params.len());
        for (pipeline, pass) in &prepared.passes {
            if let Err(error) = self.pass(gpu, op, pipeline, pass, operands) {
                self.dispatches.truncate(dispatches);
                self.params.truncate(params);
                return Err(error);
            }
        }
        if self.timer.on {
            let any = !prepared.passes.is_empty();
            self.timer.recorded(any);
            self.ops.extend(any.then_some(dispatches..self.dispatches.len()));
        }
        Ok(())
    }

    /// Makes scratch large enough for a plan. Ops run one after the other, so all share it.
    pub(super) fn reserve(&mut self, gpu: &Gpu, scratch: &[u64]) -> Result<()> {
        for (i, &bytes) in scratch.iter().enumerate() {
            if self.scratch.get(i).is_none_or(|s| s.len() < bytes) {
                let buffer = crate::Backend::alloc(gpu, "scratch", bytes.next_power_of_two())?;
                match self.scratch.get_mut(i) {
                    Some(old) => *old = buffer,
                    None => self.scratch.push(buffer),
                }
            }
        }
        Ok(())
    }

    fn pass(
        &mut self,
        gpu: &Gpu,
        op: &str,
        pipeline: &Arc<Pipeline>,
        pass: &Pass,
        operands: &[Operand<'_, Gpu>],
    ) -> Result<()> {
        let places: Vec<Place<'_>> =
            pass.bindings.iter().map(|b| place(gpu, &self.scratch, operands, b)).collect::<Result<_>>()?;
        params(op, pass, &places, &mut self.params)?;
        let key = (pipeline.id, places.iter().map(|p| (p.id, p.piece, p.offset, p.bytes)).collect());
        let group = self.groups.entry(key).or_insert_with(|| {
            let entries: Vec<_> = (0..)
                .zip(&places)
                .map(|(binding, p)| wgpu::BindGroupEntry {
                    binding,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: p.buffer,
                        offset: p.offset,
                        size: wgpu::BufferSize::new(p.bytes),
                    }),
                })
                .collect();
            let layout = &pipeline.storage;
            gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(pass.shader.name),
                layout,
                entries: &entries,
            })
        });
        let (pipeline, group) = (pipeline.clone(), group.clone());
        self.dispatches.push(Dispatch { pipeline, group, workgroups: pass.workgroups });
        Ok(())
    }

    /// Encodes everything recorded, then what `then` adds, as one submission.
    pub(super) fn submit(&mut self, gpu: &Gpu, then: impl FnOnce(&mut wgpu::CommandEncoder)) {
        if !self.dispatches.is_empty() {
            self.write_params(gpu);
        }
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
        if let (false, Some((_, uniform))) = (self.dispatches.is_empty(), &self.uniform) {
            let dispatches = &self.dispatches;
            let encode = |pass: &mut wgpu::ComputePass<'_>, range: Range<usize>| {
                let mut current = None;
                for (i, d) in dispatches.iter().enumerate().take(range.end).skip(range.start) {
                    if current != Some(d.pipeline.id) {
                        pass.set_pipeline(&d.pipeline.pipeline);
                        current = Some(d.pipeline.id);
                    }
                    pass.set_bind_group(0, &d.group, &[]);
                    pass.set_bind_group(1, uniform, &[i as u32 * PARAMS_STRIDE as u32]);
                    pass.dispatch_workgroups(d.workgroups[0], d.workgroups[1], d.workgroups[2]);
                }
            };
            match self.timer.on {
                true => self.timer.encode(gpu, &mut encoder, &self.ops, encode),
                false => encode(&mut encoder.begin_compute_pass(&Default::default()), 0..dispatches.len()),
            }
        }
        then(&mut encoder);
        gpu.queue.submit([encoder.finish()]);
        let mut stats = lock(&gpu.ledger.stats);
        stats.submissions += 1;
        stats.dispatches += self.dispatches.len() as u64;
        drop(stats);
        self.dispatches.clear();
        self.ops.clear();
        self.params.clear();
        self.staged = 0;
        let dropped = std::mem::take(&mut *lock(&gpu.ledger.dropped));
        // Shapes that never come back leave groups behind: a bound keeps them few.
        if self.groups.len() > 8192 {
            self.groups.clear();
        } else if !dropped.is_empty() {
            self.groups.retain(|(_, bound), _| !bound.iter().any(|b| dropped.contains(&b.0)));
        }
    }

    fn write_params(&mut self, gpu: &Gpu) {
        let bytes = self.params.len() as u64;
        if self.uniform.as_ref().is_none_or(|(buffer, _)| buffer.size() < bytes) {
            let size = bytes.next_power_of_two().max(1024 * PARAMS_STRIDE);
            let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("params"),
                size,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some("params"),
                layout: &gpu.pipelines.params,
                entries: &[wgpu::BindGroupEntry {
                    binding: 0,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &buffer,
                        offset: 0,
                        size: wgpu::BufferSize::new(PARAMS_STRIDE),
                    }),
                }],
            });
            lock(&gpu.ledger.stats).buffers += 1;
            self.uniform = Some((buffer, group));
        }
        if let Some((buffer, _)) = &self.uniform {
            gpu.queue.write_buffer(buffer, 0, &self.params);
        }
    }
}

/// Refuses an argument that is written and shares its buffer: no device runs that.
fn check_sharing(op: &str, args: &[Arg], operands: &[Operand<'_, Gpu>]) -> Result<()> {
    for (i, (arg, operand)) in args.iter().zip(operands).enumerate() {
        let shares = |j: usize| j != i && operands[j].buffer.id() == operand.buffer.id();
        if arg.access.writes() && (0..operands.len()).any(shares) {
            return Err(Error::device(format!("{op}: {} shares its buffer with another argument", arg.name)));
        }
    }
    Ok(())
}

fn place<'a>(
    gpu: &Gpu,
    scratch: &'a [GpuBuffer],
    operands: &'a [Operand<'_, Gpu>],
    binding: &Binding,
) -> Result<Place<'a>> {
    let (buffer, from) = match binding.memory {
        Memory::Arg(i) => (operands[i].buffer, operands[i].offset),
        Memory::Scratch(i) => (&scratch[i], 0),
    };
    let (piece_buffer, piece, at) = buffer.piece(from + binding.offset);
    let skip = at % u64::from(gpu.caps.alignment);
    let bytes = (skip + binding.bytes).next_multiple_of(4);
    if at - skip + bytes > piece_buffer.size() {
        let reason = format!("{}: {bytes} bytes at {at} cross a piece of {}", binding.name, piece_buffer.size());
        return Err(Error::device(reason));
    }
    // Kernels that read vectors may read to the end of the last one.
    let bytes = bytes.next_multiple_of(16).min(piece_buffer.size() - (at - skip));
    Ok(Place { buffer: piece_buffer, id: buffer.id(), piece, offset: at - skip, bytes, skip })
}

/// Adds the words of the pass's parameters, up to a whole stride.
fn params(op: &str, pass: &Pass, places: &[Place<'_>], words: &mut Vec<u8>) -> Result<()> {
    let mut started = 0u64;
    for param in &pass.params {
        let word = match param.value {
            Value::U32(v) => v,
            Value::F32(v) => v.to_bits(),
            Value::Start { arg, unit } => {
                let bound = pass.bindings.iter().position(|b| b.memory == Memory::Arg(arg));
                let i = bound.ok_or_else(|| Error::device(format!("{op}: {} is not bound", param.name)))?;
                // An argument may be bound twice from one place.
                for (at, binding) in pass.bindings.iter().enumerate() {
                    if binding.memory == Memory::Arg(arg) && binding.offset == pass.bindings[i].offset {
                        started |= 1 << at;
                    }
                }
                if !places[i].skip.is_multiple_of(u64::from(unit)) {
                    let reason = format!("{op}: {} at no multiple of {unit} bytes", pass.bindings[i].name);
                    return Err(Error::device(reason));
                }
                (places[i].skip / u64::from(unit)) as u32
            }
        };
        words.extend(word.to_ne_bytes());
    }
    for (i, (place, binding)) in places.iter().zip(&pass.bindings).enumerate() {
        if place.skip != 0 && started >> i & 1 == 0 {
            let reason = format!("{op}: {} must begin at the device's alignment", binding.name);
            return Err(Error::device(reason));
        }
    }
    words.resize(words.len().next_multiple_of(PARAMS_STRIDE as usize), 0);
    Ok(())
}
