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
    /// The product that gives latents, shared parts of keys, and queries or what these come from, and the second products.
    pub(super) async fn latent(
        &mut self,
        a: &config::Attention,
        latent: config::Latent,
        index: usize,
        dim: u32,
    ) -> Result<(Matrix<B>, Latent<B>)> {
        let config::Latent { rank, shared, query_rank, norm } = latent;
        let first = self.rows(Role::Latent, index, rank + shared, a.input_bias);
        let second = match query_rank {
            Some(rank) => self.rows(Role::QueryLatent, index, rank, a.input_bias),
            None => self.rows(Role::Query, index, a.q_width(), false),
        };
        let input = self.matrix(&[first, second], dim).await?;
        let queries = match query_rank {
            Some(rank) => {
                let norm = self.norm(Role::QueryLatentNorm, index, norm, rank).await?;
                let product = self.matrix(&[self.rows(Role::Query, index, a.q_width(), false)], rank).await?;
                Some((norm, product))
            }
            None => None,
        };
        let norm = self.norm(Role::LatentNorm, index, norm, rank).await?;
        let own = a.dim - shared;
        let by_heads = self.family.weight(Role::KeyOfHeads, index);
        let expand = match self.has(&by_heads) {
            true => {
                // Some files hold both forms.
                self.used.extend(known(self.files, &self.family.weight(Role::Key, index).name));
                let keys = self.transposed_heads(&by_heads, [a.kv_heads, rank, own]).await?;
                let place = self.family.weight(Role::ValueOfHeads, index);
                let values = self.heads_of(&place, [a.kv_heads, a.value_dim, rank]).await?;
                Matrix { parts: vec![keys, values], inputs: rank, bias: None, adapter: None }
            }
            false => {
                let roles = [(Role::Key, a.kv_heads * own), (Role::Value, a.v_width())];
                let expand = roles.map(|(role, n)| self.rows(role, index, n, false));
                self.matrix(&expand, rank).await?
            }
        };
        Ok((input, Latent { config: latent, queries, norm, expand }))
    }
}
