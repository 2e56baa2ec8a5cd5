//! Loads what makes and corrects several residual streams.

use super::Loader;
use crate::backend::Backend;
use crate::config::{self, Config};
use crate::error::Result;
use crate::model::family::Role;
use crate::model::matrix::Matrix;
use crate::model::norm::Norm;
use crate::model::streams::{LowRank, Streams, Updates};

impl<B: Backend> Loader<'_, B> {
    pub(super) async fn streams(&mut self, config: &Config, of: &config::Streams) -> Result<Streams<B>> {
        let (dim, others) = (config.dim, of.count - 1);
        let (mut begin, mut end) = (Vec::new(), Vec::new());
        for index in 0..others as usize {
            for (role, all) in [(Role::StreamIn, &mut begin), (Role::StreamOut, &mut end)] {
                all.push(self.matrix(&[(self.family.weight(role, index), None, dim)], dim).await?);
            }
        }
        let norm = config::Norm { weight: false, ..config::Norm::rms(1e-30) };
        let weight = self.store("norm", &vec![1.0; dim as usize])?;
        let unit = Norm { config: norm, weight, bias: None, own: false };
        let mean = self.store("mean", &vec![1.0 / dim as f32; others as usize * dim as usize])?;
        let mean = Matrix::of_values(mean, others, dim);
        Ok(Streams { config: of.clone(), dim, begin, end, unit, mean })
    }

    /// How layer `index` reads and corrects the streams.
    pub(super) async fn updates(&mut self, of: &config::Streams, index: usize, dim: u32) -> Result<Updates<B>> {
        let (n, s) = (of.count as usize, of.active as usize);
        let norm = self.scaled_norm(Role::StreamRouterNorm, index, of.norm, dim, 1.0 / dim as f32).await?;
        let router = self.matrix(&[self.rows(Role::StreamRouter, index, of.count, false)], dim).await?;
        let place = self.family.weight(Role::StreamPrediction, index);
        let predict = self.values(&place, of.count * of.count, &[of.count]).await?;
        let place = self.family.weight(Role::StreamCorrection, index);
        let correct = self.values(&place, of.count, &[of.count]).await?;
        // Each prediction in each stream: its own, less the correction's share of the active one.
        let (mut keep, mut kept) = (vec![0.0; n * n * n], vec![0.0; n * n]);
        for (j, row) in correct.chunks_exact(n).enumerate() {
            let at = j * n + s;
            for (to, from) in keep[at * n..][..n].iter_mut().zip(row) {
                *to = -from;
            }
            kept[j * n + j] += 1.0;
            kept[at] -= 1.0;
        }
        let own: Vec<f32> = (0..n * n).map(|at| if at / n == at % n { 1.0 } else { 0.0 }).collect();
        let predict = self.coefficients(&predict, &own, of.count)?;
        let keep = self.coefficients(&keep, &kept, of.count)?;
        let correct = self.coefficients(&correct, &vec![1.0; n], of.count)?;
        let scale = self.values(&self.family.weight(Role::StreamFactor, index), dim, &[]).await?;
        let scale = if of.scaled { Some(self.store("scale", &scale)?) } else { None };
        Ok(Updates { norm, router, predict, keep, correct, scale })
    }

    /// A product of `inputs` numbers that gives coefficients.
    fn coefficients(&self, values: &[f32], bias: &[f32], inputs: u32) -> Result<Matrix<B>> {
        let matrix = Matrix::of_values(self.store("coefficients", values)?, bias.len() as u32, inputs);
        Ok(Matrix { bias: Some(self.store("coefficients", bias)?), ..matrix })
    }

    pub(super) async fn low_rank(&mut self, of: config::LowRank, index: usize, dim: u32) -> Result<LowRank<B>> {
        let left = self.matrix(&[self.rows(Role::LowRankIn, index, of.rank, false)], dim).await?;
        let right = self.matrix(&[self.rows(Role::LowRankOut, index, dim, false)], of.rank).await?;
        let norm = self.norm(Role::LowRankNorm, index, of.norm, dim).await?;
        Ok(LowRank { left, right, norm })
    }
}
