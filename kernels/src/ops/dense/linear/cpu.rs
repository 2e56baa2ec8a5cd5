//! With few tokens, weights are decoded in registers and multiplied there, in parallel over outputs. With more,
//! weights are decoded into panels that stay in the cache and are multiplied by the host's dense product, in parallel
//! over panels. If the host provides byte products, both are done in integers; if it provides a tile unit, products of many
//! tokens are done there.

mod tiles;

use super::Spec;
use crate::cpu::simd::Panel;
use crate::cpu::{Args, Bytes, Host, Matrix, Shared, Tile, split};
use crate::dtype::DType;
use alloc::{vec, vec::Vec};
use core::ops::Range;

/// `DECODE`: maximum number of tokens without panels; a dense product has to pack each panel, which pays off from
/// about 32 tokens on. `TOGETHER`: maximum number of tokens per decoding of a weight.
const DECODE: usize = 32;
const TOGETHER: usize = 4;
/// Maximum number of tokens without panels where a tile unit computes them.
const UNPACKED: usize = 8;

/// Maximum number of tokens whose packed panels have the outputs of one register tile, `PAIR`.
const FEW: usize = 48;
const PAIR: usize = 32;

/// Elements of a panel of decoded weights: 1 MiB, half of a large core's second-level cache.
const PANEL: usize = 1 << 18;

/// Minimum number of multiplications per task.
const TASK: usize = 1 << 16;

struct Run<'a> {
    spec: &'a Spec,
    host: &'a dyn Host,
    x: &'a [f32],
    weight: &'a [u8],
    bias: Option<&'a [f32]>,
    y: Shared<'a, f32>,
    row_bytes: usize,
}

pub(super) fn run(spec: &Spec, host: &dyn Host, args: &mut Args<'_>) {
    let (tokens, inputs, outputs) = (spec.tokens as usize, spec.inputs as usize, spec.outputs as usize);
    let (x, weight, bias) = (args.f32("x"), args.bytes("weight"), args.optional("bias"));
    let row_bytes = weight.len() / outputs.max(1);
    let run = Run { spec, host, x, weight, bias, y: Shared::new(args.out("y")), row_bytes };
    if tokens == 0 || outputs == 0 {
        return;
    }
    let alike = host.alike();
    if inputs > 0 {
        match (host.tiles(), host.bytes()) {
            (Some(tiles), bytes) if tokens > UNPACKED.max(alike) => {
                let coarse = bytes.is_some_and(|bytes| bytes == bytes.coarse()) && Bytes::takes(spec.format);
                return run.tiles(if coarse { tiles.coarse() } else { tiles });
            }
            (_, Some(bytes)) if Bytes::takes(spec.format) => return run.integer(bytes),
            _ => {}
        }
    }
    if tokens <= DECODE.max(alike) || inputs == 0 {
        let least = TASK / (inputs * tokens).max(1);
        return split(host, outputs, least.max(16), &|rows| run.decode(rows));
    }
    // Panels divide the outputs; if there are fewer panels than threads, tokens are divided too.
    let threads = host.threads();
    let height = (PANEL / inputs.max(1)).clamp(16, 256).min(outputs.div_ceil(2 * threads).next_multiple_of(16));
    let panels = outputs.div_ceil(height);
    let parts = if panels < 2 * threads { (2 * threads).div_ceil(panels).min(tokens.div_ceil(64)) } else { 1 };
    host.parallel(panels * parts, &|task| {
        let (panel, part) = (task / parts, task % parts);
        run.panel(
            panel * height..outputs.min((panel + 1) * height),
            tokens * part / parts..tokens * (part + 1) / parts,
        );
    });
}

