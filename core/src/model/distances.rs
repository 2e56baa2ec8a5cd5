//! Biases of scores by the distance of a key, in an encoder whose layers share them.

use crate::backend::Backend;
use crate::config::Config;
use crate::error::Result;
use std::sync::atomic::{AtomicU32, Ordering};

/// Rows of the table: half of them for keys in front of a query, half for those behind it.
pub(crate) const BUCKETS: u32 = 32;

/// The distances from which on the last eight buckets of a side begin: the steps of the logarithm from 8 to 128. Each
/// distance before them has a bucket of its own.
const STEPS: [u32; 8] = [8, 12, 16, 23, 32, 46, 64, 91];

/// The bucket of a key `after` tokens after its query, or before it if `after` is negative.
fn bucket(after: i64) -> u32 {
    let far = after.unsigned_abs();
    let steps = STEPS.iter().filter(|step| u64::from(**step) <= far).count() as u32;
    far.min(7) as u32 + steps + if after > 0 { BUCKETS / 2 } else { 0 }
}

/// The table, `[buckets, heads]`.
pub(crate) struct Distances {
    pub(super) table: Vec<f32>,
    pub(super) heads: u32,
}

/// The biases of the text that was read last, and how many tokens it has.
pub(crate) struct Biases<B: Backend> {
    pub(super) buffer: B::Buffer,
    pub(super) tokens: AtomicU32,
}

impl<B: Backend> Biases<B> {
    /// Memory for the longest text, if the model has such biases.
    pub(super) fn new(
        config: &Config,
        rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>,
        batch: u32,
    ) -> Result<Option<Self>> {
        let heads = config.layers.iter().find_map(|layer| layer.mixer.attention()).map(|a| a.heads);
        let Some(heads) = heads.filter(|_| config.distance_bias) else { return Ok(None) };
        let buffer = rows("biases", batch, batch.saturating_mul(heads))?;
        Ok(Some(Self { buffer, tokens: AtomicU32::new(0) }))
    }
}

impl Distances {
    /// Uploads the biases of a text of `tokens`, `[heads, tokens, tokens]`, unless the last text was as long.
    pub(crate) fn upload<B: Backend>(&self, backend: &B, biases: &Biases<B>, tokens: u32) -> Result<()> {
        if biases.tokens.load(Ordering::Relaxed) == tokens {
            return Ok(());
        }
        let (heads, count) = (self.heads as usize, tokens as usize);
        let last = i64::from(tokens) - 1;
        let mut all = Vec::with_capacity(heads * count * count);
        for head in 0..heads {
            let line: Vec<f32> =
                (-last..=last).map(|after| self.table[bucket(after) as usize * heads + head]).collect();
            // The row of a query is the part of the line around it: the last query's begins the line.
            (0..count).rev().for_each(|first| all.extend_from_slice(&line[first..first + count]));
        }
        backend.upload(&biases.buffer, 0, bytemuck::cast_slice(&all))?;
        biases.tokens.store(tokens, Ordering::Relaxed);
        Ok(())
    }
}
