//! Buffers that only some models need: vectors for each layer, several streams, steps of a recursion, products of a low
//! rank, blocks in front of scans, time mixes, and the numbers of heads with latents.

use crate::backend::Backend;
use crate::config::{Attention, Config, TimeMix};
use crate::error::{Error, Result};

/// Memory for the vectors of a step.
pub(crate) struct Buffers<B: Backend> {
    /// The rows of the table, `[batch]`.
    pub(crate) rows: B::Buffer,
    /// `[batch, layers, dim]`
    pub(crate) vectors: B::Buffer,
    /// The product of a layer's gate with its vectors, `[batch, dim]`.
    pub(crate) gates: B::Buffer,
}

impl<B: Backend> Buffers<B> {
    /// For a model that has such vectors.
    pub(crate) fn new(
        config: &Config,
        rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>,
        batch: u32,
    ) -> Result<Option<Self>> {
        let Some(of) = &config.per_layer else { return Ok(None) };
        let wide = (config.layers.len() as u32).checked_mul(of.dim);
        let wide = wide.ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })?;
        let vectors = rows("vectors", batch, wide)?;
        Ok(Some(Self { rows: rows("rows", batch, 1)?, vectors, gates: rows("gates", batch, of.dim)? }))
    }
}

/// Memory for several residual streams, `n`.
pub(crate) struct StreamBuffers<B: Backend> {
    /// The streams, and their predictions, `[batch, n, dim]`.
    pub(crate) streams: B::Buffer,
    pub(crate) predicted: B::Buffer,
    /// The numbers of a token that give its coefficients, `[batch, n]`, and those, `[batch, n, n]`.
    pub(crate) routed: B::Buffer,
    pub(crate) weights: B::Buffer,
    /// The length of a token's rows, for each stream but the first.
    pub(crate) lengths: B::Buffer,
    /// 1 for the first stream and 0 for the others; 0 for the first and 1 for the others: `[batch, n]`.
    pub(crate) first: B::Buffer,
    pub(crate) others: B::Buffer,
    /// 1, `[batch, n - 1]`
    pub(crate) ones: B::Buffer,
}

impl<B: Backend> StreamBuffers<B> {
    /// For a model that has several streams.
    pub(crate) fn new(
        backend: &B,
        config: &Config,
        rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>,
        batch: u32,
    ) -> Result<Option<Self>> {
        let Some(of) = &config.streams else { return Ok(None) };
        let n = of.count;
        let wide = n.checked_mul(config.dim).ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })?;
        let filled = |row: &[f32]| filled(backend, &rows, batch, row);
        let marked = |first: f32, others: f32| {
            let mut row = vec![others; n as usize];
            row[0] = first;
            filled(&row)
        };
        Ok(Some(Self {
            streams: rows("streams", batch, wide)?,
            predicted: rows("predicted", batch, wide)?,
            routed: rows("routed", batch, n)?,
            weights: rows("weights", batch, n * n)?,
            lengths: rows("lengths", batch, n - 1)?,
            first: marked(1.0, 0.0)?,
            others: marked(0.0, 1.0)?,
            ones: filled(&vec![1.0; n as usize - 1])?,
        }))
    }
}

/// Memory for the steps of layers that run several times, of rows for each token.
pub(crate) struct RecursionBuffers<B: Backend> {
    /// The residual stream in front of a step, then behind it, `[batch, dim]`.
    pub(crate) stream: B::Buffer,
    /// The router's logits, the number of the choice and its score.
    pub(crate) logits: B::Buffer,
    pub(crate) choice: B::Buffer,
    pub(crate) scores: B::Buffer,
    /// 1 for tokens of which a step counts, 0 for others; and by its own router alone.
    pub(crate) counts: B::Buffer,
    pub(crate) now: B::Buffer,
    /// The weight of a step.
    pub(crate) weights: B::Buffer,
    /// The marks of a step's keys, and the elements behind queries that read them (1 and zeros), if keys have marks.
    pub(crate) marks: Option<[B::Buffer; 2]>,
}

