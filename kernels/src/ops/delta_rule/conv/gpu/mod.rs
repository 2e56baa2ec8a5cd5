//! One pass computes the outputs and one stores the states. If every sequence has one token, one pass does both: an
//! invocation then reads all of its channel's state before it overwrites it.
//!
//! Predicted: `2 W` flop and, with caches, 8 bytes per output; memory-bound.

use super::{Activation, NAME, Part, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::part;
use crate::plan::Arg;
use crate::plan::fill::{Fill, Target};
use crate::plan::shader;
use crate::plan::shader::{Const, Features, Shader};
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup.
const GROUP: u32 = 64;

/// Pairs of (shader parameter, argument) for the offsets of arguments in their bindings.
const STARTS: [(&str, &str); 9] = [
    ("x_start", "x"),
    ("weight_start", "weight"),
    ("bias_start", "bias"),
    ("cu_start", "cu"),
    ("slots_start", "slots"),
    ("pool_start", "pool"),
    ("before_start", "state0"),
    ("after_start", "state"),
    ("out_start", "out"),
];

/// Returns the constants for activation functions and for the function of each part.
pub(crate) fn activations(parts: &[Part; 3]) -> Vec<(&'static str, Const)> {
    let [first, second, third] = parts.map(|part| Const::U32(part.activation as u32));
    vec![
        ("SILU", Const::U32(Activation::Silu as u32)),
        ("RELU", Const::U32(Activation::Relu as u32)),
        ("ELU_PLUS_ONE", Const::U32(Activation::EluPlusOne as u32)),
        ("FIRST", first),
        ("SECOND", second),
        ("THIRD", third),
    ]
}

/// Sets the parameters of `inputs.wgsl`. Arguments listed in `starts` get their offsets, all others 0.
pub(crate) fn parameters<'a>(
    pass: PassBuilder<'a>,
    spec: &Spec,
    starts: &[(&'static str, &'static str)],
    args: &[Arg],
) -> PassBuilder<'a> {
    let [first, second, _] = spec.parts.map(|part| part.channels);
    let pass = pass
        .u32("rows", spec.rows())
        .u32("tokens", spec.tokens)
        .u32("channels", spec.channels())
        .u32("window", spec.window)
        .u32("stride", spec.stride)
        .u32("second", first)
        .u32("third", first + second)
        .u32("sequences", spec.sequences())
        .u32("slots", spec.pool.unwrap_or(spec.sequences()));
    STARTS.iter().fold(pass, |pass, (name, _)| {
        let arg = starts.iter().find(|(start, arg)| start == name && args.iter().any(|a| a.name == *arg));
        match arg {
            Some((_, arg)) => pass.start(name, arg, 4),
            None => pass.u32(name, 0),
        }
    })
}

pub(super) fn plan(spec: &Spec, caps: &Caps) -> Result<Plan> {
    let args = spec.args();
    let planner = Planner { spec, caps, args: &args };
    let mut passes = Vec::new();
    if spec.channels() == 0 {
        return Ok(Plan::default());
    }
    let (fill, states) = (Fill { op: NAME, caps, args: &args }, spec.last || spec.pool.is_some());
    match (spec.sequences() > 0 && spec.pool != Some(0), spec.rows() > 0) {
        (true, true) => {
            passes.push(planner.outputs(states)?);
            passes.extend((states && !planner.steps()).then(|| planner.states()).transpose()?);
        }
        (false, true) => passes.push(fill.zeros(Target::Arg("out"))?),
        // Without tokens a state is unchanged.
        (true, false) if spec.last && spec.initial => passes.push(fill.copy("state0", Target::Arg("state"))?),
        (true, false) if spec.last => passes.push(fill.zeros(Target::Arg("state"))?),
        _ => {}
    }
    Ok(Plan { passes, scratch: Vec::new() })
}

struct Planner<'a> {
    spec: &'a Spec,
    caps: &'a Caps,
    args: &'a [Arg],
}

