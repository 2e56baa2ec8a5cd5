//! Loads attention, the delta rule and routing heads.

use super::Loader;
use crate::backend::Backend;
use crate::config;
use crate::error::{Error, Result};
use crate::model::attention::Attention;
use crate::model::delta::{Conv, Delta};
use crate::model::family::Role;
use crate::model::routing::Routing;

impl<B: Backend> Loader<'_, B> {
    pub(super) async fn attention(&mut self, a: &config::Attention, index: usize, dim: u32) -> Result<Attention<B>> {
        let (q, kv) = (a.heads * a.dim, a.kv_width());
        let mut input = vec![(Role::Query, q), (Role::Key, kv), (Role::Value, kv)];
        input.extend(a.gated.then_some((Role::MixedGate, q)));
        let mut input: Vec<_> = input.into_iter().map(|(role, n)| self.rows(role, index, n, a.input_bias)).collect();
        input.extend(a.head_gates.then(|| self.rows(Role::MixedGate, index, a.heads, false)));
        let input = self.matrix(&input, dim).await?;
        let head_norms = match a.head_norm {
            Some(norm) => Some((
                self.head_norm(Role::QueryNorm, index, norm, (a, a.heads)).await?,
                self.head_norm(Role::KeyNorm, index, norm, (a, a.kv_heads)).await?,
            )),
            None => None,
        };
        let alibi = match &a.alibi {
            Some(slopes) => Some(self.store("alibi", slopes)?),
            None => None,
        };
        let sinks = match a.sinks {
            true => {
                let sinks = self.values(&self.family.weight(Role::Sinks, index), a.heads, &[]).await?;
                Some(self.store("sinks", &sinks)?)
            }
            false => None,
        };
        let output_norm = self.norm_if(Role::MixedInnerNorm, index, a.output_norm, q).await?;
        let output = self.scaled(Role::Output, index, [dim, q], a.output_bias, a.output_scale).await?;
        Ok(Attention { config: a.clone(), input, head_norms, sinks, alibi, output_norm, output })
    }

    pub(super) async fn delta(&mut self, d: &config::Delta, index: usize, dim: u32) -> Result<Delta<B>> {
        let (keys, values) = (d.keys(), d.values());
        let mut input = vec![(Role::Query, keys), (Role::Key, keys), (Role::Value, values)];
        input.extend(d.gated.then_some((Role::MixedGate, values)));
        input.push((Role::Beta, d.value_heads));
        input.extend(d.decays.then_some((Role::Decay, d.value_heads)));
        let input: Vec<_> = input.into_iter().map(|(role, n)| self.rows(role, index, n, false)).collect();
        let input = self.matrix(&input, dim).await?;
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for (role, rows) in [(Role::QueryConv, keys), (Role::KeyConv, keys), (Role::ValueConv, values)] {
            if d.window == 1 {
                weight.extend(std::iter::repeat_n(1.0, rows as usize));
                continue;
            }
            weight.extend(self.values(&self.family.weight(role, index), rows, &[1, d.window]).await?);
            if d.conv_bias {
                bias.extend(self.values(&self.family.bias(role, index), rows, &[]).await?);
            }
        }
        let weight = self.store("conv", &weight)?;
        let bias = if bias.is_empty() { None } else { Some(self.store("conv", &bias)?) };
        let decay = match d.decays {
            true => {
                let rate = self.values(&self.family.weight(Role::DecayRate, index), d.value_heads, &[]).await?;
                let bias = self.values(&self.family.weight(Role::DecayBias, index), d.value_heads, &[]).await?;
                Some((self.store("decay", &rate)?, self.store("decay", &bias)?))
            }
            false => None,
        };
        let norm = self.norm(Role::HeadNorm, index, d.norm, d.value_dim).await?;
        let output = self.matrix(&[self.rows(Role::Output, index, dim, false)], values).await?;
        Ok(Delta { config: d.clone(), input, conv: Conv { weight, bias }, decay, norm, output })
    }

    pub(super) async fn routing(&mut self, r: &config::Routing, index: usize, dim: u32) -> Result<Routing<B>> {
        let local = match &r.local {
            Some(a) => Some(self.attention(a, index, dim).await?),
            None => None,
        };
        let input = [Role::Routed, Role::RoutedValue].map(|role| self.rows(role, index, r.width(), false));
        let input = self.matrix(&input, dim).await?;
        let place = self.family.weight(Role::Centroids, index);
        let centroids = self.values(&place, r.heads, &[r.clusters, r.dim]).await?;
        if let Some(at) = centroids.iter().position(|x| !x.is_finite()) {
            return Err(Error::format(place.name, format!("element {at} is {}", centroids[at])));
        }
        let centroids = self.store("centroids", &centroids)?;
        let norm = self.norm(Role::HeadNorm, index, config::Routing::NORM, r.dim).await?;
        let output = self.matrix(&[self.rows(Role::RoutedOutput, index, dim, false)], r.width()).await?;
        Ok(Routing { config: r.clone(), local, input, norm, centroids, output })
    }
}