impl<B: Backend> RecursionBuffers<B> {
    /// For a model with a recursion.
    pub(crate) fn new(
        backend: &B,
        config: &Config,
        rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>,
        batch: u32,
    ) -> Result<Option<Self>> {
        let Some(of) = config.recursion else { return Ok(None) };
        let number = || rows("steps", batch, 1);
        let mut reads = [0.0; Attention::MARK as usize];
        reads[0] = 1.0;
        let marks = || Ok::<_, Error>([rows("marks", batch, Attention::MARK)?, filled(backend, &rows, batch, &reads)?]);
        Ok(Some(Self {
            stream: rows("stream", batch, config.dim)?,
            logits: rows("router", batch, of.choice(1).experts)?,
            choice: number()?,
            scores: number()?,
            counts: number()?,
            now: number()?,
            weights: number()?,
            marks: config.has_marks().then(marks).transpose()?,
        }))
    }
}

/// A buffer with the same row for each token of a step.
fn filled<B: Backend>(
    backend: &B,
    rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>,
    batch: u32,
    row: &[f32],
) -> Result<B::Buffer> {
    let buffer = rows("weights", batch, row.len() as u32)?;
    let values = row.repeat(batch as usize);
    backend.upload(&buffer, 0, bytemuck::cast_slice(&values)).map(|()| buffer)
}

/// Memory for what is between the products of a low rank, and for what they give.
pub(crate) fn low_rank<B: Backend>(
    config: &Config,
    rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>,
    batch: u32,
) -> Result<Option<[B::Buffer; 2]>> {
    let most = config.layers.iter().filter_map(|layer| layer.low_rank).map(|of| of.rank).max();
    let buffers = |rank| Ok([rows("rank", batch, rank)?, rows("low rank", batch, config.dim)?]);
    most.map(buffers).transpose()
}

/// Memory for gates that are cut off: copies of them, and their deviations.
pub(crate) fn cutoff<B: Backend>(
    config: &Config,
    rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>,
    batch: u32,
) -> Result<Option<[B::Buffer; 2]>> {
    let cut = config.layers.iter().filter_map(|layer| layer.mlp.shared()).filter(|mlp| mlp.cutoff.is_some());
    let buffers = |inner| Ok([rows("gates", batch, inner)?, rows("deviations", batch, 1)?]);
    cut.map(|mlp| mlp.inner).max().map(buffers).transpose()
}

/// Memory for blocks in front of scans.
pub(crate) struct BlockBuffers<B: Backend> {
    /// The embeddings of a step's tokens, `[batch, dim]`.
    pub(crate) embedding: B::Buffer,
    /// The stream, and the embedding behind it, `[batch, 2, dim]`.
    pub(crate) pair: B::Buffer,
    /// 1 and 0; 0 and 1: `[batch, 2]`.
    pub(crate) first: B::Buffer,
    pub(crate) second: B::Buffer,
}

impl<B: Backend> BlockBuffers<B> {
    /// For a model that has blocks.
    pub(crate) fn new(
        backend: &B,
        config: &Config,
        rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>,
        batch: u32,
    ) -> Result<Option<Self>> {
        if config.layers.iter().all(|layer| layer.mixer.block().is_none()) {
            return Ok(None);
        }
        let filled = |row: [f32; 2]| filled(backend, &rows, batch, &row);
        let embedding = rows("embedding", batch, config.dim)?;
        let pair = rows("pair", batch, 2 * config.dim)?;
        Ok(Some(Self { embedding, pair, first: filled([1.0, 0.0])?, second: filled([0.0, 1.0])? }))
    }
}

/// Memory for what is between the products of adapters, and for what they give.
pub(crate) fn adapters<B: Backend>(
    config: &Config,
    rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>,
    batch: u32,
) -> Result<Option<[B::Buffer; 2]>> {
    let blocks = || config.layers.iter().filter_map(|layer| layer.mixer.block());
    let ranks = blocks().map(|block| 3 * block.rank).fold(config.adapters[0], u32::max);
    if ranks == 0 {
        return Ok(None);
    }
    let width = blocks().map(|block| block.mlp.width().max(block.attention.width()));
    let width = width.fold(config.adapters[1], u32::max);
    Ok(Some([rows("ranks", batch, ranks)?, rows("adapters", batch, width)?]))
}