impl Planner<'_> {
    fn steps(&self) -> bool {
        self.spec.packed.is_none() && self.spec.tokens == 1
    }

    fn outputs(&self, states: bool) -> Result<Pass> {
        let spec = self.spec;
        let keeps = states && self.steps();
        let mut linked =
            vec![("weight", None), ("out", Some(("OUT_BINDING", part!("ops/delta_rule/conv/gpu/conv.wgsl"))))];
        let mut parts = vec![
            match spec.packed {
                Some(_) => part!("ops/delta_rule/conv/gpu/parts/search.wgsl"),
                None => part!("ops/delta_rule/conv/gpu/parts/one_each.wgsl"),
            },
            if keeps {
                part!("ops/delta_rule/conv/gpu/parts/keep.wgsl")
            } else {
                part!("ops/delta_rule/conv/gpu/parts/no_keep.wgsl")
            },
        ];
        match spec.bias {
            true => linked.push(("bias", Some(("BIAS_BINDING", part!("ops/dense/norm/gpu/parts/bias.wgsl"))))),
            false => parts.push(part!("ops/dense/norm/gpu/parts/no_bias.wgsl")),
        }
        parts.push(part!("ops/delta_rule/conv/gpu/parts/parts.wgsl"));
        let consts = activations(&spec.parts);
        self.pass("conv", parts, &consts, linked, keeps, spec.rows())
    }

    fn states(&self) -> Result<Pass> {
        let parts = vec![part!("ops/delta_rule/conv/gpu/parts/keep.wgsl"), part!("ops/delta_rule/conv/gpu/keeps.wgsl")];
        self.pass("conv.keep", parts, &[], Vec::new(), true, self.spec.sequences())
    }

    /// Plans a pass over the channels of `rows` rows. Binds `x`, then the arguments in `linked`, then the sequence
    /// offsets and slots. A linked part learns its binding index from a constant.
    fn pass(
        &self,
        name: &'static str,
        mut parts: Vec<shader::Part>,
        consts: &[(&'static str, Const)],
        mut linked: Vec<(&'static str, Option<(&'static str, shader::Part)>)>,
        keeps: bool,
        rows: u32,
    ) -> Result<Pass> {
        let spec = self.spec;
        parts.extend([part!("plan/parts/each.wgsl"), part!("ops/delta_rule/conv/gpu/parts/inputs.wgsl")]);
        match spec.packed {
            Some(_) => linked.push(("cu", Some(("CU_BINDING", part!("ops/delta_rule/delta/gpu/parts/packed.wgsl"))))),
            None => parts.push(part!("ops/delta_rule/delta/gpu/parts/padded.wgsl")),
        }
        match spec.pool {
            Some(_) => linked.extend([
                ("slots", Some(("SLOTS_BINDING", part!("ops/delta_rule/delta/gpu/parts/slots.wgsl")))),
                ("pool", Some(("POOL_BINDING", part!("ops/delta_rule/conv/gpu/parts/pool.wgsl")))),
            ]),
            None => parts.push(part!("ops/delta_rule/delta/gpu/parts/own_slot.wgsl")),
        }
        match (spec.pool, spec.initial) {
            (Some(_), _) => {}
            (None, true) => {
                linked.push(("state0", Some(("BEFORE_BINDING", part!("ops/delta_rule/conv/gpu/parts/before.wgsl")))))
            }
            (None, false) => parts.push(part!("ops/delta_rule/conv/gpu/parts/nothing_before.wgsl")),
        }
        if spec.last && keeps {
            linked.push(("state", Some(("AFTER_BINDING", part!("ops/delta_rule/conv/gpu/parts/after.wgsl")))));
        }
        let mut consts = [&[("GROUP", Const::U32(GROUP))], consts].concat();
        for (at, (_, part)) in linked.iter().enumerate() {
            let Some((constant, part)) = *part else { continue };
            consts.push((constant, Const::U32(at as u32 + 1)));
            parts.push(part);
        }
        let shader = Shader { name, parts, consts, features: Features::default(), workgroup_bytes: 0 };
        let mut pass = PassBuilder::new(self.args, shader).arg("x");
        let names: Vec<_> = linked.into_iter().map(|(name, _)| name).collect();
        for name in &names {
            pass = pass.arg(name);
        }
        let invocations = u64::from(rows) * u64::from(spec.channels());
        // Offsets of arguments that this pass does not bind stay 0.
        let starts: Vec<_> = STARTS.into_iter().filter(|(_, arg)| *arg == "x" || names.contains(arg)).collect();
        parameters(pass, spec, &starts, self.args).dispatch(
            NAME,
            self.caps,
            self.caps.grid(NAME, invocations.div_ceil(GROUP.into()))?,
        )
    }
}
