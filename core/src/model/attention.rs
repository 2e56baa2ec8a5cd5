//! Layers of attention: a product, norms of heads, rotation, an append to the cache, and attention over its pages.

use super::latent::Latent;
use super::matrix::{Adapter, Input, Matrix, Then};
use super::norm::Norm;
use super::record::Record;
use super::recursion;
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
    /// The norms of the query heads and of the layer's own key heads.
    pub(super) head_norms: Option<(Norm<B>, Option<Norm<B>>)>,
    pub(super) value_norm: Option<Norm<B>>,
    /// The logit of each head's sink.
    pub(super) sinks: Option<B::Buffer>,
    /// The slope of each head's scores.
    pub(super) alibi: Option<B::Buffer>,
    /// The norm of the output product's input.
    pub(super) output_norm: Option<Norm<B>>,
    pub(super) output: Matrix<B>,
    /// The adapter whose outputs are added to queries, keys and values.
    pub(super) adapter: Option<Adapter<B>>,
}

impl<B: Backend> Attention<B> {
    /// The same memory under second handles, without an adapter or a latent.
    pub(super) fn again(&self) -> Self {
        let norms = |(query, key): &(Norm<B>, Option<Norm<B>>)| (query.again(), key.as_ref().map(Norm::again));
        Self {
            config: self.config.clone(),
            input: self.input.share(self.input.bias.clone()),
            latent: None,
            head_norms: self.head_norms.as_ref().map(norms),
            value_norm: self.value_norm.as_ref().map(Norm::again),
            sinks: self.sinks.clone(),
            alibi: self.alibi.clone(),
            output_norm: self.output_norm.as_ref().map(Norm::again),
            output: self.output.share(self.output.bias.clone()),
            adapter: None,
        }
    }

