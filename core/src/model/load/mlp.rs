//! Loads MLPs.

use super::Loader;
use crate::backend::Backend;
use crate::config;
use crate::error::{Error, Result};
use crate::model::family::Role;
use crate::model::mlp::Mlp;
use foveate_kernels::activation;

impl<B: Backend> Loader<'_, B> {
    /// An MLP by the roles of its gate, its values and its output.
    pub(super) async fn mlp(&mut self, mlp: config::Mlp, roles: [Role; 3], index: usize, dim: u32) -> Result<Mlp<B>> {
        let [gate, up, down] = roles;
        let [gate, up] = [gate, up].map(|role| self.rows(role, index, mlp.inner, mlp.bias));
        let up = if mlp.gated { self.matrix(&[gate, up], dim).await? } else { self.matrix(&[up], dim).await? };
        let plain = activation::Spec { gated: mlp.gated, ..activation::Spec::new(0, mlp.inner, mlp.kind) };
        let activation = match mlp.kind {
            activation::Kind::Xielu => self.xielu(plain, mlp.numbers, index).await?,
            _ => plain,
        };
        let norm = self.norm_if(Role::InnerNorm, index, mlp.norm, mlp.inner).await?;
        let down = self.scaled(down, index, [dim, mlp.inner], mlp.bias, mlp.scale).await?;
        Ok(Mlp { config: mlp, up, activation, norm, down })
    }

    /// xIELU with the numbers of a layer.
    pub(super) async fn xielu(
        &mut self,
        plain: activation::Spec,
        numbers: Option<[f64; 4]>,
        index: usize,
    ) -> Result<activation::Spec> {
        let mut values = numbers.unwrap_or([0.0, 0.0, 0.5, -1e-6]);
        let names = if numbers.is_none() { &["alpha_p", "alpha_n", "beta", "eps"][..] } else { &[] };
        for (value, name) in values.iter_mut().zip(names) {
            let place = self.family.number(name, index);
            // The constants are left out of some files, the learned numbers of none.
            if name.starts_with("alpha") || self.has(&place) {
                *value = self.number(&place).await?.into();
            }
        }
        let [p, n, beta, eps] = values;
        let softplus = |x: f64| if x > 30.0 { x } else { x.exp().ln_1p() };
        let (positive, negative) = (softplus(p), beta + softplus(n));
        if ![positive, negative, beta, -eps].iter().all(|x| x.is_finite() && *x >= 0.0) {
            let place = self.family.number("alpha_p", index);
            let reason = format!("xIELU with alpha_p {p}, alpha_n {n}, beta {beta} and eps {eps} is not supported");
            return Err(Error::format(place.name, reason));
        }
        Ok(activation::Spec {
            positive: positive as f32,
            negative: negative as f32,
            linear: beta as f32,
            limit: -eps as f32,
            ..plain
        })
    }
}
