//! Many augmentation points of one text in one pass: what a coprocessor is trained on.
//!
//! ```text
//! rows      x[0] .. x[n-1] | z_1 .. z_N x[p+1] .. x[p+A] | ...        one trace for each position p
//! ```
//!
//! A row of the text sees the text up to itself. A row of a trace sees the text up to its `p`, and its own trace up to
//! itself: never a later token of the text, never another trace.

use crate::backend::{Backend, Copy, Operand};
use crate::cache::NO_TOKEN;
use crate::error::{Error, Result};
use crate::operands;
use foveate_kernels::{attention, merge};

/// One augmentation point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The text's token that latents follow.
    pub at: u32,
    /// Its first row.
    pub start: u32,
}

/// The packed rows.
#[derive(Clone, PartialEq, Debug)]
pub struct Layout {
    /// Rows of the text, which stand first.
    pub text: u32,
    /// Latents of a trace, its first rows.
    pub latents: u32,
    /// Tokens of a trace, the rows behind its latents.
    pub ahead: u32,
    /// The traces, in the order of their rows.
    pub traces: Vec<Trace>,
    /// The id of each row, [`NO_TOKEN`] for a latent.
    pub ids: Vec<u32>,
    /// The position of each row: those of a trace follow that of its `p`.
    pub positions: Vec<u32>,
    /// The group of each row: 0 for the text, then a number for each trace.
    pub groups: Vec<u32>,
    /// The token that each row predicts, or [`NO_TOKEN`] where nothing is asked: those of a trace's last latent and of its
    /// tokens but the last.
    pub targets: Vec<u32>,
}

/// The layout of traces of `latents` latents and `ahead` tokens behind each of `positions` of a text.
///
/// # Errors
/// `Config` for a position whose tokens ahead leave the text, no latents, or more rows than 32 bits count.
pub fn packed_augment(tokens: &[u32], positions: &[u32], latents: u32, ahead: u32) -> Result<Layout> {
    let bad = |reason: String| Err(Error::Config { reason });
    if latents == 0 {
        return bad("a trace without latents".into());
    }
    let rows = (u64::from(latents) + u64::from(ahead)).saturating_mul(positions.len() as u64);
    if rows.saturating_add(tokens.len() as u64) > u64::from(u32::MAX / 2) {
        return bad(format!("{rows} rows of traces behind {} of a text", tokens.len()));
    }
    let last = tokens.len() as u64;
    if let Some(at) = positions.iter().find(|p| u64::from(**p) + u64::from(ahead) >= last) {
        return bad(format!("{ahead} tokens ahead of {at} leave a text of {last}"));
    }
    let text = tokens.len() as u32;
    let mut layout = Layout {
        text,
        latents,
        ahead,
        traces: Vec::new(),
        ids: tokens.to_vec(),
        positions: (0..text).collect(),
        groups: vec![0; tokens.len()],
        targets: vec![NO_TOKEN; tokens.len()],
    };
    for (group, &at) in (1..).zip(positions) {
        layout.traces.push(Trace { at, start: layout.ids.len() as u32 });
        let ahead_of = &tokens[at as usize + 1..][..ahead as usize];
        layout.ids.extend(std::iter::repeat_n(NO_TOKEN, latents as usize));
        layout.ids.extend(ahead_of);
        layout.positions.extend(at + 1..at + 1 + latents + ahead);
        layout.groups.extend(std::iter::repeat_n(group, (latents + ahead) as usize));
        layout.targets.extend(std::iter::repeat_n(NO_TOKEN, latents as usize - 1));
        layout.targets.extend(ahead_of);
        layout.targets.push(NO_TOKEN);
    }
    Ok(layout)
}

impl Layout {
    /// Rows in all.
    pub fn rows(&self) -> u32 {
        self.ids.len() as u32
    }

    /// True if the query of row `i` attends to the key of row `j`.
    pub fn sees(&self, i: u32, j: u32) -> bool {
        let group = |row: u32| self.groups[row as usize];
        match (group(i), group(j)) {
            (g, h) if g == h => j <= i,
            (0, _) => false,
            (g, 0) => j <= self.traces[g as usize - 1].at,
            _ => false,
        }
    }

