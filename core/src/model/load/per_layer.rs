//! Loads the vectors that tokens have for each layer, and the factors of layers.

use super::Loader;
use crate::backend::Backend;
use crate::config::{Config, Norm, PerLayer};
use crate::error::{Error, Result};
use crate::model::family::Role;
use crate::model::per_layer::{Branch, Vectors};

impl<B: Backend> Loader<'_, B> {
    /// The table of vectors and what is added to its rows.
    pub(super) async fn vectors(&mut self, config: &Config, of: &PerLayer) -> Result<Vectors<B>> {
        let wide = (config.layers.len() as u32).checked_mul(of.dim);
        let wide = wide.ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })?;
        let table = self.matrix(&[(self.family.weight(Role::LayerTable, 0), None, of.vocab)], wide).await?;
        let projection = (self.family.weight(Role::LayerProjection, 0), None, wide);
        let projection = self.matrix(&[projection], config.dim).await?;
        // What the product gives is not divided by the root of the width: the mean square is larger instead.
        let eps = (f64::from(of.norm.eps) * f64::from(config.dim)) as f32;
        let half = std::f32::consts::FRAC_1_SQRT_2;
        let norm = self.scaled_norm(Role::LayerVectorNorm, 0, Norm { eps, ..of.norm }, of.dim, half).await?;
        Ok(Vectors { config: of.clone(), table, projection, norm })
    }

    /// The branch of layer `index` that such vectors gate.
    pub(super) async fn vector_branch(&mut self, of: &PerLayer, index: usize, dim: u32) -> Result<Branch<B>> {
        let gate = self.matrix(&[self.rows(Role::LayerGate, index, of.dim, false)], dim).await?;
        let output = self.matrix(&[self.rows(Role::LayerOutput, index, dim, false)], of.dim).await?;
        let norm = self.norm(Role::LayerOutputNorm, index, of.norm, dim).await?;
        Ok(Branch { gate, output, norm })
    }

    /// The factor of the stream behind layer `index`.
    pub(super) async fn layer_factor(&mut self, index: usize) -> Result<f32> {
        let place = self.family.weight(Role::LayerFactor, index);
        match self.number(&place).await? {
            factor if factor.is_finite() || self.hollow => Ok(factor),
            factor => Err(Error::format(place.name, format!("it is {factor}: the factor of a layer is finite"))),
        }
    }
}
