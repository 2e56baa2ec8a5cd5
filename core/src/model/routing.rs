//! Routing heads beside heads of attention over a window.
//!
//! Routing heads keep keys and values of their own, in f32, because attention and selected attention read rows of whole
//! heads. Both outputs are added to the residual stream, by one product each.

use super::attention::Attention;
use super::matrix::{Input, Matrix, Then};
use super::norm::Norm;
use super::record::Record;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::Pool;
use crate::config;
use crate::error::Result;
use foveate_kernels::dtype::DType;
use foveate_kernels::selected_attention::{Combine, Keys};
use foveate_kernels::{append, selected_attention};

pub(crate) struct Routing<B: Backend> {
    pub(super) config: config::Routing,
    pub(super) local: Option<Attention<B>>,
    /// Queries, which are the keys, and values.
    pub(super) input: Matrix<B>,
    /// The norm of each query head; its weights are ones.
    pub(super) norm: Norm<B>,
    /// `[H, C, D]`
    pub(super) centroids: B::Buffer,
    pub(super) output: Matrix<B>,
}

impl<B: Backend> Routing<B> {
    /// Records the routing heads, from the output of the layer's norm to `w.mixed` at byte `out`.
    ///
    /// Each head adds the step's tokens to the lists of members in their sequence's slot, and each token attends to the
    /// members at its own time. Sequences are recorded one after the other, since they share the buffers of the lists.
    pub(super) fn record(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        pool: &Pool<B>,
        (step, layer): (&Step<'_>, usize),
        input: Input<'_, B>,
        out: u64,
    ) -> Result<()> {
        let r = &self.config;
        let (Some((k_pool, v_pool)), Some(states), Some(routed)) =
            (pool.routed(layer), pool.states().layer(layer), &w.routed)
        else {
            unreachable!("a layer that routes has keys and states")
        };
        let (tokens, width) = (step.tokens, r.width());
        let values = Operand::at(&w.qkv, u64::from(width) * 4);
        self.input.apply(to, tokens, input, Then::default(), &w.qkv)?;
        let spec = self.norm.spec(tokens, r.heads, r.dim).with_stride(2 * width);
        to(spec.into(), &[&w.qkv, &self.norm.weight, &routed.x].map(Operand::new))?;
        let append = append::Spec::new(tokens, pool.slots(), width, width, DType::F32).with_v_stride(2 * width);
        let (keys, all_values) = (Operand::new(k_pool), Operand::new(v_pool));
        to(append.into(), &[w.slots(tokens, false), Operand::new(&routed.x), values, keys, all_values])?;

        let take = r.step(step.each());
        let [entries, key_entries] = take.entries()?;
        let attend = selected_attention::Spec::new(1, step.each(), r.heads, r.dim, r.clusters, entries)
            .with_keys(Keys::Separate { tokens: step.keys, entries: key_entries })
            .with_scale(r.scale)
            .with_expires(true)
            .with_offset(true)
            .with_paged(Some(pool.layout(w.table_width, false)))
            .with_combine(Combine::Mean { eps: 0.0 });
        let rows = u64::from(step.each()) * u64::from(width) * 4;
        for (index, &slot) in (0..).zip(step.slots) {
            let behind = u64::from(index) * rows;
            let x = || Operand::at(&routed.x, behind);
            let state = Operand::at(&states.memory.buffer, u64::from(slot) * states.memory.bytes);
            let [a, b, c, d, e] = routed.lists.each_ref().map(Operand::new);
            let centroids = Operand::new(&self.centroids);
            to(take.into(), &[x(), centroids, w.first(step, index), state, a, b, c, d, e])?;
            let [a, b, c, d, e] = routed.lists.each_ref().map(Operand::new);
            let [keys, values] = [k_pool, v_pool].map(Operand::new);
            let out = Operand::at(&w.mixed, out + behind);
            to(attend.into(), &[x(), keys, values, a, b, c, d, e, w.first(step, index), w.tables(index, false), out])?;
        }
        Ok(())
    }
}
