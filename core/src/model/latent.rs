//! Multi-head latent attention up to its cache: products of a token's latent give the keys and values of all heads, and a
//! part of keys that is the same in all heads is joined to each while they are stored.
//!
//! The rotated part of a head stands at its end. The rotation of whole heads from there on turns that part alone.

use super::matrix::{Input, Matrix, Then};
use super::norm::Norm;
use super::record::Record;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::Pool;
use crate::config;
use crate::error::Result;
use foveate_kernels::{append, rope};

/// The second products of a layer whose keys and values come from a latent.
pub(crate) struct Latent<B: Backend> {
    pub(super) config: config::Latent,
    /// The norm of the vector that queries come from, and the product that gives queries.
    pub(super) queries: Option<(Norm<B>, Matrix<B>)>,
    /// The norm of the latent.
    pub(super) norm: Norm<B>,
    /// The own part of each head's keys, and behind all of them the values.
    pub(super) expand: Matrix<B>,
}

impl<B: Backend> Latent<B> {
    /// Records what turns latents, shared parts of keys and queries or what they come from, which `w.qkv` holds, into keys
    /// and values in `pool`; returns where queries lie and the elements between those of two tokens.
    pub(super) fn record<'a>(
        &self,
        to: &mut Record<'_, B>,
        w: &'a Workspace<B>,
        pool: &Pool<B>,
        step: &Step<'_>,
        (layer, a): (usize, &config::Attention),
    ) -> Result<(Operand<'a, B>, u32)> {
        let config::Latent { rank, shared, query_rank, .. } = self.config;
        let (tokens, stride) = (step.tokens, a.width());
        let at = |elements: u32| u64::from(elements) * 4;
        let part = |first: u32| Operand::at(&w.qkv, at(first));
        self.norm.in_place(to, part(0), [tokens, 1, rank], stride)?;
        self.expand.apply(to, tokens, Input::strided(part(0), stride), Then::default(), &w.expanded[1])?;
        let (queries, first, q_stride) = match &self.queries {
            Some((norm, product)) => {
                let input = rank + shared;
                norm.in_place(to, part(input), [tokens, 1, query_rank.unwrap_or(0)], stride)?;
                product.apply(to, tokens, Input::strided(part(input), stride), Then::default(), &w.expanded[0])?;
                (&w.expanded[0], 0, a.q_width())
            }
            None => (&w.qkv, rank + shared, stride),
        };

        let own = a.dim - shared;
        let mut rotate = |table, pairing, [heads, dim, rotary, stride]: [u32; 4], x| {
            let spec = rope::Spec { tokens, heads, dim, rotary, pairing, positions: w.context, stride };
            to(spec.into(), &[w.positions(), Operand::new(table), x])
        };
        if let Some((rope, table)) = a.rope.as_ref().zip(w.rope(layer)) {
            let of_queries = w.query_rope(layer).unwrap_or(table);
            let ends = Operand::at(queries, at(first + own));
            rotate(of_queries, rope.pairing, [a.heads, a.dim, shared, q_stride], ends)?;
            rotate(table, rope.pairing, [1, shared, shared, stride], part(rank))?;
        }
        if let Some(table) = w.warm_rope(layer) {
            let beginnings = Operand::at(queries, at(first));
            rotate(table, rope::Pairing::Half, [a.heads, a.dim, own, q_stride], beginnings)?;
        }

        let Some((k_pool, v_pool)) = pool.layer(layer) else { unreachable!("a layer of attention has keys") };
        let windowed = pool.windowed(layer);
        let layout = pool.layout(w.table_width, windowed);
        let (k_width, v_width) = (a.kv_heads * own, a.v_width());
        let spec = append::Spec {
            tokens,
            pool: layout.pages * layout.page,
            k_width,
            v_width,
            k_stride: k_width + v_width,
            v_stride: k_width + v_width,
            format: pool.format(),
            tail: Some(append::Tail { heads: a.kv_heads, width: shared, stride }),
        };
        let (k, v) = (Operand::new(&w.expanded[1]), Operand::at(&w.expanded[1], at(k_width)));
        let pools = [k_pool, v_pool].map(Operand::new);
        let [k_to, v_to] = pools;
        to(spec.into(), &[w.slots(tokens, windowed), k, v, part(rank), k_to, v_to])?;
        Ok((Operand::at(queries, at(first)), q_stride))
    }
}
