//! Rows of queries, keys, values and memory slots from which tiles are loaded.

use super::{FACTORS, LISTS, Planner};
use crate::ops::routing::selected_attention::Own;
use crate::part;
use crate::plan::Access;
use crate::plan::PassBuilder;
use crate::plan::shader::{Const, Part};
use alloc::{vec, vec::Vec};
use core::f32::consts::LOG2_E;

impl<'a> Planner<'a> {
    /// Returns the elements per array entry: 4 if every row length is a multiple of 4, otherwise 1.
    pub(crate) fn unit(&self) -> u32 {
        if [self.spec.dim, self.spec.value_dim].iter().all(|n| n.is_multiple_of(4)) { 4 } else { 1 }
    }

    /// Returns the parts that read rows, and the arguments they bind, in binding order.
    pub(crate) fn rows(&self) -> (Vec<Part>, Vec<&'static str>) {
        let (spec, vectors) = (self.spec, self.unit() == 4);
        let pick = |vec4, f32| if vectors { vec4 } else { f32 };
        let mut bound = vec!["q"];
        let mut parts = vec![pick(
            part!("ops/routing/selected_attention/gpu/parts/q_vec4.wgsl"),
            part!("ops/routing/selected_attention/gpu/parts/q_f32.wgsl"),
        )];
        parts.push(match (spec.separate(), spec.normalize()) {
            (true, _) => pick(
                part!("ops/routing/selected_attention/gpu/parts/k_vec4.wgsl"),
                part!("ops/routing/selected_attention/gpu/parts/k_f32.wgsl"),
            ),
            (_, true) => part!("ops/routing/selected_attention/gpu/parts/k_is_normal_q.wgsl"),
            _ => part!("ops/routing/selected_attention/gpu/parts/k_is_q.wgsl"),
        });
        if spec.separate() {
            bound.push("k");
        } else if spec.normalize() {
            bound.push("factors");
        }
        parts.push(pick(
            part!("ops/routing/selected_attention/gpu/parts/v_vec4.wgsl"),
            part!("ops/routing/selected_attention/gpu/parts/v_f32.wgsl"),
        ));
        bound.push("v");
        parts.push(match spec.memory {
            0 => part!("ops/routing/selected_attention/gpu/parts/no_memory.wgsl"),
            _ => pick(
                part!("ops/routing/selected_attention/gpu/parts/memory_vec4.wgsl"),
                part!("ops/routing/selected_attention/gpu/parts/memory_f32.wgsl"),
            ),
        });
        if spec.memory > 0 {
            bound.extend(["memory_k", "memory_v"]);
        }
        bound.push("lists");
        (parts, bound)
    }

    /// Returns the constants of `params.wgsl` and of the row parts.
    pub(crate) fn consts(&self, bound: &[&'static str]) -> Vec<(&'static str, Const)> {
        let spec = self.spec;
        let mut consts = vec![
            ("D", Const::U32(spec.dim)),
            ("V", Const::U32(spec.value_dim)),
            ("D4", Const::U32(spec.dim.div_ceil(4))),
            ("V4", Const::U32(spec.value_dim.div_ceil(4))),
            ("CAUSAL", Const::Bool(spec.causal)),
            ("EXPIRES", Const::Bool(spec.expires)),
            ("OFFSET", Const::Bool(spec.offset)),
            ("OWN_EXCLUDED", Const::Bool(spec.own == Own::Excluded)),
            ("OWN_LAST", Const::Bool(matches!(spec.own, Own::LastResort(_)))),
        ];
        for (name, of) in [
            ("K_BINDING", &["k", "factors"][..]),
            ("V_BINDING", &["v"]),
            ("MEMORY_K_BINDING", &["memory_k"]),
            ("MEMORY_V_BINDING", &["memory_v"]),
            ("LISTS_BINDING", &["lists"]),
            ("TABLE_BINDING", &["table"]),
            ("BLOCKS_BINDING", &["blocks"]),
            ("LSE_BINDING", &["lse"]),
        ] {
            consts.extend(bound.iter().position(|b| of.contains(b)).map(|at| (name, Const::U32(at as u32))));
        }
        consts
    }

    /// Binds the arguments returned by [`rows`](Self::rows).
    pub(crate) fn bind_rows(&self, mut pass: PassBuilder<'a>, bound: &[&'static str], lists: u64) -> PassBuilder<'a> {
        for &name in bound {
            pass = match name {
                "lists" => pass.scratch(name, LISTS, lists, Access::Read),
                "factors" => pass.scratch(name, FACTORS, 4 * u64::from(self.units() * self.spec.tokens), Access::Read),
                _ => self.bind(pass, name),
            };
        }
        pass
    }

    /// Sets the parameters of `params.wgsl`, except those after `memory_v_start`.
    pub(crate) fn params(&self, pass: PassBuilder<'a>, parts: u32) -> PassBuilder<'a> {
        let spec = self.spec;
        let [members, key_members, until, first] = self.list_starts();
        let own_logit = if let Own::LastResort(logit) = spec.own { logit * LOG2_E } else { 0.0 };
        let mut pass = pass
            .u32("units", self.units())
            .u32("heads", spec.heads)
            .u32("tokens", spec.tokens)
            .u32("key_tokens", spec.key_tokens())
            .u32("clusters", spec.clusters)
            .u32("entries", spec.entries)
            .u32("key_entries", spec.key_entries())
            .u32("slots", spec.memory)
            .u32("parts", parts)
            .u32("members", members)
            .u32("key_members", key_members)
            .u32("until", until)
            .u32("first", first)
            .f32("scale", spec.scale * LOG2_E)
            .f32("own_logit", own_logit);
        for (name, arg) in [
            ("q_start", "q"),
            ("k_start", "k"),
            ("v_start", "v"),
            ("memory_k_start", "memory_k"),
            ("memory_v_start", "memory_v"),
        ] {
            pass = self.start(pass, name, arg, 4 * self.unit());
        }
        pass
    }
}