    /// The same memory under second handles for a layer with these settings, which may have no keys and values of its own.
    pub(super) fn reading(&self, config: &config::Attention) -> Self {
        let mut same = self.again();
        same.config = config.clone();
        if config.shared.is_some() {
            same.input = self.input.beginning(config.q_width());
            same.head_norms = same.head_norms.map(|(query, _)| (query, None));
        }
        same
    }

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
        let (tokens, x) = (step.tokens, input.x);
        self.input.adapted(to, w, tokens, input.again(), Then::default(), &w.qkv)?;
        if let Some(adapter) = &self.adapter {
            adapter.add(to, w, (x, tokens), &w.qkv)?;
        }
        let (kv_heads, [dim, _]) = a.cached();
        let (queries, stride, out) = match &self.latent {
            Some(latent) => {
                latent.record(to, w, pool, step, (layer, a), input)?;
                (&w.expanded[2], a.heads * dim, &w.expanded[1])
            }
            None => {
                self.heads(to, w, pool, step, layer)?;
                if a.marked {
                    self.seeing_marks(to, w, tokens)?;
                    (&w.expanded[2], a.heads * dim, &w.mixed)
                } else {
                    (&w.qkv, a.width(), &w.mixed)
                }
            }
        };
        let keys = a.shared.map_or(layer, |shared| shared as usize);
        let Some((k_pool, v_pool)) = pool.layer(keys) else { unreachable!("a layer of attention has keys") };
        let windowed = pool.windowed(keys);
        let layout = pool.layout(w.table_width, windowed);
        let spec = attention::Spec::causal(step.sequences(), step.each(), step.keys, a.heads, kv_heads, dim)
            .with_scale(a.scale)
            .with_causal(a.causal)
            .with_window(a.window)
            .with_ahead(a.window.filter(|_| !a.causal).map(|sees| sees - 1))
            .with_softcap(a.softcap)
            .with_sinks(self.sinks.is_some())
            .with_alibi(self.alibi.is_some())
            .with_bias(w.biases.as_ref().map(|_| attention::Bias { batch: false, heads: true }))
            .with_lengths(step.sequences() > 1)
            .with_paged(Some(layout))
            .with_kv(pool.format())
            .with_q_stride(stride)
            .with_value_dim(a.summed())
            .with_prefix(self.latent.is_some());
        let mut operands = vec![Operand::new(queries), Operand::new(k_pool)];
        operands.extend((!spec.prefix).then(|| Operand::new(v_pool)));
        operands.push(w.tables(0, windowed));
        operands.extend(spec.lengths.then(|| w.lengths(step)));
        operands.extend(self.sinks.iter().map(Operand::new));
        operands.extend(self.alibi.iter().map(Operand::new));
        operands.extend(w.biases.iter().map(|biases| Operand::new(&biases.buffer)));
        operands.push(Operand::new(out));
        to(spec.into(), &operands)?;
        if let Some(latent) = &self.latent {
            latent.outputs(to, w, tokens, a.heads)?;
        }
        let (dim, behind) = (a.outputs(), u64::from(a.q_width() + a.own_width()) * 4);
        if a.gated {
            let gate = activation::Spec::new(tokens, dim, activation::Kind::Sigmoid);
            let spec = gate.with_scales(true).with_stride(stride);
            to(spec.into(), &[Operand::at(&w.qkv, behind), Operand::new(&w.mixed)])?;
        }
        let gates = a.head_gates.then_some(behind);
        if gates.is_some() || a.output_scale != 1.0 {
            let kind = gate::Kind::Sigmoid;
            let by = gates.map(|_| gate::Gate { kind, of_heads: true, factor: 1.0, stride });
            let plain = gate::Spec::new(tokens, a.heads, a.value_dim, kind);
            let spec = plain.with_in_place(true).with_scale(a.output_scale).with_gate(by);
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
        let q = u64::from(a.q_width()) * 4;
        if !a.clip_normed {
            self.clip(to, w, tokens)?;
        }
        let (v, v_stride) = self.values(to, w, tokens)?;
        if !a.norm_rotated {
            self.norm_heads(to, w, tokens)?;
        }
        if a.clip_normed {
            self.clip(to, w, tokens)?;
        }
        let keys = a.shared.map_or(layer, |shared| shared as usize);
        let Some((k_pool, v_pool)) = pool.layer(keys) else { unreachable!("a layer of attention has keys") };
        let windowed = pool.windowed(keys);
        let layout = pool.layout(w.table_width, windowed);
        let (slots, k_to, v_to) = (w.slots(tokens, windowed), Operand::new(k_pool), Operand::new(v_pool));
        let rope = a.rope.as_ref().zip(w.rope(layer));
        let own = a.shared.is_none();
        let between = a.value_dim != a.dim
            || a.temperature.is_some()
            || a.norm_rotated && self.head_norms.is_some()
            || a.tied_values
            || a.marked
            || !own;
        if let (Some((rope, table)), DType::F32, false) = (rope, pool.format(), between) {
            let spec =
                rope_append::Spec::new(tokens, a.heads, a.kv_heads, a.dim, w.context, layout.pages * layout.page)
                    .with_rotary(rope.frequencies.rotary)
                    .with_pairing(rope.pairing)
                    .with_stride(stride);
            to(spec.into(), &[w.positions(), Operand::new(table), slots, Operand::new(&w.qkv), k_to, v_to])?;
        } else {
            if let Some((rope, table)) = rope {
                let mut rotate = |heads, at, table| {
                    let spec = rope::Spec::new(tokens, heads, a.dim, w.context)
                        .with_rotary(rope.frequencies.rotary)
                        .with_pairing(rope.pairing)
                        .with_stride(stride);
                    to(spec.into(), &[w.positions(), Operand::new(table), Operand::at(&w.qkv, at)])
                };
                match w.query_rope(layer) {
                    Some(warmed) => {
                        rotate(a.heads, 0, warmed)?;
                        if own {
                            rotate(a.kv_heads, q, table)?;
                        }
                    }
                    None => rotate(a.heads + if own { a.kv_heads } else { 0 }, 0, table)?,
                }
            }
            if a.norm_rotated {
                self.norm_heads(to, w, tokens)?;
            }
            let append = append::Spec::new(tokens, layout.pages * layout.page, a.k_width(), a.v_width(), pool.format())
                .with_k_stride(stride)
                .with_v_stride(v_stride);
            let k = Operand::at(&w.qkv, q);
            if a.marked {
                let [marks, _] = recursion::marks(w);
                let append = append.with_tail(Some(tail(a.kv_heads)));
                to(append.into(), &[slots, k, v, Operand::new(marks), k_to, v_to])?;
            } else if own {
                to(append.into(), &[slots, k, v, k_to, v_to])?;
            }
        }
        Ok(())
    }

