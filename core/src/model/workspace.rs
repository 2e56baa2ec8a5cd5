//! The buffers that a step works in, made once for a session.

use super::distances::Biases;
use super::vectors::{self, BlockBuffers, Buffers, RecursionBuffers, StreamBuffers, TimeMixBuffers};
use crate::backend::{Backend, Operand};
use crate::cache::{PAGE, Pool, Sequence};
use crate::config::{Config, Experts, Mixer, Rope, Routing, Temperature};
use crate::error::{Error, Result};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tokens of one step, as many of each of its sequences, and the keys that the last token of the longest one sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step<'a> {
    pub(crate) tokens: u32,
    pub(crate) keys: u32,
    /// The residual stream is in the workspace already, but for learned positions.
    pub(crate) embedded: bool,
    /// The slot of each sequence's states; empty for models without states.
    pub(crate) slots: &'a [u32],
    /// Layers behind which somebody looks at the residual stream.
    pub(crate) observed: &'a [usize],
}

impl Step<'_> {
    pub(crate) fn sequences(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Tokens of one sequence.
    pub(crate) fn each(&self) -> u32 {
        self.tokens / self.sequences()
    }
}

/// Waits for a turn. Nothing lies behind the lock that a panic could leave half changed.
pub(crate) fn take(turn: &Mutex<()>) -> MutexGuard<'_, ()> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory for steps of at most `batch` tokens in a context of `context`.
pub(crate) struct Workspace<B: Backend> {
    pub(crate) batch: u32,
    pub(crate) context: u32,
    pub(crate) table_width: u32,
    /// True if some layers have a window, whose rows are in pages of their own.
    windowed: bool,
    sequences: u32,
    /// `[batch]`, and where the sampled tokens are left: from `ids[0]` on.
    pub(crate) ids: B::Buffer,
    /// `[batch]`, the types of a step's tokens, where a model has types: zeros, the first one.
    pub(crate) types: B::Buffer,
    /// Index arrays of a step, concatenated: the positions and slots of its tokens (and their slots in layers with a
    /// window), then for each sequence the slot of its states, the number of tokens that the states have read, and the
    /// number of its keys. After room for a whole batch: the page table of each sequence (and of its windows).
    indices: B::Buffer,
    /// The page tables as last uploaded.
    known: Vec<Vec<u32>>,
    /// Residual stream `[batch, dim]`.
    pub(crate) x: B::Buffer,
    /// The output of a branch, to be added to `x`.
    pub(crate) branch: B::Buffer,
    pub(crate) normed: B::Buffer,
    /// The output of a mixer's input product: queries, keys, values, and gates if there are any.
    pub(crate) qkv: B::Buffer,
    /// Outputs of second products, whose inputs lie in `qkv`: queries, or gates of the delta rule's output; their parts as
    /// wide as latents, and what attention gives of latents, or its decays; queries as wide as the cache of latents.
    pub(crate) expanded: [B::Buffer; 3],
    heads: vectors::Heads<B>,
    /// Queries, keys and values of the delta rule behind their convolution, its strengths of writing and its decays.
    pub(crate) convolved: B::Buffer,
    pub(crate) beta: B::Buffer,
    pub(crate) decay: B::Buffer,
    /// The output of a mixer, `[batch, H D]`; that of local heads comes before that of routing heads.
    pub(crate) mixed: B::Buffer,
    pub(crate) routed: Option<Arc<Routed<B>>>,
    pub(crate) mixture: Option<Arc<Mixture<B>>>,
    pub(crate) per_layer: Option<Arc<Buffers<B>>>,
    pub(crate) streams: Option<Arc<StreamBuffers<B>>>,
    pub(crate) recursion: Option<Arc<RecursionBuffers<B>>>,
    /// The low-rank branch beside mixers: the vectors between its products, and its outputs.
    pub(crate) low_rank: Option<[B::Buffer; 2]>,
    pub(crate) blocks: Option<Arc<BlockBuffers<B>>>,
    /// The biases of scores by distance.
    pub(crate) biases: Option<Arc<Biases<B>>>,
    pub(crate) time_mix: Option<Arc<TimeMixBuffers<B>>>,
    /// Adapters: the vectors between their products, and their outputs.
    pub(crate) adapters: Option<[B::Buffer; 2]>,
    /// Copies of gates that are cut off, and their deviations.
    pub(crate) cutoff: Option<[B::Buffer; 2]>,
    pub(crate) inner: B::Buffer,
    pub(crate) activated: B::Buffer,
    /// `[rows, vocab]` of the rows that are asked for.
    pub(crate) logits: B::Buffer,
    /// Rope tables, and which one each layer uses.
    tables: Vec<B::Buffer>,
    table_of: Vec<Option<usize>>,
    /// The rotation table of each layer's queries, if it differs from the keys' table.
    query_table_of: Vec<Option<usize>>,
    /// Tables of queries' parts that are only multiplied by a factor.
    warm_table_of: Vec<Option<usize>>,
    /// The length of the text that the tables are made for, where they depend on it.
    stretched: Arc<AtomicU32>,
    /// Held while a step is recorded, by the sessions that share the buffers above.
    turn: Arc<Mutex<()>>,
}

