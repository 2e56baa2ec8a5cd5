//! Loads attention, the delta rule and routing heads.

use super::Loader;
use crate::backend::Backend;
use crate::config;
use crate::error::{Error, Result};
use crate::model::attention::Attention;
use crate::model::delta::{Conv, Delta};
use crate::model::family::Role;
use crate::model::matrix::Matrix;
use crate::model::routing::Routing;

impl<B: Backend> Loader<'_, B> {
    /// The heads of layer `index`, which read rows of `inputs` elements.
    pub(super) async fn attention(
        &mut self,
        a: &config::Attention,
        index: usize,
        [inputs, dim]: [u32; 2],
    ) -> Result<Attention<B>> {
        let (input, latent) = match &a.latent {
            Some(latent) => {
                let (input, latent) = self.latent(a, *latent, index, inputs).await?;
                (input, Some(latent))
            }
            None => (self.heads(a, index, inputs).await?, None),
        };
        let own = a.shared.is_none();
        let head_norms = match a.head_norm {
            Some(norm) => Some((
                self.head_norm(Role::QueryNorm, index, norm, (a, a.heads)).await?,
                match own {
                    true => Some(self.head_norm(Role::KeyNorm, index, norm, (a, a.kv_heads)).await?),
                    false => None,
                },
            )),
            None => None,
        };
        let value_norm = self.norm_if(Role::ValueNorm, index, a.value_norm.filter(|_| own), a.value_dim).await?;
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
        let output_norm = self.norm_if(Role::MixedInnerNorm, index, a.output_norm, a.outputs()).await?;
        let output = self.scaled(Role::Output, index, [dim, a.outputs()], a.output_bias, a.output_scale).await?;
        let output = self.adapted(output, &[self.rows(Role::Output, index, dim, false)])?;
        Ok(Attention {
            config: a.clone(),
            input,
            latent,
            head_norms,
            value_norm,
            sinks,
            alibi,
            output_norm,
            output,
            adapter: None,
        })
    }

    /// The product that gives queries, keys and values, and gates.
    async fn heads(&mut self, a: &config::Attention, index: usize, dim: u32) -> Result<Matrix<B>> {
        let own = a.shared.is_none();
        let mut input = vec![(Role::Query, a.q_width())];
        input.extend(own.then_some((Role::Key, a.k_width())));
        input.extend((own && !a.tied_values).then_some((Role::Value, a.v_width())));
        input.extend(a.gated.then_some((Role::MixedGate, a.outputs())));
        let mut input: Vec<_> = input.into_iter().map(|(role, n)| self.rows(role, index, n, a.input_bias)).collect();
        input.extend(a.head_gates.then(|| self.rows(Role::MixedGate, index, a.heads, false)));
        let matrix = self.matrix(&input, dim).await?;
        self.adapted(matrix, &input)
    }

    pub(super) async fn delta(&mut self, d: &config::Delta, index: usize, dim: u32) -> Result<Delta<B>> {
        let (keys, values) = (d.keys(), d.values());
        let mut input = vec![(Role::Query, keys), (Role::Key, keys), (Role::Value, values)];
        let gate_rank = d.gate.and_then(|gate| gate.rank);
        let gate = if gate_rank.is_some() { Role::GateLatent } else { Role::MixedGate };
        input.extend(d.gate.map(|_| (gate, d.gate_input())));
        input.push((Role::Beta, d.value_heads));
        let by_channel = matches!(d.decay, Some(config::Decay::Channel(_)));
        let decay = if by_channel { Role::DecayLatent } else { Role::Decay };
        input.extend(d.decay.map(|_| (decay, d.decay_input())));
        let input: Vec<_> = input.into_iter().map(|(role, n)| self.rows(role, index, n, false)).collect();
        let input = self.matrix(&input, dim).await?;
        let gates = match gate_rank {
            Some(rank) => Some(self.matrix(&[self.rows(Role::MixedGate, index, values, false)], rank).await?),
            None => None,
        };
        let decays = match by_channel {
            true => Some(self.matrix(&[self.rows(Role::Decay, index, d.decays(), false)], d.decay_input()).await?),
            false => None,
        };
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        // Transformers writes the convolution of OLMo-Hybrid as three tensors of as many rows, whatever keys and values have.
        let third = (2 * keys + values).div_ceil(3);
        let thirds = !self.family.is_gguf() && self.count(Role::QueryConv, index) == Some(third);
        let [k, v] = if thirds { [third, 2 * keys + values - 2 * third] } else { [keys, values] };
        for (role, rows) in [(Role::QueryConv, k), (Role::KeyConv, k), (Role::ValueConv, v)] {
            if d.window == 1 {
                weight.extend(std::iter::repeat_n(1.0, rows as usize));
                continue;
            }
            let place = self.family.weight(role, index);
            weight.extend(match place.part {
                Some(_) => self.values(&place, rows, &[1, d.window]).await?,
                // GGUF files have a dimension more, or fewer.
                None => {
                    self.shaped(&place, &[&[rows, 1, d.window], &[1, rows, 1, d.window], &[rows, d.window]]).await?
                }
            });
            if d.conv_bias {
                bias.extend(self.values(&self.family.bias(role, index), rows, &[]).await?);
            }
        }
        let weight = self.store("conv", &weight)?;
        let bias = if bias.is_empty() { None } else { Some(self.store("conv", &bias)?) };
        let decay = match d.decay {
            Some(_) => {
                let place = self.family.weight(Role::DecayRate, index);
                let shapes: [&[u32]; 3] = [&[d.value_heads], &[1, 1, d.value_heads, 1], &[d.value_heads, 1]];
                let mut rate = self.shaped(&place, &shapes).await?;
                if self.family.holds_rates(&place) {
                    rate.iter_mut().for_each(|x| *x = (-*x).ln());
                }
                let bias = self.values(&self.family.weight(Role::DecayBias, index), d.decays(), &[]).await?;
                Some((self.store("decay", &rate)?, self.store("decay", &bias)?))
            }
            None => None,
        };
        let norm = self.norm(Role::HeadNorm, index, d.norm, d.value_dim).await?;
        let output = self.matrix(&[self.rows(Role::Output, index, dim, false)], values).await?;
        Ok(Delta {
            config: d.clone(),
            input,
            conv: Conv { weight, bias },
            decay,
            expand: [gates, decays],
            norm,
            output,
        })
    }

    pub(super) async fn routing(&mut self, r: &config::Routing, index: usize, dim: u32) -> Result<Routing<B>> {
        let local = match &r.local {
            Some(a) => Some(self.attention(a, index, [dim; 2]).await?),
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
