//! The buffers that a step works in, made once for a session.

use super::config::{Config, Delta, Mixer, Routing};
use crate::backend::{Backend, Operand};
use crate::cache::PAGE;
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tokens of one step, and the keys that its last token sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    pub(super) tokens: u32,
    pub(super) keys: u32,
    /// The residual stream is in the workspace already, but for learned positions.
    pub(super) embedded: bool,
    /// Of the sequence's states, where there are any.
    pub(super) slot: u32,
}

/// Waits for a turn. Nothing lies behind the lock that a panic could leave half changed.
pub(super) fn take(turn: &Mutex<()>) -> MutexGuard<'_, ()> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory for steps of at most `batch` tokens in a context of `context`.
pub(super) struct Workspace<B: Backend> {
    pub(super) batch: u32,
    pub(super) context: u32,
    pub(super) table_width: u32,
    /// `[batch]`, and where the sampled token is left: `ids[0]`.
    pub(super) ids: B::Buffer,
    /// Positions and slots of a step's tokens, the slot of the sequence's states and the tokens that these have read, one
    /// behind the other, and the page table behind room for a batch of them.
    indices: B::Buffer,
    /// What the device knows of the page table.
    table: Vec<u32>,
    /// Residual stream `[batch, dim]`.
    pub(super) x: B::Buffer,
    /// What is added to it next.
    pub(super) branch: B::Buffer,
    pub(super) normed: B::Buffer,
    /// What a mixer's product gives: queries, keys, values and what else it needs.
    pub(super) qkv: B::Buffer,
    /// Queries, keys and values of the delta rule behind their convolution, its strengths of writing and its decays.
    pub(super) convolved: B::Buffer,
    pub(super) beta: B::Buffer,
    pub(super) decay: B::Buffer,
    /// What a mixer gives, `[batch, H D]`, of heads of two kinds one behind the other.
    pub(super) mixed: B::Buffer,
    pub(super) routed: Option<Arc<Routed<B>>>,
    pub(super) inner: B::Buffer,
    pub(super) activated: B::Buffer,
    /// `[rows, vocab]` of the rows that are asked for.
    pub(super) logits: B::Buffer,
    /// Rope tables, and which one each layer uses.
    tables: Vec<B::Buffer>,
    table_of: Vec<Option<usize>>,
    /// Held while a step is recorded, by the sessions that share the buffers above.
    turn: Arc<Mutex<()>>,
}

/// What routing heads work in besides.
pub(super) struct Routed<B: Backend> {
    /// Queries, which are the keys, `[batch, H D]`.
    pub(super) x: B::Buffer,
    /// What [`route_step`](foveate_kernels::route_step) writes for the attention that follows: members and ranges of
    /// queries and of keys, and the positions that keys leave at.
    pub(super) lists: [B::Buffer; 5],
    /// The numbers of the rows of a batch, `[batch]`.
    pub(super) order: B::Buffer,
}

impl<B: Backend> Routed<B> {
    /// For the largest of the layers that route.
    fn new(
        backend: &B,
        config: &Config,
        rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>,
        batch: u32,
    ) -> Result<Self> {
        let most = |size: &dyn Fn(&Routing) -> u64| {
            let of = config.layers.iter().filter_map(|l| match &l.mixer {
                Mixer::Routing(r) => Some(size(r)),
                _ => None,
            });
            u32::try_from(of.max().unwrap_or(1)).map_err(|_| Error::OutOfMemory { needs: u64::MAX, has: 0 })
        };
        let lists = |r: &Routing| u64::from(r.heads) * u64::from(r.clusters);
        let (members, ranges) = (most(&|r| lists(r) * u64::from(batch))?, most(&|r| 2 * lists(r))?);
        let key_members = most(&|r| lists(r).saturating_mul(u64::from(r.window) + u64::from(batch)))?;
        let words = [members, ranges, key_members, ranges, key_members].map(|words| rows("lists", words, 1));
        let [a, b, c, d, e] = words;
        let order = rows("order", batch, 1)?;
        backend.upload(&order, 0, bytemuck::cast_slice(&(0..batch).collect::<Vec<u32>>()))?;
        Ok(Self { x: rows("routed", batch, most(&|r| r.width().into())?)?, lists: [a?, b?, c?, d?, e?], order })
    }
}

/// Where the page table begins in the indices of steps, in bytes: at the alignment of any device.
fn table_offset(batch: u32) -> u64 {
    (u64::from(batch) * 8 + 8).next_multiple_of(256)
}