/// Memory for the steps of time mixes, of rows for each token.
pub(crate) struct TimeMixBuffers<B: Backend> {
    /// The token before less the token, and the input of a product.
    pub(crate) change: B::Buffer,
    pub(crate) shared: B::Buffer,
    pub(crate) receptance: B::Buffer,
    pub(crate) key: B::Buffer,
    pub(crate) value: B::Buffer,
    /// The values of the first layer.
    pub(crate) first: B::Buffer,
    pub(crate) decay: B::Buffer,
    /// In-context learning rates, in front of their sigmoid.
    pub(crate) rate: B::Buffer,
    /// Unit keys times -1; unit keys times the rates.
    pub(crate) erased: B::Buffer,
    pub(crate) replaced: B::Buffer,
    /// Intermediate results.
    pub(crate) scaled: B::Buffer,
    pub(crate) normed: B::Buffer,
    pub(crate) gate: B::Buffer,
    /// Between two products.
    pub(crate) latent: B::Buffer,
    pub(crate) bonus: B::Buffer,
}

impl<B: Backend> TimeMixBuffers<B> {
    /// For the largest of the layers with a time mix, if there are any.
    pub(crate) fn new(
        config: &Config,
        rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>,
        batch: u32,
    ) -> Result<Option<Self>> {
        let mixes: Vec<&TimeMix> = config.layers.iter().filter_map(|layer| layer.mixer.time_mix()).collect();
        let most = |size: &dyn Fn(&TimeMix) -> u32| mixes.iter().map(|mix| size(mix)).max();
        let (keys, values) = (most(&TimeMix::keys), most(&TimeMix::values));
        let Some((keys, values)) = keys.zip(values) else { return Ok(None) };
        let rank = most(&TimeMix::rank).unwrap_or(1);
        let buffer = |width| rows("time mix", batch, width);
        Ok(Some(Self {
            change: buffer(config.dim)?,
            shared: buffer(config.dim)?,
            receptance: buffer(keys)?,
            key: buffer(keys)?,
            value: buffer(values)?,
            first: buffer(values)?,
            decay: buffer(keys)?,
            rate: buffer(keys)?,
            erased: buffer(keys)?,
            replaced: buffer(keys)?,
            scaled: buffer(keys.max(values))?,
            normed: buffer(values)?,
            gate: buffer(values)?,
            latent: buffer(rank)?,
            bonus: buffer(most(&|mix| mix.heads).unwrap_or(1))?,
        }))
    }
}

/// For each number of heads that layers with latents or with marked keys have, two lists with an entry for each head of each token: the head's
/// number within its token, and its number within the batch.
pub(crate) type Heads<B> = Vec<(u32, [<B as Backend>::Buffer; 2])>;

/// The lists for a batch.
pub(crate) fn heads<B: Backend>(
    backend: &B,
    config: &Config,
    rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>,
    batch: u32,
) -> Result<Heads<B>> {
    let mut all: Heads<B> = Vec::new();
    for a in config.layers.iter().filter_map(|l| l.mixer.attention().filter(|a| a.latent.is_some() || a.marked)) {
        if all.iter().all(|(heads, _)| *heads != a.heads) {
            let list = |within: u32| -> Result<_> {
                let buffer = rows("heads", batch, a.heads)?;
                let numbers: Vec<u32> = (0..batch.saturating_mul(a.heads)).map(|at| at % within).collect();
                backend.upload(&buffer, 0, bytemuck::cast_slice(&numbers))?;
                Ok(buffer)
            };
            all.push((a.heads, [list(a.heads)?, list(u32::MAX)?]));
        }
    }
    Ok(all)
}
