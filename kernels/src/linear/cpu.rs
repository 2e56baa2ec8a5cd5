//! Few tokens: every weight is decoded in registers and multiplied there, parallel over outputs. More: weights are decoded
//! into panels that stay in the cache, and multiplied by the host's dense product, parallel over panels.

use super::Spec;
use crate::dtype::DType;
use crate::host::{Args, Host, Matrix, Shared, split};
use alloc::vec;
use core::ops::Range;

/// Most tokens that do without panels, and most that a weight is decoded for at once. A dense product has to pack the
/// panel anew, which pays from about 32 tokens on.
const DECODE: usize = 32;
const TOGETHER: usize = 4;

/// Elements of a panel of decoded weights: 1 MiB, half of a large core's second-level cache.
const PANEL: usize = 1 << 18;

/// Least multiplications that are worth a task.
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
    if tokens <= DECODE || inputs == 0 {
        let least = TASK / (inputs * tokens).max(1);
        return split(host, outputs, least.max(16), &|rows| run.decode(rows));
    }
    // Panels by outputs; where those are fewer than threads, by tokens besides.
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
    fn decode(&self, rows: Range<usize>) {
        let (spec, simd) = (self.spec, self.host.simd());
        let stride = spec.x_stride as usize;
        let mut dots = [0.0; 16 * TOGETHER]; // [16, tokens]
        for first in rows.clone().step_by(16) {
            let height = (rows.end - first).min(16);
            let weight = &self.weight[first * self.row_bytes..][..height * self.row_bytes];
            for t in (0..spec.tokens as usize).step_by(TOGETHER) {
                let tokens = (spec.tokens as usize - t).min(TOGETHER);
                let (x, dots) = (&self.x[t * stride..], &mut dots[..height * tokens]);
                simd.weight_dots(spec.format, weight, self.row_bytes, x, [tokens, spec.inputs as usize, stride], dots);
                for token in 0..tokens {
                    let start = (t + token) * spec.y_stride as usize + first;
                    // SAFETY: every output belongs to one range of rows.
                    let y = unsafe { self.y.part(start..start + height) };
                    for (i, y) in y.iter_mut().enumerate() {
                        *y = dots[i * tokens + token] + self.bias.map_or(0.0, |b| b[first + i]);
                    }
                }
            }
        }
    }

    /// The outputs `rows` of `tokens`.
    fn panel(&self, rows: Range<usize>, tokens: Range<usize>) {
        let (spec, inputs) = (self.spec, self.spec.inputs as usize);
        let shape = [tokens.len(), rows.len()];
        // SAFETY: every output of a token belongs to one panel.
        let mut y =
            unsafe { self.y.tile(tokens.start * spec.y_stride as usize + rows.start, shape, spec.y_stride as usize) };
        let x =
            Matrix::new(&self.x[tokens.start * spec.x_stride as usize..], [shape[0], inputs], spec.x_stride as usize);
        let weight = &self.weight[rows.start * self.row_bytes..rows.end * self.row_bytes];
        let mut decoded = vec![];
        let weight = if spec.format == DType::F32 {
            bytemuck::cast_slice(weight)
        } else {
            decoded.resize(rows.len() * inputs, 0.0);
            for (bytes, row) in weight.chunks_exact(self.row_bytes).zip(decoded.chunks_exact_mut(inputs)) {
                self.host.simd().decode(spec.format, bytes, row);
            }
            &decoded[..]
        };
        let weight = Matrix::new(weight, [rows.len(), inputs], inputs).transposed();
        if let Some(bias) = self.bias {
            (0..shape[0]).for_each(|t| y.row(t).copy_from_slice(&bias[rows.clone()]));
        }
        self.host.matmul(x, weight, &mut y, self.bias.is_some());
    }
}
