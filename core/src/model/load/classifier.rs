//! Reads heads that judge whole texts.

use super::{Loader, Role};
use crate::backend::Backend;
use crate::config;
use crate::error::Result;
use crate::model::classifier::{Classifier, Product};

impl<B: Backend> Loader<'_, B> {
    pub(super) async fn classifier(&mut self, of: config::Classifier, dim: u32) -> Result<Classifier> {
        let (dense, norm) = match of.dense {
            Some(pooler) => {
                let dense = self.product(Role::Pooler, 0, [dim; 2], pooler.bias).await?;
                let norm = match pooler.norm {
                    Some(norm) => {
                        let weight = self.values(&self.family.weight(Role::PoolerNorm, 0), dim, &[]).await?;
                        let bias = match norm.bias {
                            true => Some(self.values(&self.family.bias(Role::PoolerNorm, 0), dim, &[]).await?),
                            false => None,
                        };
                        Some((weight, bias))
                    }
                    None => None,
                };
                (Some(dense), norm)
            }
            None => (None, None),
        };
        let output = self.product(Role::Classifier, 0, [of.labels, dim], of.bias).await?;
        Ok(Classifier { config: of, dense, norm, output })
    }

    /// A product that is computed on the host.
    pub(super) async fn product(
        &mut self,
        role: Role,
        layer: usize,
        [rows, cols]: [u32; 2],
        bias: bool,
    ) -> Result<Product> {
        let weight = self.values(&self.family.weight(role, layer), rows, &[cols]).await?;
        let bias = match bias {
            true => Some(self.values(&self.family.bias(role, layer), rows, &[]).await?),
            false => None,
        };
        Ok(Product { weight, bias })
    }
}