impl<B: Backend> Workspace<B> {
    pub(super) fn new(backend: &B, config: &Config, batch: u32, context: u32, logit_rows: u32) -> Result<Self> {
        let wide = |f: fn(&super::config::Layer) -> u32| config.layers.iter().map(f).max().unwrap_or(0);
        let width = wide(|l| match &l.mixer {
            Mixer::Attention(a) => a.width(),
            Mixer::Delta(d) => d.width(),
            Mixer::Routing(r) => r.local.as_ref().map_or(0, |a| a.width()).max(2 * r.width()),
        });
        let mixed = wide(|l| match &l.mixer {
            Mixer::Attention(a) => a.heads * a.dim,
            Mixer::Delta(d) => d.values(),
            // What stands behind begins at a whole vector.
            Mixer::Routing(r) => r.local.as_ref().map_or(0, |a| a.heads * a.dim) + r.width() + 4,
        });
        let routes = config.layers.iter().any(|l| matches!(l.mixer, Mixer::Routing(_)));
        let delta = |f: fn(&Delta) -> u32| {
            let of =
                config.layers.iter().filter_map(|l| if let Mixer::Delta(d) = &l.mixer { Some(f(d)) } else { None });
            of.max().unwrap_or(1)
        };
        let inner = wide(|l| l.mlp.inner);
        let rows = |label, rows: u32, width: u32| {
            let bytes = u64::from(rows).checked_mul(u64::from(width) * 4);
            backend.alloc(label, bytes.ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })?)
        };
        let table_width = context.div_ceil(PAGE);
        let (mut tables, mut table_of, mut known) = (Vec::new(), Vec::new(), Vec::new());
        for layer in &config.layers {
            let Some(rope) = layer.mixer.attention().and_then(|a| a.rope) else {
                table_of.push(None);
                continue;
            };
            let index = known.iter().position(|f| *f == rope.frequencies).unwrap_or(known.len());
            if index == known.len() {
                let table = rows("rope", context, rope.frequencies.rotary)?;
                backend.upload(&table, 0, bytemuck::cast_slice(&rope.frequencies.table(context)))?;
                tables.push(table);
                known.push(rope.frequencies);
            }
            table_of.push(Some(index));
        }
        Ok(Self {
            batch,
            context,
            table_width,
            ids: rows("ids", batch, 1)?,
            indices: backend.alloc("indices", table_offset(batch) + u64::from(table_width) * 4)?,
            table: Vec::new(),
            x: rows("x", batch, config.dim)?,
            branch: rows("branch", batch, config.dim)?,
            normed: rows("normed", batch, config.dim)?,
            qkv: rows("qkv", batch, width)?,
            convolved: rows("convolved", batch, delta(Delta::channels))?,
            beta: rows("beta", batch, delta(|d| d.value_heads))?,
            decay: rows("decay", batch, delta(|d| d.value_heads))?,
            mixed: rows("mixed", batch, mixed)?,
            routed: if routes { Some(Arc::new(Routed::new(backend, config, rows, batch)?)) } else { None },
            inner: rows("inner", batch, 2 * inner)?,
            activated: rows("activated", batch, inner)?,
            logits: rows("logits", logit_rows, config.vocab)?,
            tables,
            table_of,
            turn: Arc::default(),
        })
    }

    /// A second workspace: what a step leaves for the next one is its own, all else is shared.
    pub(super) fn fork(&self, backend: &B) -> Result<Self> {
        let batch = u64::from(self.batch);
        Ok(Self {
            ids: backend.alloc("ids", batch * 4)?,
            indices: backend.alloc("indices", table_offset(self.batch) + u64::from(self.table_width) * 4)?,
            table: Vec::new(),
            batch: self.batch,
            context: self.context,
            table_width: self.table_width,
            x: self.x.clone(),
            branch: self.branch.clone(),
            normed: self.normed.clone(),
            qkv: self.qkv.clone(),
            convolved: self.convolved.clone(),
            beta: self.beta.clone(),
            decay: self.decay.clone(),
            mixed: self.mixed.clone(),
            routed: self.routed.clone(),
            inner: self.inner.clone(),
            activated: self.activated.clone(),
            logits: self.logits.clone(),
            tables: self.tables.clone(),
            table_of: self.table_of.clone(),
            turn: self.turn.clone(),
        })
    }

    /// What is held while steps are recorded, so that no session that shares the buffers does meanwhile.
    pub(super) fn turn(&self) -> Arc<Mutex<()>> {
        self.turn.clone()
    }

    pub(super) fn positions(&self) -> Operand<'_, B> {
        Operand::new(&self.indices)
    }

    /// The slots of a step's `tokens`.
    pub(super) fn slots(&self, tokens: u32) -> Operand<'_, B> {
        Operand::at(&self.indices, u64::from(tokens) * 4)
    }

    /// The slot of the sequence's states, in a step of `tokens`.
    pub(super) fn state(&self, tokens: u32) -> Operand<'_, B> {
        Operand::at(&self.indices, u64::from(tokens) * 8)
    }

    /// The tokens that the states have read before, in a step of `tokens`.
    pub(super) fn first(&self, tokens: u32) -> Operand<'_, B> {
        Operand::at(&self.indices, u64::from(tokens) * 8 + 4)
    }

    pub(super) fn table(&self) -> Operand<'_, B> {
        Operand::at(&self.indices, table_offset(self.batch))
    }

    /// The rope table of a layer.
    pub(super) fn rope(&self, layer: usize) -> Option<&B::Buffer> {
        self.table_of[layer].map(|index| &self.tables[index])
    }

    /// Uploads what the device does not know yet: where the tokens of a step stand and where they go, the slot of their
    /// sequence's states and the tokens that these have read if it has any, and which pages are new.
    pub(super) fn indices(
        &mut self,
        backend: &B,
        positions: &[u32],
        slots: &[u32],
        state: Option<[u32; 2]>,
        table: &[u32],
    ) -> Result<()> {
        backend.upload(
            &self.indices,
            0,
            bytemuck::cast_slice(&[positions, slots, state.as_slice().as_flattened()].concat()),
        )?;
        let same = self.table.iter().zip(table).take_while(|(old, new)| old == new).count();
        self.table.truncate(same);
        if same < table.len() {
            let offset = table_offset(self.batch) + same as u64 * 4;
            backend.upload(&self.indices, offset, bytemuck::cast_slice(&table[same..]))?;
            self.table.extend(&table[same..]);
        }
        Ok(())
    }
}