/// The additional buffers of routing heads.
pub(crate) struct Routed<B: Backend> {
    /// Queries, which are the keys, `[batch, H D]`.
    pub(crate) x: B::Buffer,
    /// The outputs of [`route_step`](foveate_kernels::route_step) that attention reads: members and ranges of queries
    /// and of keys, and the positions at which keys expire.
    pub(crate) lists: [B::Buffer; 5],
}

impl<B: Backend> Routed<B> {
    /// For the largest of the layers that route.
    fn new(config: &Config, rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>, batch: u32) -> Result<Self> {
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
        Ok(Self { x: rows("routed", batch, most(&|r| r.width().into())?)?, lists: [a?, b?, c?, d?, e?] })
    }
}

/// The additional buffers of mixtures of experts.
pub(crate) struct Mixture<B: Backend> {
    /// The router's logits, the chosen experts of each token, and their weights.
    pub(crate) logits: B::Buffer,
    pub(crate) ids: B::Buffer,
    pub(crate) weights: B::Buffer,
    /// The factors of those weights.
    pub(crate) factors: B::Buffer,
    /// Rows for each pair of a token and a chosen expert: gates and values, activations, and outputs.
    pub(crate) inner: B::Buffer,
    pub(crate) activated: B::Buffer,
    pub(crate) outputs: B::Buffer,
    /// The narrowed stream that experts read, then the sum of their outputs.
    pub(crate) latents: B::Buffer,
    /// The outputs of the shared MLP, and their gates.
    pub(crate) shared: B::Buffer,
    pub(crate) gates: B::Buffer,
}

