//! The weights of heads that judge whole texts. They are small, and computed on the host.

use crate::config::{self, Norm, Pooled, PoolerKind};
use foveate_kernels::norm;

/// The weights of [`config::Classifier`].
pub(crate) struct Classifier {
    pub(super) config: config::Classifier,
    pub(super) dense: Option<Product>,
    /// Factors of the norm, and what it adds.
    pub(super) norm: Option<(Vec<f32>, Option<Vec<f32>>)>,
    pub(super) output: Product,
}

/// `W x + b`
pub(crate) struct Product {
    /// `[outputs, inputs]`
    pub(crate) weight: Vec<f32>,
    pub(super) bias: Option<Vec<f32>>,
}

impl Product {
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let row = |(at, row): (usize, &[f32])| {
            let bias = self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[at]));
            row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + bias
        };
        self.weight.chunks_exact(x.len()).enumerate().map(row).collect()
    }
}

fn activate(kind: PoolerKind, x: f64) -> f64 {
    match kind {
        PoolerKind::Tanh => x.tanh(),
        PoolerKind::Relu => x.max(0.0),
        PoolerKind::Gelu => 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2)),
        PoolerKind::Silu => x / (1.0 + (-x).exp()),
    }
}

fn normed(of: Norm, x: &[f64]) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = if of.kind == norm::Kind::Layer { x.iter().sum::<f64>() / n } else { 0.0 };
    let square = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    let deviation = (square + f64::from(of.eps)).sqrt();
    x.iter().map(|x| (x - mean) / deviation).collect()
}

impl Classifier {
    /// Returns a number for each label, from the hidden states of a text's tokens, `[tokens, dim]`.
    pub(crate) fn judge(&self, rows: &[f32], dim: usize) -> Vec<f32> {
        let wide = |row: &[f32]| -> Vec<f64> { row.iter().map(|&x| x.into()).collect() };
        let all = rows.chunks_exact(dim);
        let mut vector = match self.config.pooling {
            Pooled::First => wide(&rows[..dim]),
            Pooled::Last => wide(&rows[rows.len() - dim..]),
            Pooled::Mean => {
                let (mut sum, count) = (vec![0.0; dim], all.len() as f64);
                all.for_each(|row| sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x) / count));
                sum
            }
        };
        if let (Some(dense), Some(of)) = (&self.dense, self.config.dense) {
            vector = dense.apply(&vector).into_iter().map(|x| activate(of.kind, x)).collect();
            if let (Some(norm), Some((weight, bias))) = (of.norm, &self.norm) {
                vector = normed(norm, &vector);
                vector.iter_mut().zip(weight).for_each(|(x, w)| *x *= f64::from(*w));
                if let Some(bias) = bias {
                    vector.iter_mut().zip(bias).for_each(|(x, b)| *x += f64::from(*b));
                }
            }
        }
        self.output.apply(&vector).into_iter().map(|x| x as f32).collect()
    }
}