impl Run<'_> {
    /// Computes all outputs in integers.
    fn integer(&self, bytes: Bytes) {
        let (spec, host) = (self.spec, self.host);
        let (tokens, inputs, outputs) = (spec.tokens as usize, spec.inputs as usize, spec.outputs as usize);
        let (mut x, activations) = (bytes.rounded(tokens, inputs), self.activations());
        self.each(x.rows_mut().enumerate(), inputs, |(t, row)| bytes.round(activations.row(t).unwrap_or(&[]), row));
        if tokens <= bytes.unpacked().max(host.alike()) {
            let least = TASK / (inputs * tokens);
            return split(host, outputs, least.max(16), &|range| {
                self.each_16(range, |weight, t, dots| bytes.dots(spec.format, weight, self.row_bytes, &x, t, dots));
            });
        }
        // Where few tokens read a panel, it goes from packing to the product within the first-level cache.
        let height = if tokens <= FEW { PAIR } else { self.height() };
        let new = || Panel::new(spec.format, height.min(outputs), inputs);
        self.each_panel(height, new, |panel, rows, y| {
            bytes.pack(spec.format, self.weight(&rows), self.row_bytes, panel);
            bytes.multiply(panel, &x, y);
        });
    }

    /// Calls `body` with every item, each of which takes `work` multiplications or as much time.
    fn each<T: Send>(&self, items: impl Iterator<Item = T>, work: usize, body: impl Fn(T) + Sync) {
        let mut items: Vec<_> = items.map(Some).collect();
        let (count, shared) = (items.len(), Shared::new(&mut items));
        split(self.host, count, (TASK / work.max(1)).max(1), &|range| {
            // SAFETY: every item belongs to one task.
            unsafe { shared.part(range) }.iter_mut().filter_map(Option::take).for_each(&body);
        });
    }

    /// Returns the activations.
    fn activations(&self) -> Matrix<'_> {
        Matrix::new(self.x, [self.spec.tokens as usize, self.spec.inputs as usize], self.spec.x_stride as usize)
    }

    /// Returns the outputs of a panel that many tokens read: four panels per thread, or more.
    fn height(&self) -> usize {
        let outputs = self.spec.outputs as usize;
        outputs.div_ceil(4 * self.host.threads()).next_multiple_of(PAIR).clamp(PAIR, 4 * PAIR)
    }

    /// Calls `body` for every `height` outputs, in parallel, with memory that each task creates once by `new`, the range of
    /// outputs and their tile of `y`, and adds the bias.
    fn each_panel<M>(
        &self,
        height: usize,
        new: impl Fn() -> M + Sync,
        body: impl Fn(&mut M, Range<usize>, &mut Tile<'_>) + Sync,
    ) {
        let (tokens, outputs) = (self.spec.tokens as usize, self.spec.outputs as usize);
        split(self.host, outputs.div_ceil(height), 1, &|panels| {
            let mut memory = new();
            for panel in panels {
                let rows = panel * height..outputs.min((panel + 1) * height);
                // SAFETY: every output of a token belongs to one panel.
                let mut y = unsafe { self.y.tile(rows.start, [tokens, rows.len()], self.spec.y_stride as usize) };
                body(&mut memory, rows.clone(), &mut y);
                if let Some(bias) = self.bias {
                    (0..tokens).for_each(|t| self.host.simd().add(y.row(t), &bias[rows.clone()]));
                }
            }
        });
    }

    /// Returns a range of the weights of some outputs as f32, which begins and ends between blocks: in place if weights are
    /// stored so, otherwise decoded to `memory`.
    fn decoded<'m>(&'m self, rows: &Range<usize>, inputs: Range<usize>, memory: &'m mut Vec<f32>) -> Matrix<'m> {
        let (format, all, shape) = (self.spec.format, self.spec.inputs as usize, [rows.len(), inputs.len()]);
        if format == DType::F32 {
            return Matrix::new(&bytemuck::cast_slice(self.weight(rows))[inputs.start..], shape, all);
        }
        memory.resize(rows.len() * inputs.len(), 0.0);
        let bytes = self.row_bytes * inputs.start / all..self.row_bytes * inputs.end / all;
        for (row, to) in self.weight(rows).chunks_exact(self.row_bytes).zip(memory.chunks_exact_mut(inputs.len())) {
            self.host.simd().decode(format, &row[bytes.clone()], to);
        }
        Matrix::new(memory, shape, inputs.len())
    }

    /// Returns the weights of a range of outputs.
    fn weight(&self, rows: &Range<usize>) -> &[u8] {
        &self.weight[rows.start * self.row_bytes..rows.end * self.row_bytes]
    }

    fn decode(&self, rows: Range<usize>) {
        let (spec, simd) = (self.spec, self.host.simd());
        let stride = spec.x_stride as usize;
        self.each_16(rows, |weight, tokens, dots| {
            let size = [tokens.len(), spec.inputs as usize, stride];
            simd.weight_dots(spec.format, weight, self.row_bytes, &self.x[tokens.start * stride..], size, dots);
        });
    }

    /// Calls `dots` with the weights of up to 16 outputs, up to [`TOGETHER`] tokens, and memory for their products
    /// `[outputs, tokens]`. Adds the bias and stores the products in `y`.
    fn each_16(&self, rows: Range<usize>, dots: impl Fn(&[u8], Range<usize>, &mut [f32])) {
        let mut out = [0.0; 16 * TOGETHER];
        for first in rows.clone().step_by(16) {
            let height = (rows.end - first).min(16);
            for t in (0..self.spec.tokens as usize).step_by(TOGETHER) {
                let tokens = t..(t + TOGETHER).min(self.spec.tokens as usize);
                let out = &mut out[..height * tokens.len()];
                dots(self.weight(&(first..first + height)), tokens.clone(), out);
                for (i, token) in tokens.clone().enumerate() {
                    let start = token * self.spec.y_stride as usize + first;
                    // SAFETY: every output belongs to one range of rows.
                    let y = unsafe { self.y.part(start..start + height) };
                    for (n, y) in y.iter_mut().enumerate() {
                        *y = out[n * tokens.len() + i] + self.bias.map_or(0.0, |b| b[first + n]);
                    }
                }
            }
        }
    }

    /// Computes outputs `rows` of `tokens`.
    fn panel(&self, rows: Range<usize>, tokens: Range<usize>) {
        let (spec, inputs) = (self.spec, self.spec.inputs as usize);
        let shape = [tokens.len(), rows.len()];
        // SAFETY: every output of a token belongs to one panel.
        let mut y =
            unsafe { self.y.tile(tokens.start * spec.y_stride as usize + rows.start, shape, spec.y_stride as usize) };
        let x = self.activations().rows(tokens);
        let mut decoded = vec![];
        let weight = self.decoded(&rows, 0..inputs, &mut decoded).transposed();
        if let Some(bias) = self.bias {
            (0..shape[0]).for_each(|t| y.row(t).copy_from_slice(&bias[rows.clone()]));
        }
        self.host.matmul(x, weight, &mut y, self.bias.is_some());
    }
}