    /// Records attention under this mask: over the text, over each trace, and the merge of both for traces. `q` is
    /// `[rows, heads dim]`, `k` and `v` are `[rows, kv_heads dim]`, all contiguous, `out` is `[rows, heads dim]`.
    ///
    /// Memory is linear in the rows; no mask exists.
    ///
    /// # Errors
    /// Errors of the ops' validation.
    pub fn attention<B: Backend>(
        &self,
        backend: &B,
        [heads, kv_heads, dim]: [u32; 3],
        [q, k, v, out]: [&B::Buffer; 4],
    ) -> Result<()> {
        let text = attention::Spec::causal(1, self.text, self.text, heads, kv_heads, dim);
        backend.run(&text.into(), &operands![q = q, k = k, v = v, out = out])?;
        let (traces, len) = (self.traces.len() as u32, self.latents + self.ahead);
        if traces == 0 {
            return Ok(());
        }
        // An operand of a pass begins at a device's alignment: rows of traces are copied to where they do.
        let row = |width: u32| u64::from(width) * 4;
        let (first, rows) = (u64::from(self.text), u64::from(traces) * u64::from(len));
        let part = |from: &B::Buffer, width: u32| -> Result<B::Buffer> {
            let buffer = backend.alloc("traces", rows * row(width))?;
            let (from, to) = (Operand::at(from, first * row(width)), Operand::new(&buffer));
            backend.copy(&[Copy { from, to, bytes: rows * row(width) }])?;
            Ok(buffer)
        };
        let (q_width, kv_width) = (heads * dim, kv_heads * dim);
        let (own_q, own_k, own_v) = (part(q, q_width)?, part(k, kv_width)?, part(v, kv_width)?);
        let alloc = |bytes| backend.alloc("traces", bytes);
        let (o, l) = (rows * row(q_width), rows * row(heads));
        let (outs, lses) = ([alloc(o)?, alloc(o)?, alloc(2 * o)?, alloc(o)?], [alloc(l)?, alloc(l)?, alloc(2 * l)?]);
        let own = attention::Spec::causal(traces, len, len, heads, kv_heads, dim).with_lse(true);
        let operands = operands![q = &own_q, k = &own_k, v = &own_v, out = &outs[0], lse = &lses[0]];
        backend.run(&own.into(), &operands)?;
        // Every trace reads the text as pages, each as far as its own position.
        let pages = self.pages();
        let prefix = own.with_causal(false).with_paged(Some(pages)).with_lengths(true).with_keys(self.text);
        let table: Vec<u32> = self.traces.iter().flat_map(|_| 0..pages.width).collect();
        let lengths: Vec<u32> = self.traces.iter().map(|t| t.at + 1).collect();
        let (table, lengths) = (words(backend, &table)?, words(backend, &lengths)?);
        let operands = operands![q = &own_q, k = k, v = v, table = &table, lengths, out = &outs[1], lse = &lses[1]];
        backend.run(&prefix.into(), &operands)?;
        let copy = |from, to, at, bytes| Copy { from: Operand::new(from), to: Operand::at(to, at), bytes };
        backend.copy(&[
            copy(&outs[0], &outs[2], 0, o),
            copy(&outs[1], &outs[2], o, o),
            copy(&lses[0], &lses[2], 0, l),
            copy(&lses[1], &lses[2], l, l),
        ])?;
        let merged = merge::Spec::new(2, (rows * u64::from(heads)) as u32, dim);
        backend.run(&merged.into(), &operands![outs = &outs[2], lses = &lses[2], out = &outs[3], lse = &lses[0]])?;
        backend.copy(&[copy(&outs[3], out, first * row(q_width), o)])
    }

    /// Pages that hold the text and do not leave the rows.
    fn pages(&self) -> attention::Pages {
        let fits = |page: &u32| self.text.div_ceil(*page) * page <= self.rows();
        let page = [64, 32, 16, 8, 4, 2].into_iter().find(fits).unwrap_or(1);
        attention::Pages { pages: self.rows() / page, page, width: self.text.div_ceil(page) }
    }
}

fn words<B: Backend>(backend: &B, words: &[u32]) -> Result<B::Buffer> {
    let buffer = backend.alloc("traces", words.len() as u64 * 4)?;
    backend.upload(&buffer, 0, bytemuck::cast_slice(words))?;
    Ok(buffer)
}
