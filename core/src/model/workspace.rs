//! The buffers that a step works in, made once for a session.

use super::config::{Config, Mixer};
use crate::backend::{Backend, Operand};
use crate::cache::PAGE;
use crate::error::{Error, Result};

/// Tokens of one step, and the keys that its last token sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    pub(super) tokens: u32,
    pub(super) keys: u32,
}

/// Memory for steps of at most `batch` tokens in a context of `context`.
pub(super) struct Workspace<B: Backend> {
    pub(super) batch: u32,
    pub(super) context: u32,
    pub(super) table_width: u32,
    /// `[batch]`, and where the sampled token is left: `ids[0]`.
    pub(super) ids: B::Buffer,
    /// Positions `[batch]`, slots `[batch]` and the page table, each at a multiple of 256 bytes.
    pub(super) indices: B::Buffer,
    /// Residual stream `[batch, dim]`.
    pub(super) x: B::Buffer,
    /// What is added to it next.
    pub(super) branch: B::Buffer,
    pub(super) normed: B::Buffer,
    pub(super) qkv: B::Buffer,
    /// What attention gives, `[batch, H D]`.
    pub(super) mixed: B::Buffer,
    pub(super) inner: B::Buffer,
    pub(super) activated: B::Buffer,
    /// `[rows, vocab]` of the rows that are asked for.
    pub(super) logits: B::Buffer,
    /// Rope tables, and which one each layer uses.
    tables: Vec<B::Buffer>,
    table_of: Vec<Option<usize>>,
}

/// Indices of a step take this many words each, so that every kind begins at the alignment of any device.
fn padded(batch: u32) -> u64 {
    u64::from(batch.next_multiple_of(64)) * 4
}

impl<B: Backend> Workspace<B> {
    pub(super) fn new(backend: &B, config: &Config, batch: u32, context: u32, logit_rows: u32) -> Result<Self> {
        let wide = |f: fn(&super::config::Layer) -> u32| config.layers.iter().map(f).max().unwrap_or(0);
        let width = wide(|l| match &l.mixer {
            Mixer::Attention(a) => a.width(),
        });
        let mixed = wide(|l| match &l.mixer {
            Mixer::Attention(a) => a.heads * a.dim,
        });
        let inner = wide(|l| l.mlp.inner);
        let rows = |label, rows: u32, width: u32| {
            let bytes = u64::from(rows).checked_mul(u64::from(width) * 4);
            backend.alloc(label, bytes.ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })?)
        };
        let table_width = context.div_ceil(PAGE);
        let (mut tables, mut table_of, mut known) = (Vec::new(), Vec::new(), Vec::new());
        for layer in &config.layers {
            let Mixer::Attention(attention) = &layer.mixer;
            let Some(rope) = attention.rope else {
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
            indices: backend.alloc("indices", 2 * padded(batch) + u64::from(table_width) * 4)?,
            x: rows("x", batch, config.dim)?,
            branch: rows("branch", batch, config.dim)?,
            normed: rows("normed", batch, config.dim)?,
            qkv: rows("qkv", batch, width)?,
            mixed: rows("mixed", batch, mixed)?,
            inner: rows("inner", batch, 2 * inner)?,
            activated: rows("activated", batch, inner)?,
            logits: rows("logits", logit_rows, config.vocab)?,
            tables,
            table_of,
        })
    }

    pub(super) fn positions(&self) -> Operand<'_, B> {
        Operand::new(&self.indices)
    }

    pub(super) fn slots(&self) -> Operand<'_, B> {
        Operand::at(&self.indices, padded(self.batch))
    }

    pub(super) fn table(&self) -> Operand<'_, B> {
        Operand::at(&self.indices, 2 * padded(self.batch))
    }

    /// The rope table of a layer.
    pub(super) fn rope(&self, layer: usize) -> Option<&B::Buffer> {
        self.table_of[layer].map(|index| &self.tables[index])
    }

    /// Uploads what a step needs to know: where its tokens stand, and where they go.
    pub(super) fn indices(&self, backend: &B, positions: &[u32], slots: &[u32], table: &[u32]) -> Result<()> {
        let mut words = vec![0u32; (2 * padded(self.batch) / 4) as usize];
        words[..positions.len()].copy_from_slice(positions);
        words[(padded(self.batch) / 4) as usize..][..slots.len()].copy_from_slice(slots);
        words.extend(table);
        backend.upload(&self.indices, 0, bytemuck::cast_slice(&words))
    }
}
