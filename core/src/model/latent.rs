//! Multi-head latent attention, in its absorbed form: the cache holds a token's latent and the part of keys that all heads
//! share, and attention reads them as one head, whose values are the latents.
//!
//! A head's own key is `K c`, a product of a latent `c`, so `q . K c = (K^T q) . c`: queries are multiplied by `K^T` instead.
//! A head's output is a sum of values `V c`, so it is `V` times the sum of latents. Both products are those of a mixture of
//! experts, with a head for an expert.
//!
//! Counted with `R` elements of a latent, `S` shared ones, `N` own ones and `V` of a value, for each head:
//!
//! | | absorbed | expanded |
//! |---|---|---|
//! | cached elements of a token, of all `H` heads | `R + S` | `H (N + S + V)` |
//! | products of a token | `2 R (N + V)` | `2 R (N + V)` |
//! | products of a query and a key | `2 (2 R + S)` | `2 (N + S + V)` |
//!
//! For DeepSeek-V2-Lite (512, 64, 128, 128, 16 heads) that is 576 cached elements in place of 5,120, and 2,176 flop in place
//! of 640 for a query and a key. Decoding is bound by the bytes of the cache, 8.9 times fewer. Reading a prompt is bound by
//! products: beside the 162 Mflop of a token's other products in a layer, attention to 2,048 keys is 71 Mflop in place of
//! 21. To expand cached keys again at each step costs 0.26 Mflop a key and head. That is less than the absorbed products
//! take from 171 tokens a step on, and half of them at 512 tokens, but needs room for the expanded keys of the whole text.
//!
//! The rotated part of a head stands at its end. The rotation of whole heads from there on turns that part alone.
//!
//! Source: DeepSeek-V2 (2405.04434), section 2.1.

use super::matrix::{Input, Matrix, Part, Then};
use super::norm::Norm;
use super::record::Record;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::Pool;
use crate::config;
use crate::error::Result;
use foveate_kernels::dtype::DType;
use foveate_kernels::{append, expert_linear, rope};

/// The second products of a layer whose keys and values come from a latent.
pub(crate) struct Latent<B: Backend> {
    pub(super) config: config::Latent,
    /// The norm of the vector that queries come from, if there is one.
    pub(super) query_norm: Option<Norm<B>>,
    /// Gives queries, from that vector or from the layer's input.
    pub(super) queries: Matrix<B>,
    /// The norm of the latent.
    pub(super) norm: Norm<B>,
    /// `K^T` of each head, `[H, R, N]`.
    pub(super) keys: Part<B>,
    /// `V` of each head, `[H, V, R]`.
    pub(super) values: Part<B>,
}

impl<B: Backend> Latent<B> {
    /// Records what turns latents, shared parts of keys and the vectors of queries, which `w.qkv` holds, into rows of `pool`
    /// and into queries of such rows in `w.expanded[2]`. `input` is the input of the layer.
    pub(super) fn record(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        pool: &Pool<B>,
        step: &Step<'_>,
        (layer, a): (usize, &config::Attention),
        input: Input<'_, B>,
    ) -> Result<()> {
        let config::Latent { rank, shared, query_rank, .. } = self.config;
        let (tokens, stride, row) = (step.tokens, a.width(), self.config.row());
        let part = |first: u32| Operand::at(&w.qkv, u64::from(first) * 4);
        self.norm.in_place(to, part(0), [tokens, 1, rank], stride)?;
        let [queries, wide, joined] = &w.expanded;
        let of = match &self.query_norm {
            Some(norm) => {
                norm.in_place(to, part(row), [tokens, 1, query_rank.unwrap_or(0)], stride)?;
                Input::strided(part(row), stride)
            }
            None => input,
        };
        self.queries.apply(to, tokens, of, Then::default(), queries)?;

        let own = a.dim - shared;
        let ends = || Operand::at(queries, u64::from(own) * 4);
        let mut rotate = |table, pairing, [heads, dim, rotary, stride]: [u32; 4], x| {
            let spec = rope::Spec::new(tokens, heads, dim, w.context)
                .with_rotary(rotary)
                .with_pairing(pairing)
                .with_stride(stride);
            to(spec.into(), &[w.positions(), Operand::new(table), x])
        };
        if let Some((rope, table)) = a.rope.as_ref().zip(w.rope(layer)) {
            let of_queries = w.query_rope(layer).unwrap_or(table);
            rotate(of_queries, rope.pairing, [a.heads, a.dim, shared, a.q_width()], ends())?;
            rotate(table, rope.pairing, [1, shared, shared, stride], part(rank))?;
        }
        if let Some(table) = w.warm_rope(layer) {
            rotate(table, rope::Pairing::Half, [a.heads, a.dim, own, a.q_width()], Operand::new(queries))?;
        }

        self.of_heads(to, w, (tokens, a.heads), (&self.keys, own, a.dim), [Operand::new(queries), Operand::new(wide)])?;
        let (pairs, [_, rows]) = (tokens * a.heads, w.heads(a.heads));
        let join = append::Spec::new(pairs, pairs, rank, 0, DType::F32).with_tail(Some(append::Tail {
            heads: 1,
            width: shared,
            stride: a.dim,
        }));
        to(join.into(), &[rows, Operand::new(wide), ends(), Operand::new(joined)])?;

        let Some((cached, _)) = pool.layer(layer) else { unreachable!("a layer of attention has keys") };
        let windowed = pool.windowed(layer);
        let layout = pool.layout(w.table_width, windowed);
        let spec = append::Spec::new(tokens, layout.pages * layout.page, row, 0, pool.format()).with_k_stride(stride);
        to(spec.into(), &[w.slots(tokens, windowed), part(0), Operand::new(cached)])
    }

    /// Records what turns the heads' sums of latents, in `w.expanded[1]`, into their outputs, in `w.mixed`.
    pub(super) fn outputs(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32, heads: u32) -> Result<()> {
        let rank = self.config.rank;
        let operands = [Operand::new(&w.expanded[1]), Operand::new(&w.mixed)];
        self.of_heads(to, w, (tokens, heads), (&self.values, rank, rank), operands)
    }

    /// Records the product of each head with its part of a matrix of `inputs`, which are `stride` elements apart.
    fn of_heads(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        (tokens, heads): (u32, u32),
        (matrix, inputs, stride): (&Part<B>, u32, u32),
        [x, y]: [Operand<'_, B>; 2],
    ) -> Result<()> {
        let spec = expert_linear::Spec::new(tokens, [heads; 2], inputs, matrix.rows / heads, matrix.format)
            .with_each(true)
            .with_x_stride(stride);
        let [ids, _] = w.heads(heads);
        to(spec.into(), &[x, ids, Operand::new(&matrix.buffer), y])
    }
}
