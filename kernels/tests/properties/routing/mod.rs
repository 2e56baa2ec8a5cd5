//! Section 6 of the algorithms: Routing 1 to 13, of which the ninth is in `centroids.rs`.

mod refusals;
mod route_lists;
mod selected;
mod step;

use super::{FORMS, Form, assert_close, bytes, floats, run_in_place};
use foveate_kernels::attention;
use foveate_kernels::centroids;
use foveate_kernels::ops::{Kernel, Op};
use foveate_kernels::plan::Access;
use foveate_kernels::rng::Rng;
use foveate_kernels::route::{self, NO_MEMBER, Norm, Selection};
use foveate_kernels::route_step;
use foveate_kernels::selected_attention::{self, Combine, Keys, NO_KEYS, Own, check_lists};
use foveate_kernels::selected_attention_backward;
use foveate_kernels::testing::u32_bytes;
use proptest::prelude::*;

const SELECTIONS: [Selection; 3] = [Selection::Balanced, Selection::Prefix, Selection::Nearest];
const CAUSAL: [Selection; 2] = [Selection::Prefix, Selection::Nearest];

fn spec(tokens: u32, clusters: u32, window: u32, selection: Selection) -> route::Spec {
    route::Spec::new(1, tokens, 1, 8, clusters, window).with_selection(selection)
}

/// What an op writes, from its inputs in order.
fn outputs(form: Form, op: impl Into<Op>, inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let op = op.into();
    let mut memory = inputs.to_vec();
    memory.extend(op.kernel().args()[inputs.len()..].iter().map(|arg| vec![0xff; arg.bytes() as usize]));
    run_in_place(form, &op, &mut memory);
    memory.split_off(inputs.len())
}

/// `members`, `ranges` and `until` (of a balanced selection, that nobody leaves).
#[derive(Clone, PartialEq, Debug)]
struct Lists([Vec<u32>; 3]);

impl Lists {
    fn of(form: Form, spec: route::Spec, x: &[f32], centroids: &[f32]) -> Self {
        let mut all =
            outputs(form, spec, &[bytes(x), bytes(centroids)]).into_iter().map(|b| bytemuck::pod_collect_to_vec(&b));
        let mut next = || all.next().unwrap_or_default();
        let (members, ranges) = (next(), next());
        let until = if spec.expires() { next() } else { vec![spec.tokens; members.len()] };
        Self([members, ranges, until])
    }

    /// `(member, until)` of list `c` of the first head.
    fn list(&self, c: usize) -> Vec<(u32, u32)> {
        let [members, ranges, until] = &self.0;
        (ranges[2 * c] as usize..ranges[2 * c + 1] as usize).map(|i| (members[i], until[i])).collect()
    }

    /// The members that `c` has at a time.
    fn at(&self, c: usize, time: u32) -> Vec<u32> {
        self.list(c).into_iter().filter(|&(m, until)| m <= time && until > time).map(|(m, _)| m).collect()
    }
}

fn attending(route: &route::Spec) -> selected_attention::Spec {
    selected_attention::Spec::new(
        route.batch,
        route.tokens,
        route.heads,
        route.dim,
        route.clusters,
        route.entries().expect("few places"),
    )
    .with_keys(Keys::Shared { normalize: false })
    .with_scale(0.35)
    .with_expires(route.expires())
    .with_combine(Combine::Mean { eps: 0.0 })
}

/// Routes `x`, and attends it to itself with the values `v`.
fn attend(form: Form, route: route::Spec, x: &[f32], centroids: &[f32], v: &[f32]) -> Vec<f32> {
    let Lists([members, ranges, until]) = Lists::of(form, route, x, centroids);
    let mut inputs = vec![bytes(x), bytes(v), u32_bytes(&members), u32_bytes(&ranges)];
    if route.expires() {
        inputs.push(u32_bytes(&until));
    }
    floats(&outputs(form, attending(&route), &inputs)[0])
}
