//! Three passes: `dz`, the gradient of the arguments of the activations, is stored in scratch; then the weights are
//! summed; then `dx` is computed. A fourth pass computes `dstate0` if sequences begin with a state.

use super::{NAME, Spec};
use crate::error::Result;
use crate::ops::Kernel;
use crate::ops::delta_rule::conv;
use crate::ops::delta_rule::conv::parameters;
use crate::part;
use crate::plan::fill::{Fill, Target};
use crate::plan::shader::{Const, Features, Part, Shader};
use crate::plan::{Access, Arg};
use crate::plan::{Caps, Pass, PassBuilder, Plan};
use alloc::{vec, vec::Vec};

/// Invocations per workgroup.
const GROUP: u32 = 64;

pub(super) fn plan(forward: &conv::Spec, caps: &Caps) -> Result<Plan> {
    let args = Spec { forward: *forward }.args();
    let planner = Planner { spec: forward, caps, args: &args };
    if forward.channels() == 0 {
        return Ok(Plan::default());
    }
    let fill = Fill { op: NAME, caps, args: &args };
    if forward.rows() == 0 || forward.sequences() == 0 {
        return planner.without_tokens(&fill);
    }
    let mut passes = vec![planner.derivatives()?, planner.weights()?];
    passes.push(planner.back(
        "conv_backward.dx",
        "dx",
        forward.rows(),
        vec![part!("ops/delta_rule/conv_backward/gpu/dx.wgsl")],
    )?);
    if forward.initial {
        let rows = forward.sequences() * (forward.window - 1);
        let parts = vec![part!("ops/delta_rule/conv_backward/gpu/dstate0.wgsl")];
        passes.push(planner.back("conv_backward.dstate0", "dstate0", rows, parts)?);
    }
    Ok(Plan { passes, scratch: vec![planner.bytes()] })
}

struct Planner<'a> {
    spec: &'a conv::Spec,
    caps: &'a Caps,
    args: &'a [Arg],
}

/// An argument, the constant that holds its binding index, and the part that reads it.
type Linked = (&'static str, &'static str, Part);

impl<'p> Planner<'p> {
    /// Returns the bytes of `dz`.
    fn bytes(&self) -> u64 {
        4 * u64::from(self.spec.rows()) * u64::from(self.spec.channels())
    }

    /// Plans the case without tokens: gradients of weights are 0, and `dstate0` is `dstate`, or 0.
    fn without_tokens(&self, fill: &Fill<'_>) -> Result<Plan> {
        let spec = self.spec;
        let mut passes = vec![fill.zeros(Target::Arg("dweight"))?];
        if spec.rows() > 0 {
            passes.push(fill.zeros(Target::Arg("dx"))?);
        }
        if spec.bias {
            passes.push(fill.zeros(Target::Arg("dbias"))?);
        }
        if spec.initial && spec.sequences() > 0 {
            let to = Target::Arg("dstate0");
            passes.push(if spec.last { fill.copy("dstate", to)? } else { fill.zeros(to)? });
        }
        Ok(Plan { passes, scratch: Vec::new() })
    }

    /// Adds the parts that find a token's sequence and, if `before`, the state before its first token.
    fn sequences(&self, parts: &mut Vec<Part>, before: bool) -> Vec<Linked> {
        let mut linked = Vec::new();
        match self.spec.packed {
            Some(_) => linked.push(("cu", "CU_BINDING", part!("ops/delta_rule/delta/gpu/parts/packed.wgsl"))),
            None => parts.push(part!("ops/delta_rule/delta/gpu/parts/padded.wgsl")),
        }
        match (before, self.spec.initial) {
            (true, true) => {
                linked.push(("state0", "BEFORE_BINDING", part!("ops/delta_rule/conv/gpu/parts/before.wgsl")))
            }
            (true, false) => parts.push(part!("ops/delta_rule/conv/gpu/parts/nothing_before.wgsl")),
            (false, _) => {}
        }
        linked
    }

    fn search(&self) -> Part {
        match self.spec.packed {
            Some(_) => part!("ops/delta_rule/conv/gpu/parts/search.wgsl"),
            None => part!("ops/delta_rule/conv/gpu/parts/one_each.wgsl"),
        }
    }

