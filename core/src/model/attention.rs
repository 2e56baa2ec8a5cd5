//! Layers of attention: a product, norms of heads, rotation, an append to the cache, and attention over its pages.

use super::latent::Latent;
use super::matrix::{Input, Matrix, Then};
use super::norm::Norm;
use super::record::Record;
use super::workspace::{Step, Workspace};
use crate::backend::{Backend, Operand};
use crate::cache::Pool;
use crate::config::{self, NormOver};
use crate::error::Result;
use foveate_kernels::dtype::DType;
use foveate_kernels::{activation, append, attention, gate, rope, rope_append};

/// The weights of a layer of attention, with its settings.
pub(crate) struct Attention<B: Backend> {
    pub(super) config: config::Attention,
    /// Queries, keys and values, and gates.
    pub(super) input: Matrix<B>,
    /// The products that give queries, keys and values where they do not come from `input`.
    pub(super) latent: Option<Latent<B>>,
    /// The norms of the query heads and of the key heads.
    pub(super) head_norms: Option<(Norm<B>, Norm<B>)>,
    /// The logit of each head's sink.
    pub(super) sinks: Option<B::Buffer>,
    /// The slope of each head's scores.
    pub(super) alibi: Option<B::Buffer>,
    /// The norm of the output product's input.
    pub(super) output_norm: Option<Norm<B>>,
    pub(super) output: Matrix<B>,
}

impl<B: Backend> Attention<B> {
    /// Records the layer from what its norm leaves to `w.mixed`; `layer` names its keys and values in `pool`.
    pub(super) fn record(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        pool: &Pool<B>,
        step: &Step<'_>,
        layer: usize,
        input: Input<'_, B>,
    ) -> Result<()> {
        let a = &self.config;
        let tokens = step.tokens;
        self.input.apply(to, tokens, input, Then::default(), &w.qkv)?;
        let (queries, stride) = match &self.latent {
            Some(latent) => latent.record(to, w, pool, step, (layer, a))?,
            None => {
                self.heads(to, w, pool, step, layer)?;
                (Operand::new(&w.qkv), a.width())
            }
        };
        let Some((k_pool, v_pool)) = pool.layer(layer) else { unreachable!("a layer of attention has keys") };
        let windowed = pool.windowed(layer);
        let layout = pool.layout(w.table_width, windowed);
        let spec = attention::Spec {
            scale: a.scale,
            causal: a.causal,
            window: a.window,
            ahead: a.window.filter(|_| !a.causal).map(|sees| sees - 1),
            softcap: a.softcap,
            sinks: self.sinks.is_some(),
            alibi: self.alibi.is_some(),
            lengths: step.sequences() > 1,
            paged: Some(layout),
            kv: pool.format(),
            q_stride: stride,
            value_dim: a.value_dim,
            ..attention::Spec::causal(step.sequences(), step.each(), step.keys, a.heads, a.kv_heads, a.dim)
        };
        let mut operands = vec![queries, Operand::new(k_pool), Operand::new(v_pool), w.tables(0, windowed)];
        operands.extend(spec.lengths.then(|| w.lengths(step)));
        operands.extend(self.sinks.iter().map(Operand::new));
        operands.extend(self.alibi.iter().map(Operand::new));
        operands.push(Operand::new(&w.mixed));
        to(spec.into(), &operands)?;
        let (dim, behind) = (a.outputs(), u64::from(a.q_width() + a.k_width() + a.v_width()) * 4);
        if a.gated {
            let gate = activation::Spec::new(tokens, dim, activation::Kind::Sigmoid);
            let spec = activation::Spec { scales: true, stride, ..gate };
            to(spec.into(), &[Operand::at(&w.qkv, behind), Operand::new(&w.mixed)])?;
        }
        let gates = a.head_gates.then_some(behind);
        if gates.is_some() || a.output_scale != 1.0 {
            let kind = gate::Kind::Sigmoid;
            let by = gates.map(|_| gate::Gate { kind, of_heads: true, factor: 1.0, stride });
            let plain = gate::Spec::new(tokens, a.heads, a.value_dim, kind);
            let spec = gate::Spec { in_place: true, scale: a.output_scale, gate: by, ..plain };
            let gates = gates.map(|at| Operand::at(&w.qkv, at));
            to(spec.into(), &std::iter::once(Operand::new(&w.mixed)).chain(gates).collect::<Vec<_>>())?;
        }
        match &self.output_norm {
            Some(norm) => norm.in_place(to, Operand::new(&w.mixed), [tokens, 1, dim], dim),
            None => Ok(()),
        }
    }

