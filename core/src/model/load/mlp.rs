//! Loads MLPs.

use super::Loader;
use crate::backend::Backend;
use crate::config;
use crate::error::{Error, Result};
use crate::model::family::Role;
use crate::model::matrix::Matrix;
use crate::model::mlp::{Cutoff, Mlp};
use crate::model::norm::Norm;
use foveate_kernels::activation;

impl<B: Backend> Loader<'_, B> {
    /// An MLP by the roles of its gate, its values and its output.
    pub(super) async fn mlp(&mut self, mlp: config::Mlp, roles: [Role; 3], index: usize, dim: u32) -> Result<Mlp<B>> {
        let [gate, up, down] = roles;
        let [gate, up] = [gate, up].map(|role| self.rows(role, index, mlp.inner, mlp.bias));
        let up = if mlp.gated { vec![gate, up] } else { vec![up] };
        let up = {
            let matrix = self.matrix(&up, dim).await?;
            self.adapted(matrix, &up)?
        };
        let plain = activation::Spec::new(0, mlp.inner, mlp.kind).with_gated(mlp.gated);
        let activation = match mlp.kind {
            activation::Kind::Xielu => self.xielu(plain, mlp.numbers, index).await?,
            _ => plain,
        };
        let norm = self.norm_if(Role::InnerNorm, index, mlp.norm, mlp.inner).await?;
        let place = self.rows(down, index, dim, false);
        let down = self.scaled(down, index, [dim, mlp.inner], mlp.bias, mlp.scale).await?;
        let down = self.adapted(down, &[place])?;
        let cutoff = mlp.cutoff.map(|cutoff| self.cutoff(mlp.inner, cutoff)).transpose()?;
        Ok(Mlp { config: mlp, up, activation, cutoff, norm, down, adapter: None })
    }

    /// The constants that cut gates off.
    fn cutoff(&self, inner: u32, cutoff: f32) -> Result<Cutoff<B>> {
        // Equal gates have no deviation, and are cut off whatever they are divided by.
        let config = config::Norm { weight: false, ..config::Norm::layer(1e-30) };
        let filled = |value: f32| self.store("cutoff", &vec![value; inner as usize]);
        let norm = |bias| Ok::<_, Error>(Norm { config, weight: filled(1.0)?, bias, own: false });
        let mean = Matrix::of_values(filled(1.0 / inner as f32)?, 1, inner);
        Ok(Cutoff { standard: norm(None)?, above: norm(Some(filled(-cutoff)?))?, mean })
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
            let place = self.family.named(Role::Activation, name, index);
            // The constants are left out of some files, the learned numbers of none.
            if name.starts_with("alpha") || self.has(&place) {
                *value = self.number(&place).await?.into();
            }
        }
        let [p, n, beta, eps] = values;
        let softplus = |x: f64| if x > 30.0 { x } else { x.exp().ln_1p() };
        let (positive, negative) = (softplus(p), beta + softplus(n));
        if ![positive, negative, beta, -eps].iter().all(|x| x.is_finite() && *x >= 0.0) {
            let place = self.family.named(Role::Activation, "alpha_p", index);
            let reason = format!("xIELU with alpha_p {p}, alpha_n {n}, beta {beta} and eps {eps} is not supported");
            return Err(Error::format(place.name, reason));
        }
        Ok(plain
            .with_positive(positive as f32)
            .with_negative(negative as f32)
            .with_linear(beta as f32)
            .with_limit(-eps as f32))
    }
}
