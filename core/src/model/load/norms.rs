//! Reads the weights of norms.

use super::{Loader, Place, Role};
use crate::backend::Backend;
use crate::config;
use crate::config::{Config, Norm as NormConfig};
use crate::error::Result;
use crate::model::norm::Norm;

impl<B: Backend> Loader<'_, B> {
    /// Two norms of a layer, or neither.
    pub(super) async fn norms(
        &mut self,
        [one, two]: [Role; 2],
        index: usize,
        norm: Option<NormConfig>,
        dim: u32,
    ) -> Result<Option<(Norm<B>, Norm<B>)>> {
        let one = self.norm_if(one, index, norm, dim).await?;
        Ok(one.zip(self.norm_if(two, index, norm, dim).await?))
    }

    pub(super) async fn norm_if(
        &mut self,
        role: Role,
        index: usize,
        norm: Option<NormConfig>,
        dim: u32,
    ) -> Result<Option<Norm<B>>> {
        match norm {
            Some(norm) => Ok(Some(self.norm(role, index, norm, dim).await?)),
            None => Ok(None),
        }
    }

    /// The norm of `heads` heads of queries or keys.
    pub(super) async fn head_norm(
        &mut self,
        role: Role,
        index: usize,
        norm: NormConfig,
        (a, heads): (&config::Attention, u32),
    ) -> Result<Norm<B>> {
        match a.norm_over {
            config::NormOver::Head => self.norm(role, index, norm, a.dim).await,
            config::NormOver::All => self.norm(role, index, norm, heads * a.dim).await,
            config::NormOver::OwnHead => {
                let place = self.family.weight(role, index);
                let weight = match place.name.contains("{head}") {
                    false => self.values(&place, heads, &[a.dim]).await?,
                    true => {
                        let mut weight = Vec::new();
                        for head in 0..heads {
                            let name = place.name.replace("{head}", &head.to_string());
                            weight.extend(self.values(&Place::plain(name), a.dim, &[]).await?);
                        }
                        weight
                    }
                };
                Ok(Norm { config: norm, weight: self.store("norm", &weight)?, bias: None, own: true })
            }
        }
    }

    pub(super) async fn norm(&mut self, role: Role, layer: usize, norm: NormConfig, dim: u32) -> Result<Norm<B>> {
        self.scaled_norm(role, layer, norm, dim, 1.0).await
    }

    /// A norm whose outputs are multiplied by `scale`.
    pub(super) async fn scaled_norm(
        &mut self,
        role: Role,
        layer: usize,
        mut norm: NormConfig,
        dim: u32,
        scale: f32,
    ) -> Result<Norm<B>> {
        let mut weight = match norm.weight {
            true => self.values(&self.own(role, layer, "weight"), dim, &[]).await?,
            false => vec![if norm.one_plus { 0.0 } else { 1.0 }; dim as usize],
        };
        if scale != 1.0 {
            let plus = if std::mem::take(&mut norm.one_plus) { 1.0 } else { 0.0 };
            weight.iter_mut().for_each(|w| *w = (*w + plus) * scale);
        }
        let weight = self.store("norm", &weight)?;
        let bias = match norm.bias {
            true => {
                let mut bias = self.values(&self.own(role, layer, "bias"), dim, &[]).await?;
                bias.iter_mut().for_each(|b| *b *= scale);
                Some(self.store("norm", &bias)?)
            }
            false => None,
        };
        Ok(Norm { config: norm, weight, bias, own: false })
    }
}

/// A norm of the residual stream, which is divided by `branch_scale`: so is its square in the norm's denominator.
pub(super) fn stream_norm(norm: NormConfig, config: &Config) -> NormConfig {
    let scale = f64::from(config.branch_scale);
    NormConfig { eps: (f64::from(norm.eps) / (scale * scale)) as f32, ..norm }
}
