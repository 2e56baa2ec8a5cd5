//! With few tokens, weights are decoded in registers and multiplied there, in parallel over outputs. With more,
//! weights are decoded into panels that stay in the cache and are multiplied by the host's dense product, in parallel
//! over panels. If the host provides byte products, both are done in integers.

use super::Spec;
use crate::cpu::simd::{GROUP, Panel, Split};
use crate::cpu::{Args, Bytes, Host, Matrix, Shared, Tile, Tiles, split};
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
            (Some(tiles), _) if tokens > UNPACKED.max(alike) => return run.tiles(tiles),
            (_, Some(bytes))
                if Bytes::takes(spec.format)
                    && (tokens <= bytes.unpacked().max(alike) || bytes.packing().is_some()) =>
            {
                return run.integer(bytes);
            }
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
        let mut x = bytes.rounded(tokens, inputs);
        self.each_group(1, x.rows_mut(), |x, row| bytes.round(x.row(0).unwrap_or(&[]), row));
        if tokens <= bytes.unpacked().max(host.alike()) {
            let least = TASK / (inputs * tokens);
            return split(host, outputs, least.max(16), &|range| {
                self.each_16(range, |weight, t, dots| bytes.dots(spec.format, weight, self.row_bytes, &x, t, dots));
            });
        }
        let Some(packing) = bytes.packing() else { unreachable!("so many tokens are multiplied in f32") };
        // Where few tokens read a panel, it goes from packing to the product within the first-level cache.
        let height = if tokens <= FEW { PAIR } else { self.height() };
        let new = || Panel::new(spec.format, height.min(outputs), inputs);
        self.each_panel(height, new, |panel, rows, y| {
            packing.pack(spec.format, self.weight(&rows), self.row_bytes, panel);
            packing.multiply(panel, &x, y);
        });
    }

    /// Computes all outputs on a tile unit.
    fn tiles(&self, tiles: Tiles) {
        let (tokens, inputs) = (self.spec.tokens as usize, self.spec.inputs as usize);
        let mut x = Split::new(tokens, inputs);
        self.each_group(GROUP, x.groups_mut(), |x, group| tiles.split_rows(x, group));
        self.each_panel(self.height(), Vec::new, |decoded, rows, y| {
            let mut weight = Split::new(rows.len(), inputs);
            for (i, group) in weight.groups_mut().enumerate() {
                let rows = rows.start + i * GROUP..rows.end.min(rows.start + (i + 1) * GROUP);
                let decoded = self.decoded(&rows, decoded);
                tiles.split_columns(Matrix::new(decoded, [rows.len(), inputs], inputs).transposed(), group);
            }
            tiles.multiply(&x, &weight, y, false);
        });
    }

    /// Calls `body` with every `size` rows of `x` and the corresponding item of `groups`.
    fn each_group<T: Send>(&self, size: usize, groups: impl Iterator<Item = T>, body: impl Fn(Matrix<'_>, T) + Sync) {
        let (tokens, inputs) = (self.spec.tokens as usize, self.spec.inputs as usize);
        let x = Matrix::new(self.x, [tokens, inputs], self.spec.x_stride as usize);
        let mut groups: Vec<_> = groups.map(Some).collect();
        let (count, shared) = (groups.len(), Shared::new(&mut groups));
        split(self.host, count, (TASK / (inputs * size)).max(1), &|range| {
            for i in range {
                // SAFETY: every group belongs to one task.
                if let Some(group) = unsafe { shared.part(i..i + 1) }[0].take() {
                    body(x.rows(i * size..tokens.min((i + 1) * size)), group);
                }
            }
        });
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

    /// Returns weights as f32: in place if they are stored so, otherwise decoded to `memory`.
    fn decoded<'m>(&'m self, rows: &Range<usize>, memory: &'m mut Vec<f32>) -> &'m [f32] {
        let (format, inputs) = (self.spec.format, self.spec.inputs as usize);
        if format == DType::F32 {
            return bytemuck::cast_slice(self.weight(rows));
        }
        memory.resize(rows.len() * inputs, 0.0);
        for (bytes, row) in self.weight(rows).chunks_exact(self.row_bytes).zip(memory.chunks_exact_mut(inputs)) {
            self.host.simd().decode(format, bytes, row);
        }
        memory
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
        let x =
            Matrix::new(&self.x[tokens.start * spec.x_stride as usize..], [shape[0], inputs], spec.x_stride as usize);
        let mut decoded = vec![];
        let weight = self.decoded(&rows, &mut decoded);
        let weight = Matrix::new(weight, [rows.len(), inputs], inputs).transposed();
        if let Some(bias) = self.bias {
            (0..shape[0]).for_each(|t| y.row(t).copy_from_slice(&bias[rows.clone()]));
        }
        self.host.matmul(x, weight, &mut y, self.bias.is_some());
    }
}
