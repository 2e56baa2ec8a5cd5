//! Loads the products of multi-head latent attention.

use super::Loader;
use super::tensors::known;
use crate::backend::Backend;
use crate::config;
use crate::error::Result;
use crate::model::family::Role;
use crate::model::latent::Latent;
use crate::model::matrix::Matrix;

impl<B: Backend> Loader<'_, B> {
    /// The product of the layer's input, of `dim` elements, and the second products. The first gives the latent, the shared
    /// part of keys and, if queries have a latent of their own, that one, too.
    pub(super) async fn latent(
        &mut self,
        a: &config::Attention,
        latent: config::Latent,
        index: usize,
        dim: u32,
    ) -> Result<(Matrix<B>, Latent<B>)> {
        let config::Latent { rank, shared, query_rank, norm } = latent;
        let first = self.rows(Role::Latent, index, rank + shared, a.input_bias);
        let all = self.rows(Role::Query, index, a.q_width(), false);
        let (input, query_norm, queries) = match query_rank {
            Some(rank) => {
                let second = self.rows(Role::QueryLatent, index, rank, a.input_bias);
                let input = self.matrix(&[first, second], dim).await?;
                let norm = self.norm(Role::QueryLatentNorm, index, norm, rank).await?;
                (input, Some(norm), self.matrix(&[all], rank).await?)
            }
            None => (self.matrix(&[first], dim).await?, None, self.matrix(&[all], dim).await?),
        };
        let norm = self.norm(Role::LatentNorm, index, norm, rank).await?;
        let own = a.dim - shared;
        let by_heads = self.family.weight(Role::KeyOfHeads, index);
        let (keys, values) = match self.has(&by_heads) {
            true => {
                // Some files hold both forms.
                self.used.extend(known(self.files, &self.family.weight(Role::Key, index).name));
                let place = self.family.weight(Role::ValueOfHeads, index);
                let keys = self.heads_of(&by_heads, [a.heads, rank, own]).await?;
                (keys, self.heads_of(&place, [a.heads, a.value_dim, rank]).await?)
            }
            false => {
                let [keys, values] = [Role::Key, Role::Value].map(|role| self.family.weight(role, index));
                let keys = self.transposed_heads(&keys, [a.heads, own, rank]).await?;
                (keys, self.rows_of(&values, a.v_width(), rank).await?)
            }
        };
        Ok((input, Latent { config: latent, query_norm, queries, norm, keys, values }))
    }
}