    /// Records queries that read the marks of keys, in `w.expanded[2]`.
    fn seeing_marks(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        let a = &self.config;
        let ([_, ones], [_, rows]) = (recursion::marks(w), w.heads(a.heads));
        let join = append::Spec::new(tokens, tokens, a.q_width(), 0, DType::F32)
            .with_k_stride(a.width())
            .with_tail(Some(tail(a.heads)));
        to(join.into(), &[rows, Operand::new(&w.qkv), Operand::new(ones), Operand::new(&w.expanded[2])])
    }

    /// Records the bound of queries, keys and values, in place.
    fn clip(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        let Some(bound) = self.config.clip else { return Ok(()) };
        let clip = activation::Spec::new(tokens, self.config.width(), activation::Kind::Clip);
        let spec = clip.with_in_place(true).with_bound(bound);
        to(spec.into(), &[Operand::new(&w.qkv)])
    }

    /// Records the norm of values, and returns where they lie and how far apart: in place, or where the keys' product gives
    /// them in `w.mixed`, which attention writes later.
    fn values<'a>(&self, to: &mut Record<'_, B>, w: &'a Workspace<B>, tokens: u32) -> Result<(Operand<'a, B>, u32)> {
        let (a, stride) = (&self.config, self.config.width());
        let keys = u64::from(a.heads * a.dim) * 4;
        let at = keys + u64::from(if a.tied_values { 0 } else { a.k_width() }) * 4;
        let plain = Operand::at(&w.qkv, at);
        let Some(norm) = self.value_norm.as_ref().filter(|_| a.shared.is_none()) else { return Ok((plain, stride)) };
        if !a.tied_values {
            norm.in_place(to, Operand::at(&w.qkv, at), [tokens, a.kv_heads, a.value_dim], stride)?;
            return Ok((plain, stride));
        }
        let spec = norm.spec(tokens, a.kv_heads, a.dim).with_stride(stride);
        to(spec.into(), &norm.operands_into(plain, &w.mixed))?;
        Ok((Operand::new(&w.mixed), a.v_width()))
    }

    /// Records the norms of queries and own keys, in place.
    fn norm_heads(&self, to: &mut Record<'_, B>, w: &Workspace<B>, tokens: u32) -> Result<()> {
        let a = &self.config;
        let Some((query, key)) = &self.head_norms else { return Ok(()) };
        let key = key.as_ref().map(|key| (key, a.kv_heads, u64::from(a.heads * a.dim) * 4));
        for (norm, heads, at) in std::iter::once((query, a.heads, 0)).chain(key) {
            let shape = match a.norm_over {
                NormOver::All => [tokens, 1, heads * a.dim],
                NormOver::Head | NormOver::OwnHead => [tokens, heads, a.dim],
            };
            norm.in_place(to, Operand::at(&w.qkv, at), shape, a.width())?;
        }
        Ok(())
    }
}

/// A mark behind each of so many heads, the same for all heads of a token.
fn tail(heads: u32) -> append::Tail {
    let width = config::Attention::MARK;
    append::Tail { heads, width, stride: width }
}