    /// Records what turns a step's product into queries, in `w.qkv`, and keys and values, in `pool`.
    fn heads(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        pool: &Pool<B>,
        step: &Step<'_>,
        layer: usize,
    ) -> Result<()> {
        let a = &self.config;
        let (tokens, stride) = (step.tokens, a.width());
        let (q, k) = (u64::from(a.q_width()) * 4, u64::from(a.k_width()) * 4);
        if !a.clip_normed {
            self.clip(to, w, tokens)?;
        }
        if !a.norm_rotated {
            self.norm_heads(to, w, tokens)?;
        }
        if a.clip_normed {
            self.clip(to, w, tokens)?;
        }
        let Some((k_pool, v_pool)) = pool.layer(layer) else { unreachable!("a layer of attention has keys") };
        let windowed = pool.windowed(layer);
        let layout = pool.layout(w.table_width, windowed);
        let (slots, k_to, v_to) = (w.slots(tokens, windowed), Operand::new(k_pool), Operand::new(v_pool));
        let rope = a.rope.as_ref().zip(w.rope(layer));
        let between = a.value_dim != a.dim || a.temperature.is_some() || a.norm_rotated && self.head_norms.is_some();
        if let (Some((rope, table)), DType::F32, false) = (rope, pool.format(), between) {
            let spec = rope_append::Spec {
                tokens,
                heads: a.heads,
                kv_heads: a.kv_heads,
                dim: a.dim,
                rotary: rope.frequencies.rotary,
                pairing: rope.pairing,
                positions: w.context,
                pool: layout.pages * layout.page,
                stride,
            };
            to(spec.into(), &[w.positions(), Operand::new(table), slots, Operand::new(&w.qkv), k_to, v_to])?;
        } else {
            if let Some((rope, table)) = rope {
                let mut rotate = |heads, at, table| {
                    let spec = rope::Spec {
                        tokens,
                        heads,
                        dim: a.dim,
                        rotary: rope.frequencies.rotary,
                        pairing: rope.pairing,
                        positions: w.context,
                        stride,
                    };
                    to(spec.into(), &[w.positions(), Operand::new(table), Operand::at(&w.qkv, at)])
                };
                match w.query_rope(layer) {
                    Some(warmed) => {
                        rotate(a.heads, 0, warmed)?;
                        rotate(a.kv_heads, q, table)?;
                    }
                    None => rotate(a.heads + a.kv_heads, 0, table)?,
                }
            }
            if a.norm_rotated {
                self.norm_heads(to, w, tokens)?;
            }
            let append = append::Spec {
                tokens,
                pool: layout.pages * layout.page,
                k_width: a.k_width(),
                v_width: a.v_width(),
                k_stride: stride,
                v_stride: stride,
                format: pool.format(),
                tail: None,
            };
            let (k, v) = (Operand::at(&w.qkv, q), Operand::at(&w.qkv, q + k));
            to(append.into(), &[slots, k, v, k_to, v_to])?;
        }
        Ok(())
    }

    /// Records the bound of queries, keys and values, in place.
    fn clip(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        let Some(bound) = self.config.clip else { return Ok(()) };
        let clip = activation::Spec::new(tokens, self.config.width(), activation::Kind::Clip);
        let spec = activation::Spec { in_place: true, bound, ..clip };
        to(spec.into(), &[Operand::new(&w.qkv)])
    }

    /// Records the norms of queries and keys, in place.
    fn norm_heads(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        let a = &self.config;
        let Some((query, key)) = &self.head_norms else { return Ok(()) };
        for (norm, heads, at) in [(query, a.heads, 0), (key, a.kv_heads, u64::from(a.heads * a.dim) * 4)] {
            let shape = match a.norm_over {
                NormOver::All => [tokens, 1, heads * a.dim],
                NormOver::Head | NormOver::OwnHead => [tokens, heads, a.dim],
            };
            norm.in_place(to, Operand::at(&w.qkv, at), shape, a.width())?;
        }
        Ok(())
    }
}
