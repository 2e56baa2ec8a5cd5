//! Loads blocks in front of scans, whose weights several layers share.

use super::Loader;
use crate::backend::Backend;
use crate::config;
use crate::error::Result;
use crate::model::block::{Block, Shared};
use crate::model::family::Role;
use crate::model::matrix::Adapter;

impl<B: Backend> Loader<'_, B> {
    pub(super) async fn block(&mut self, of: &config::Block, index: usize, dim: u32) -> Result<Block<B>> {
        if !self.blocks.contains_key(&of.source) {
            let shared = Shared {
                norm: self.norm(Role::BlockNorm, index, of.norm, 2 * dim).await?,
                attention: self.attention(&of.attention, index, [2 * dim, dim]).await?,
                mlp_norm: self.norm(Role::BlockMlpNorm, index, of.norm, dim).await?,
                mlp: self.mlp(of.mlp, [Role::Gate, Role::Up, Role::Down], index, dim).await?,
            };
            self.blocks.insert(of.source, shared);
        }
        let mut shared = self.blocks[&of.source].again();
        let up = [Role::MlpAdapterIn, Role::MlpAdapterOut];
        shared.mlp.adapter = Some(self.adapter(&[up], index, [dim, of.rank], &[of.mlp.width()]).await?);
        if of.adapts_attention {
            let roles = [
                [Role::QueryAdapterIn, Role::QueryAdapterOut],
                [Role::KeyAdapterIn, Role::KeyAdapterOut],
                [Role::ValueAdapterIn, Role::ValueAdapterOut],
            ];
            let rows = [of.attention.q_width(), of.attention.k_width(), of.attention.v_width()];
            shared.attention.adapter = Some(self.adapter(&roles, index, [2 * dim, of.rank], &rows).await?);
        }
        let output = self.matrix(&[self.rows(Role::BlockOutput, index, dim, false)], dim).await?;
        Ok(Block { shared, output })
    }

    /// Adapters of `rows` outputs each, by the roles of their products.
    async fn adapter(
        &mut self,
        roles: &[[Role; 2]],
        index: usize,
        [inputs, rank]: [u32; 2],
        rows: &[u32],
    ) -> Result<Adapter<B>> {
        let inner: Vec<_> = roles.iter().map(|[role, _]| self.rows(*role, index, rank, false)).collect();
        let inner = self.matrix(&inner, inputs).await?;
        let mut outputs = Vec::new();
        for ([_, role], rows) in roles.iter().zip(rows) {
            outputs.push(self.matrix(&[self.rows(*role, index, *rows, false)], rank).await?);
        }
        Ok(Adapter { inner, outputs })
    }
}