impl<B: Backend> Mixture<B> {
    /// For the largest of the layers with experts, if there are any.
    fn new(
        config: &Config,
        rows: impl Fn(&'static str, u32, u32) -> Result<B::Buffer>,
        batch: u32,
    ) -> Result<Option<Self>> {
        let experts: Vec<&Experts> = config.layers.iter().filter_map(|layer| layer.mlp.experts()).collect();
        if experts.is_empty() {
            return Ok(None);
        }
        let buffer = |label, size: &dyn Fn(&Experts) -> u64| {
            let most = experts.iter().map(|e| size(e)).max().unwrap_or(1);
            rows(label, batch, u32::try_from(most).map_err(|_| Error::OutOfMemory { needs: u64::MAX, has: 0 })?)
        };
        let chosen = |e: &Experts| u64::from(e.choice.chosen);
        let shared = |e: &Experts| if e.shared.is_some() { config.dim.into() } else { 1 };
        Ok(Some(Self {
            logits: buffer("router", &|e| e.choice.experts.into())?,
            ids: buffer("experts", &chosen)?,
            weights: buffer("weights", &chosen)?,
            factors: buffer("factors", &chosen)?,
            inner: buffer("inner", &|e| chosen(e) * u64::from(e.each.width()))?,
            activated: buffer("activated", &|e| chosen(e) * u64::from(e.each.inner))?,
            outputs: buffer("outputs", &|e| chosen(e) * u64::from(e.latent.unwrap_or(config.dim)))?,
            latents: buffer("latents", &|e| e.latent.unwrap_or(1).into())?,
            shared: buffer("shared", &shared)?,
            gates: buffer("gates", &|_| 1)?,
        }))
    }
}

/// Returns the byte offset of the page tables in `indices`, a multiple of every device's alignment.
fn table_offset(batch: u32, sequences: u32) -> u64 {
    (u64::from(batch) * 12 + u64::from(sequences) * 12).next_multiple_of(256)
}

/// Room for the indices of steps of `batch` tokens of `sequences` sequences.
fn indices<B: Backend>(backend: &B, batch: u32, sequences: u32, table_width: u32, windowed: bool) -> Result<B::Buffer> {
    let tables = u64::from(sequences) * u64::from(table_width) * 4 * (1 + u64::from(windowed));
    backend.alloc("indices", table_offset(batch, sequences) + tables)
}

impl<B: Backend> Workspace<B> {
    pub(crate) fn new(backend: &B, config: &Config, batch: u32, context: u32, logit_rows: u32) -> Result<Self> {
        let wide = |f: fn(&crate::config::Layer) -> u32| config.layers.iter().map(f).max().unwrap_or(0);
        let (width, mixed) = (wide(|l| l.mixer.width()), wide(|l| l.mixer.outputs()));
        let routes = config.layers.iter().any(|l| matches!(l.mixer, Mixer::Routing(_)));
        let [convolved, gates, decays] =
            [0, 1, 2].map(|at| config.layers.iter().map(|l| l.mixer.convolved()[at]).fold(1, u32::max));
        let expanded = [0, 1, 2].map(|at| config.layers.iter().map(|l| l.mixer.expanded()[at]).fold(1, u32::max));
        let inner = wide(|l| l.mlp.shared().or(l.mixer.block().map(|block| &block.mlp)).map_or(1, |mlp| mlp.inner));
        let rows = |label, rows: u32, width: u32| {
            let bytes = u64::from(rows).checked_mul(u64::from(width) * 4);
            backend.alloc(label, bytes.ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })?)
        };
        let heads = vectors::heads(backend, config, rows, batch)?;
        // The rotation of the ends of heads spans as many elements as whole heads: past the end of the last token.
        let spanned = batch + u32::from(!heads.is_empty());
        let table_width = context.div_ceil(PAGE);
        let (mut tables, mut table_of, mut query_table_of) = (Vec::new(), Vec::new(), Vec::new());
        let mut warm_table_of = Vec::new();
        let mut known = Vec::new();
        let mut table = |rope: &Rope, temperature: Option<Temperature>| -> Result<usize> {
            let key = (rope.frequencies.clone(), temperature);
            if let Some(index) = known.iter().position(|other| *other == key) {
                return Ok(index);
            }
            let table = rows("rope", context, rope.frequencies.rotary)?;
            let mut values = rope.frequencies.table(context);
            if let Some(temperature) = temperature {
                let rows = values.chunks_mut(rope.frequencies.rotary.max(1) as usize);
                for (position, row) in (0..).zip(rows) {
                    let factor = temperature.factor(position);
                    row.iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
                }
            }
            backend.upload(&table, 0, bytemuck::cast_slice(&values))?;
            tables.push(table);
            known.push(key);
            Ok(known.len() - 1)
        };
        for layer in &config.layers {
            let attention = layer.mixer.attention();
            let rope = attention.and_then(|a| a.rope.as_ref());
            let warm = attention.and_then(|a| a.temperature);
            table_of.push(rope.map(|rope| table(rope, None)).transpose()?);
            query_table_of.push(rope.zip(warm).map(|(rope, warm)| table(rope, Some(warm))).transpose()?);
            let still = attention.and_then(|a| a.latent.map(|latent| Rope::still(a.dim - latent.shared)));
            warm_table_of.push(still.zip(warm).map(|(still, warm)| table(&still, Some(warm))).transpose()?);
        }
        let windowed = Pool::<B>::window_pages(config) > 0;
        Ok(Self {
            batch,
            context,
            table_width,
            windowed,
            sequences: 1,
            ids: rows("ids", batch, 1)?,
            types: rows("types", config.token_types.map_or(1, |_| batch), 1)?,
            indices: indices(backend, batch, 1, table_width, windowed)?,
            known: vec![Vec::new(); 2],
            x: rows("x", batch, config.dim)?,
            branch: rows("branch", batch, config.dim)?,
            normed: rows("normed", batch, config.dim)?,
            qkv: rows("qkv", batch, width)?,
            expanded: [
                rows("queries", spanned, expanded[0])?,
                rows("expanded", batch, expanded[1])?,
                rows("joined", batch, expanded[2])?,
            ],
            heads,
            convolved: rows("convolved", batch, convolved)?,
            beta: rows("beta", batch, gates)?,
            decay: rows("decay", batch, decays)?,
            mixed: rows("mixed", batch, mixed)?,
            routed: if routes { Some(Arc::new(Routed::new(config, rows, batch)?)) } else { None },
            mixture: Mixture::new(config, rows, batch)?.map(Arc::new),
            per_layer: Buffers::new(config, rows, batch)?.map(Arc::new),
            streams: StreamBuffers::new(backend, config, rows, batch)?.map(Arc::new),
            recursion: RecursionBuffers::new(backend, config, rows, batch)?.map(Arc::new),
            low_rank: vectors::low_rank::<B>(config, rows, batch)?,
            blocks: BlockBuffers::new(backend, config, rows, batch)?.map(Arc::new),
            biases: Biases::new(config, rows, batch)?.map(Arc::new),
            time_mix: TimeMixBuffers::new(config, rows, batch)?.map(Arc::new),
            adapters: vectors::adapters::<B>(config, rows, batch)?,
            cutoff: vectors::cutoff::<B>(config, rows, batch)?,
            inner: rows("inner", batch, 2 * inner)?,
            activated: rows("activated", batch, inner)?,
            logits: rows("logits", logit_rows, config.vocab)?,
            tables,
            table_of,
            query_table_of,
            warm_table_of,
            stretched: Arc::default(),
            turn: Arc::default(),
        })
    }

    /// A second workspace: what a step leaves for the next one is its own, all else is shared.
    pub(crate) fn fork(&self, backend: &B) -> Result<Self> {
        self.shared(backend, self.batch, 1)
    }

    /// One for steps of a token of each of `sequences` sequences, no more than its own batch, with logits for each.
    pub(crate) fn side_by_side(&self, backend: &B, sequences: u32, vocab: u32) -> Result<Self> {
        let logits = u64::from(sequences) * u64::from(vocab) * 4;
        Ok(Self { logits: backend.alloc("logits", logits)?, ..self.shared(backend, sequences, sequences)? })
    }

    fn shared(&self, backend: &B, batch: u32, sequences: u32) -> Result<Self> {
        Ok(Self {
            ids: backend.alloc("ids", u64::from(batch) * 4)?,
            types: self.types.clone(),
            indices: indices(backend, batch, sequences, self.table_width, self.windowed)?,
            known: vec![Vec::new(); 2 * sequences as usize],
            batch,
            context: self.context,
            table_width: self.table_width,
            windowed: self.windowed,
            sequences,
            x: self.x.clone(),
            branch: self.branch.clone(),
            normed: self.normed.clone(),
            qkv: self.qkv.clone(),
            expanded: self.expanded.clone(),
            heads: self.heads.clone(),
            convolved: self.convolved.clone(),
            beta: self.beta.clone(),
            decay: self.decay.clone(),
            mixed: self.mixed.clone(),
            routed: self.routed.clone(),
            mixture: self.mixture.clone(),
            per_layer: self.per_layer.clone(),
            streams: self.streams.clone(),
            recursion: self.recursion.clone(),
            low_rank: self.low_rank.clone(),
            blocks: self.blocks.clone(),
            biases: self.biases.clone(),
            time_mix: self.time_mix.clone(),
            adapters: self.adapters.clone(),
            cutoff: self.cutoff.clone(),
            inner: self.inner.clone(),
            activated: self.activated.clone(),
            logits: self.logits.clone(),
            tables: self.tables.clone(),
            table_of: self.table_of.clone(),
            query_table_of: self.query_table_of.clone(),
            warm_table_of: self.warm_table_of.clone(),
            stretched: self.stretched.clone(),
            turn: self.turn.clone(),
        })
    }

    /// Returns the lock that a session holds while it records a step, so that no other session uses the shared buffers.
    pub(crate) fn turn(&self) -> Arc<Mutex<()>> {
        self.turn.clone()
    }

    /// The two lists of [`vectors::Heads`] for layers with so many heads.
    pub(crate) fn heads(&self, heads: u32) -> [Operand<'_, B>; 2] {
        let Some((_, numbers)) = self.heads.iter().find(|(of, _)| *of == heads) else {
            unreachable!("a workspace is made for the heads of all layers")
        };
        numbers.each_ref().map(Operand::new)
    }

    pub(crate) fn positions(&self) -> Operand<'_, B> {
        Operand::new(&self.indices)
    }

    /// The slots of a step's `tokens`, in layers that see a window or in the others.
    pub(crate) fn slots(&self, tokens: u32, windowed: bool) -> Operand<'_, B> {
        Operand::at(&self.indices, u64::from(tokens) * if windowed { 8 } else { 4 })
    }

    /// The slots of the sequences' states.
    pub(crate) fn states(&self, step: &Step<'_>) -> Operand<'_, B> {
        self.of_sequences(step, 0)
    }

    /// The tokens that the states of sequence `index` have read before.
    pub(crate) fn first(&self, step: &Step<'_>, index: u32) -> Operand<'_, B> {
        self.of_sequences(step, step.sequences() + index)
    }

    /// Keys of each sequence, where there are several.
    pub(crate) fn lengths(&self, step: &Step<'_>) -> Operand<'_, B> {
        self.of_sequences(step, 2 * step.sequences())
    }

    fn of_sequences(&self, step: &Step<'_>, index: u32) -> Operand<'_, B> {
        let of_tokens = if self.windowed { 12 } else { 8 };
        Operand::at(&self.indices, u64::from(step.tokens) * of_tokens + u64::from(index) * 4)
    }

    /// The page tables from sequence `index` on, of layers that see a window or of the others.
    pub(crate) fn tables(&self, index: u32, windowed: bool) -> Operand<'_, B> {
        Operand::at(&self.indices, self.table_at(index + if windowed { self.sequences } else { 0 }))
    }

    fn table_at(&self, index: u32) -> u64 {
        table_offset(self.batch, self.sequences) + u64::from(index) * u64::from(self.table_width) * 4
    }

    /// Makes the rope tables for a text of `length` tokens, where they depend on it. Sessions that share them take turns.
    pub(crate) fn stretch(&self, backend: &B, config: &Config, length: u32) -> Result<()> {
        let Some(dynamic) = config.dynamic else { return Ok(()) };
        if self.stretched.load(Ordering::Relaxed) == length {
            return Ok(());
        }
        for (index, table) in self.tables.iter().enumerate() {
            let layer = self.table_of.iter().position(|of| *of == Some(index));
            let rope = layer.and_then(|layer| config.layers[layer].mixer.attention()?.rope.as_ref());
            if let Some(rope) = rope {
                let values = dynamic.stretched(&rope.frequencies, length).table(self.context);
                backend.upload(table, 0, bytemuck::cast_slice(&values))?;
            }
        }
        self.stretched.store(length, Ordering::Relaxed);
        Ok(())
    }

    /// The rope table of a layer.
    pub(crate) fn rope(&self, layer: usize) -> Option<&B::Buffer> {
        self.table_of[layer].map(|index| &self.tables[index])
    }

    /// The rope table of a layer's queries, if it differs from the keys' table.
    pub(crate) fn query_rope(&self, layer: usize) -> Option<&B::Buffer> {
        self.query_table_of[layer].map(|index| &self.tables[index])
    }

    /// The table by which the part of a layer's queries that does not rotate is multiplied.
    pub(crate) fn warm_rope(&self, layer: usize) -> Option<&B::Buffer> {
        self.warm_table_of[layer].map(|index| &self.tables[index])
    }

    /// Uploads the index arrays of a step, in the order above, and the entries of page tables that changed since the last
    /// upload.
    pub(crate) fn indices(&mut self, backend: &B, of_step: [&[u32]; 4], sequences: &[&Sequence]) -> Result<()> {
        backend.upload(&self.indices, 0, bytemuck::cast_slice(&of_step.concat()))?;
        for (index, sequence) in (0..).zip(sequences) {
            self.table(backend, index, sequence.table())?;
            if let (passed, pages @ [first, ..]) = sequence.window() {
                // Nobody looks in front of the window.
                let table = [&vec![*first; passed as usize][..], pages].concat();
                self.table(backend, index + self.sequences, &table)?;
            }
        }
        Ok(())
    }

    /// Uploads which rows of the table of vectors for each layer a step's `tokens` have, where a model has such a table;
    /// without `ids`, those of embeddings.
    pub(crate) fn upload_rows(&self, backend: &B, config: &Config, ids: Option<&[u32]>, tokens: u32) -> Result<()> {
        let Some((buffers, of)) = self.per_layer.as_ref().zip(config.per_layer.as_ref()) else { return Ok(()) };
        let rows: Vec<u32> = match (ids, of.absent) {
            (Some(ids), _) => ids.iter().map(|id| of.row(config.stand_in(*id))).collect(),
            (None, Some(absent)) => vec![of.row(absent); tokens as usize],
            (None, None) => return Ok(()),
        };
        backend.upload(&buffers.rows, 0, bytemuck::cast_slice(&rows))
    }

    fn table(&mut self, backend: &B, index: u32, table: &[u32]) -> Result<()> {
        let at = self.table_at(index);
        let known = &mut self.known[index as usize];
        let same = known.iter().zip(table).take_while(|(old, new)| old == new).count();
        known.truncate(same);
        if same < table.len() {
            backend.upload(&self.indices, at + same as u64 * 4, bytemuck::cast_slice(&table[same..]))?;
            known.extend(&table[same..]);
        }
        Ok(())
    }
}