    fn derivatives(&self) -> Result<Pass> {
        let spec = self.spec;
        let mut parts = vec![
            part!("ops/delta_rule/conv/gpu/parts/inputs.wgsl"),
            part!("ops/delta_rule/delta/gpu/parts/own_slot.wgsl"),
            part!("ops/delta_rule/conv/gpu/parts/parts.wgsl"),
            self.search(),
            part!("ops/delta_rule/conv_backward/gpu/dz.wgsl"),
        ];
        let mut linked = self.sequences(&mut parts, true);
        match spec.bias {
            true => linked.push(("bias", "BIAS_BINDING", part!("ops/dense/norm/gpu/parts/bias.wgsl"))),
            false => parts.push(part!("ops/dense/norm/gpu/parts/no_bias.wgsl")),
        }
        let bind = |pass: PassBuilder<'p>| {
            pass.arg("x").arg("weight").arg("dout").scratch("dz", 0, self.bytes(), Access::Write)
        };
        let starts = [
            ("x_start", "x"),
            ("weight_start", "weight"),
            ("bias_start", "bias"),
            ("cu_start", "cu"),
            ("before_start", "state0"),
            ("out_start", "dout"),
        ];
        let consts = conv::activations(&spec.parts);
        let outputs = u64::from(spec.rows()) * u64::from(spec.channels());
        self.pass("conv_backward.dz", parts, consts, (4, linked), bind, outputs, |pass| {
            parameters(pass, spec, &starts, self.args)
        })
    }

    fn weights(&self) -> Result<Pass> {
        let spec = self.spec;
        let mut parts = vec![
            part!("ops/delta_rule/conv/gpu/parts/inputs.wgsl"),
            part!("ops/delta_rule/delta/gpu/parts/own_slot.wgsl"),
            part!("ops/delta_rule/conv_backward/gpu/weights.wgsl"),
        ];
        parts.push(match spec.bias {
            true => part!("ops/delta_rule/conv_backward/gpu/parts/bias.wgsl"),
            false => part!("ops/delta_rule/conv_backward/gpu/parts/no_bias.wgsl"),
        });
        let linked = self.sequences(&mut parts, true);
        let bind = |pass: PassBuilder<'p>| {
            let pass = pass.arg("x").scratch("dz", 0, self.bytes(), Access::Read).arg("dweight");
            if spec.bias { pass.arg("dbias") } else { pass }
        };
        let weights = spec.window + u32::from(spec.bias);
        let starts = [
            ("x_start", "x"),
            ("weight_start", "dweight"),
            ("bias_start", "dbias"),
            ("cu_start", "cu"),
            ("before_start", "state0"),
        ];
        let consts = vec![("WEIGHTS", Const::U32(weights))];
        let sums = u64::from(spec.channels()) * u64::from(weights);
        let first = 3 + u32::from(spec.bias);
        self.pass("conv_backward.weights", parts, consts, (first, linked), bind, sums, |pass| {
            parameters(pass, spec, &starts, self.args)
        })
    }

    /// Plans the pass that propagates `dz` back to `rows` rows of inputs.
    fn back(&self, name: &'static str, to: &'static str, rows: u32, mut parts: Vec<Part>) -> Result<Pass> {
        let spec = self.spec;
        parts.push(part!("ops/delta_rule/conv_backward/gpu/parts/back.wgsl"));
        if to == "dx" {
            parts.push(self.search());
        }
        let mut linked = self.sequences(&mut parts, false);
        match spec.last {
            true => {
                linked.push(("dstate", "DSTATE_BINDING", part!("ops/delta_rule/conv_backward/gpu/parts/dstate.wgsl")))
            }
            false => parts.push(part!("ops/delta_rule/conv_backward/gpu/parts/no_dstate.wgsl")),
        }
        let bind =
            |pass: PassBuilder<'p>| pass.arg("weight").scratch("dz", 0, self.bytes(), Access::Read).arg_as("to", to);
        let inputs = u64::from(rows) * u64::from(spec.channels());
        self.pass(name, parts, Vec::new(), (3, linked), bind, inputs, |pass| {
            pass.u32("rows", spec.rows())
                .u32("tokens", spec.tokens)
                .u32("channels", spec.channels())
                .u32("window", spec.window)
                .u32("sequences", spec.sequences())
                .start("weight_start", "weight", 4)
                .start_if_present("cu_start", "cu", 4)
                .start_if_present("dstate_start", "dstate", 4)
                .start("to_start", to, 4)
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn pass(
        &self,
        name: &'static str,
        mut parts: Vec<Part>,
        mut consts: Vec<(&'static str, Const)>,
        (first, linked): (u32, Vec<Linked>),
        bind: impl FnOnce(PassBuilder<'p>) -> PassBuilder<'p>,
        invocations: u64,
        parameters: impl FnOnce(PassBuilder<'p>) -> PassBuilder<'p>,
    ) -> Result<Pass> {
        parts.push(part!("plan/parts/each.wgsl"));
        consts.push(("GROUP", Const::U32(GROUP)));
        let mut names = Vec::new();
        for (at, (arg, constant, part)) in linked.into_iter().enumerate() {
            consts.push((constant, Const::U32(first + at as u32)));
            parts.push(part);
            names.push(arg);
        }
        let shader = Shader { name, parts, consts, features: Features::default(), workgroup_bytes: 0 };
        let mut pass = bind(PassBuilder::new(self.args, shader));
        for arg in names {
            pass = pass.arg(arg);
        }
        let grid = self.caps.grid(NAME, invocations.div_ceil(GROUP.into()))?;
        parameters(pass).dispatch(NAME, self.caps, grid)
    }
}
