//! Loads the routers of layers that run several times, and gives later steps the weights of the first.

use super::Loader;
use crate::backend::Backend;
use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::model::decoder::{FeedForward, Layer};
use crate::model::family::Role;
use crate::model::matrix::Matrix;
use crate::model::mixer::Mixer;
use crate::model::norm::Norm;
use crate::model::recursion::{HIDES, Marks, Recursion};

impl<B: Backend> Loader<'_, B> {
    pub(super) async fn recursion(&mut self, config: &Config, of: config::Recursion) -> Result<Recursion<B>> {
        let (each, steps, dim) = (of.router.each(), of.steps as usize, config.dim);
        let choices = of.choice(1).experts;
        let mut routers = Vec::new();
        for step in 0..if each { steps } else { 1 } {
            let place = self.family.weight(Role::DepthRouter, step);
            let mut values = self.values(&place, if each { 1 } else { choices }, &[dim]).await?;
            if let Some(at) = values.iter().position(|x| !x.is_finite()).filter(|_| !self.hollow) {
                return Err(Error::format(place.name, format!("element {at} is {}", values[at])));
            }
            values.iter_mut().for_each(|x| *x /= of.temperature);
            values.resize(choices as usize * dim as usize, 0.0);
            routers.push(Matrix::of_values(self.store("router", &values)?, choices, dim));
        }
        let counts = |step: usize| -> Vec<f32> {
            let counting = if each { 0 } else { step };
            (0..choices as usize).map(|choice| if choice == counting { 1.0 } else { 0.0 }).collect()
        };
        let counts = (0..steps).map(|step| self.store("steps", &counts(step))).collect::<Result<_>>()?;
        let marks = if config.has_marks() { Some(self.marks(of)?) } else { None };
        Ok(Recursion { config: of, dim: config.dim, routers, counts, marks })
    }

    fn marks(&self, of: config::Recursion) -> Result<Marks<B>> {
        let steps = if of.router.each() { 0 } else { of.steps };
        let goes_on = |step| -> Vec<f32> { (0..steps).map(|last| if step <= last { 1.0 } else { 0.0 }).collect() };
        let goes_on = (0..steps).map(|step| self.store("steps", &goes_on(step))).collect::<Result<_>>()?;
        let column = |first: f32| {
            let mut values = [0.0; config::Attention::MARK as usize];
            values[0] = first;
            self.store("marks", &values)
        };
        let mark = Matrix::of_values(column(-HIDES)?, config::Attention::MARK, 1);
        Ok(Marks { goes_on, mark: Matrix { bias: Some(column(HIDES)?), ..mark } })
    }
}

impl<B: Backend> Layer<B> {
    /// The layer of a later step with this one's weights under second handles.
    pub(super) fn again(&self, of: &config::Layer) -> Self {
        let both = |norms: &(Norm<B>, Norm<B>)| (norms.0.again(), norms.1.again());
        let (Mixer::Attention(attention), config::Mixer::Attention(a)) = (&self.mixer, &of.mixer) else {
            unreachable!("layers of a recursion are of attention")
        };
        let FeedForward::Mlp(mlp) = &self.mlp else { unreachable!("layers of a recursion have an MLP") };
        Self {
            input_norm: self.input_norm.as_ref().map(Norm::again),
            mixer: Mixer::Attention(attention.reading(a)),
            post_norm: self.post_norm.as_ref().map(Norm::again),
            mlp: FeedForward::Mlp(mlp.again()),
            branch_norms: self.branch_norms.as_ref().map(both),
            sum_norms: self.sum_norms.as_ref().map(both),
            parallel: self.parallel,
            per_layer: None,
            factor: self.factor,
            updates: None,
            low_rank: None,
            shift: None,
        }
    }
}
