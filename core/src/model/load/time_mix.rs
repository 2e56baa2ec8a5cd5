//! Loads the time mixes of RWKV-7.

use super::Loader;
use super::tensors::known;
use crate::backend::Backend;
use crate::config;
use crate::error::Result;
use crate::model::family::Role;
use crate::model::matrix::Matrix;
use crate::model::norm::Norm;
use crate::model::time_mix::{LowRank, TimeMix};

impl<B: Backend> Loader<'_, B> {
    pub(super) async fn time_mix(&mut self, c: &config::TimeMix, index: usize, dim: u32) -> Result<TimeMix<B>> {
        let (keys, values) = (c.keys(), c.values());
        let mut shares = Vec::new();
        for name in ["x_r", "x_w", "x_k", "x_v", "x_a", "x_g"].into_iter().take(5 + usize::from(c.gate_rank.is_some()))
        {
            let share = self.token_share(name, index, dim).await?;
            shares.push(self.store("shares", &share)?);
        }
        let [receptance, key, value] = [(Role::Query, keys), (Role::Key, keys), (Role::Value, values)]
            .map(|(role, rows)| [self.rows(role, index, rows, false)]);
        let receptance = self.matrix(&receptance, dim).await?;
        let key = self.matrix(&key, dim).await?;
        let value = self.matrix(&value, dim).await?;
        let decay = self.two([Role::DecayLatent, Role::Decay], index, [dim, c.decay_rank, keys], true).await?;
        let rate =
            self.two([Role::LearningRateLatent, Role::LearningRate], index, [dim, c.rate_rank, keys], true).await?;
        let value_share = match c.value_rank {
            Some(rank) => {
                Some(self.two([Role::ValueShareLatent, Role::ValueShare], index, [dim, rank, values], true).await?)
            }
            None => None,
        };
        let gate = match c.gate_rank {
            Some(rank) => Some(self.two([Role::GateLatent, Role::MixedGate], index, [dim, rank, values], false).await?),
            None => None,
        };
        let channels: &[&[u32]] = &[&[keys], &[1, 1, keys]];
        let named = |name| self.family.named(Role::TimeMix, name, index);
        let [unit, written, bonus] = ["k_k", "k_a", "r_k"].map(named);
        let [unit, written] = [self.shaped(&unit, channels).await?, self.shaped(&written, channels).await?];
        let key_scales = [self.store("keys", &unit)?, self.store("keys", &written)?];
        let bonus = self.shaped(&bonus, &[&[c.heads, c.key_dim], &[keys]]).await?;
        let normed = match c.norm.weight {
            true => self.values(&self.family.weight(Role::HeadNorm, index), values, &[]).await?,
            false => vec![1.0; values as usize],
        };
        let offset = match c.norm.bias {
            true => self.values(&self.family.bias(Role::HeadNorm, index), values, &[]).await?,
            false => vec![0.0; values as usize],
        };
        let output = self.matrix(&[self.rows(Role::Output, index, dim, false)], values).await?;
        // The length of a key is the root of the sum of its squares, not of their mean.
        let root = 1.0 / (c.key_dim as f32).sqrt();
        let unit = config::Norm::rms(c.key_eps / c.key_dim as f32);
        let plain = config::Norm { weight: false, bias: false, ..c.norm };
        Ok(TimeMix {
            config: c.clone(),
            change: self.store("shares", &[1.0, -1.0].repeat(dim as usize))?,
            shares,
            receptance,
            key,
            value,
            decay,
            rate,
            value_share,
            gate,
            key_scales,
            unit: self.filled_norm(unit, -root, c.key_dim)?,
            bonus: self.of_heads(&bonus, c)?,
            norm: self.filled_norm(plain, 1.0, c.value_dim)?,
            normed: [self.store("norm", &normed)?, self.store("norm", &offset)?],
            ones: [self.store("ones", &[1.0])?, self.store("ones", &[-1.0])?],
            output,
        })
    }

    /// A norm whose weights are all the same.
    fn filled_norm(&self, config: config::Norm, weight: f32, dim: u32) -> Result<Norm<B>> {
        Ok(Norm { config, weight: self.store("norm", &vec![weight; dim as usize])?, bias: None, own: false })
    }

    /// A product with an output for each head, which reads the head alone.
    fn of_heads(&self, weights: &[f32], c: &config::TimeMix) -> Result<Matrix<B>> {
        let (keys, dim) = (c.keys() as usize, c.key_dim as usize);
        let mut all = vec![0.0; c.heads as usize * keys];
        for (head, own) in weights.chunks_exact(dim).enumerate() {
            all[head * (keys + dim)..][..dim].copy_from_slice(own);
        }
        Ok(Matrix::of_values(self.store("bonus", &all)?, c.heads, c.keys()))
    }

    /// Two products, one behind the other.
    async fn two(
        &mut self,
        [down, up]: [Role; 2],
        index: usize,
        [dim, rank, rows]: [u32; 3],
        bias: bool,
    ) -> Result<LowRank<B>> {
        let down = self.matrix(&[self.rows(down, index, rank, false)], dim).await?;
        let up = self.matrix(&[self.rows(up, index, rows, bias)], rank).await?;
        Ok(LowRank { down, up })
    }

    /// The share of the token before in the input of a product, from a tensor of its own or from that of all shares.
    async fn token_share(&mut self, name: &str, index: usize, dim: u32) -> Result<Vec<f32>> {
        let all = self.family.named(Role::TimeMixShares, name, index);
        if let Some(found) = known(self.files, &all.name).and_then(|name| self.files.get(&name)) {
            let each: &[u32] = if found.shape.len() == 2 { &[dim] } else { &[1, 1, dim] };
            return self.values(&all, 1, each).await;
        }
        let own = self.family.named(Role::TimeMix, name, index);
        self.shaped(&own, &[&[1, 1, dim], &[dim]]).await
    }

    /// The weights of the token before and of the token itself in what an MLP reads, `[dim, 2]`.
    pub(super) async fn shift(&mut self, index: usize, dim: u32) -> Result<B::Buffer> {
        let share = self.shaped(&self.family.weight(Role::Shift, index), &[&[dim], &[1, 1, dim]]).await?;
        let pairs: Vec<f32> = share.iter().flat_map(|share| [*share, 1.0 - share]).collect();
        self.store("shift", &pairs)
    }
}
