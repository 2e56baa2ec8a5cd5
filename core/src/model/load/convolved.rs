//! Loads layers of short convolutions and scans.

use super::Loader;
use super::tensors::known;
use crate::backend::Backend;
use crate::config;
use crate::error::Result;
use crate::model::delta::Conv;
use crate::model::family::{Place, Role};
use crate::model::matrix::Matrix;
use crate::model::norm::Norm;
use crate::model::scan::Scan;
use crate::model::short_conv::ShortConv;

impl<'a, B: Backend> Loader<'a, B> {
    pub(super) async fn short_conv(&mut self, c: &config::ShortConv, index: usize, dim: u32) -> Result<ShortConv<B>> {
        let input = self.matrix(&[self.rows(Role::ConvInput, index, 3 * c.channels, c.bias)], dim).await?;
        let (weight, bias) = self.conv(index, [c.channels, c.window], c.bias).await?;
        let conv = self.stored(&weight, bias.as_deref())?;
        let output = self.matrix(&[self.rows(Role::ConvOutput, index, dim, c.bias)], c.channels).await?;
        Ok(ShortConv { config: c.clone(), input, conv, output })
    }

    pub(super) async fn scan(&mut self, s: &config::Scan, index: usize, dim: u32) -> Result<Scan<B>> {
        let (inner, scales) = (s.inner(), s.scales);
        let normed = !self.family.by_tensors || self.has(&self.family.weight(Role::HeadNorm, index));
        let s = &config::Scan { norm: s.norm.filter(|_| normed), ..s.clone() };
        // What the product gives is multiplied behind it, its bias by less.
        let input = self.scaled(Role::ConvInput, index, [s.width(), dim], s.input_bias, 1.0 / scales.input).await?;
        let (mut weight, bias) = self.conv(index, [s.channels(), s.window], s.conv_bias).await?;
        let [_, values, keys, queries, _] = scales.parts;
        let rows = [(values, inner), (keys, s.keys()), (queries, s.keys())];
        let factors = rows.into_iter().flat_map(|(factor, rows)| std::iter::repeat_n(factor, rows as usize));
        for (row, factor) in weight.chunks_exact_mut(s.window as usize).zip(factors) {
            row.iter_mut().for_each(|x| *x *= scales.input * factor);
        }
        let conv = self.stored(&weight, bias.as_deref())?;
        let place = self.family.weight(Role::DecayRate, index);
        let mut rate = self.shaped(&place, &[&[s.heads], &[s.heads, 1]]).await?;
        if self.family.holds_rates(&place) {
            rate.iter_mut().for_each(|x| *x = (-*x).ln());
        }
        let offset = self.shaped(&self.family.weight(Role::DecayBias, index), &[&[s.heads]]).await?;
        let skip = self.shaped(&self.family.weight(Role::Skip, index), &[&[s.heads], &[s.heads, 1]]).await?;
        let decay = (self.store("decay", &rate)?, self.store("decay", &offset)?);
        let skip = self.store("skip", &skip)?;
        let norm = match s.norm {
            Some(norm) => {
                let groups: &[&[u32]] = &[&[inner], &[s.norm_groups, inner / s.norm_groups]];
                let mut weight = self.shaped(&self.family.weight(Role::HeadNorm, index), groups).await?;
                if !s.norm_first {
                    weight.iter_mut().for_each(|x| *x *= scales.output);
                }
                Some(Norm { config: norm, weight: self.store("norm", &weight)?, bias: None, own: true })
            }
            None => None,
        };
        let output = self.scaled(Role::ConvOutput, index, [dim, inner], s.output_bias, scales.output).await?;
        Ok(Scan { config: s.clone(), input, conv, decay, skip, norm, output })
    }

    /// A product whose bias is multiplied by `scale`.
    pub(super) async fn scaled(
        &mut self,
        role: Role,
        index: usize,
        [rows, cols]: [u32; 2],
        bias: bool,
        scale: f32,
    ) -> Result<Matrix<B>> {
        let (place, bias, rows) = self.rows(role, index, rows, bias);
        if scale == 1.0 {
            return self.matrix(&[(place, bias, rows)], cols).await;
        }
        let mut matrix = self.matrix(&[(place, None, rows)], cols).await?;
        if let Some(place) = bias {
            let mut values = self.values(&place, rows, &[]).await?;
            values.iter_mut().for_each(|x| *x *= scale);
            matrix.bias = Some(self.store("bias", &values)?);
        }
        Ok(matrix)
    }

    /// The taps of a convolution, `[channels, window]`, and its bias.
    async fn conv(
        &mut self,
        index: usize,
        [channels, window]: [u32; 2],
        bias: bool,
    ) -> Result<(Vec<f32>, Option<Vec<f32>>)> {
        let place = self.family.weight(Role::Conv, index);
        let weight = self.shaped(&place, &[&[channels, 1, window], &[channels, window]]).await?;
        let place = self.family.bias(Role::Conv, index);
        let bias = match bias && (!self.family.by_tensors || self.has(&place)) {
            true => Some(self.values(&place, channels, &[]).await?),
            false => None,
        };
        Ok((weight, bias))
    }

    fn stored(&self, weight: &[f32], bias: Option<&[f32]>) -> Result<Conv<B>> {
        let bias = bias.map(|bias| self.store("conv", bias)).transpose()?;
        Ok(Conv { weight: self.store("conv", weight)?, bias })
    }

    /// Values of a tensor that has one of these shapes; the first one is that of errors.
    pub(super) async fn shaped(&mut self, place: &Place, shapes: &[&[u32]]) -> Result<Vec<f32>> {
        let found = known(self.files, &place.name).and_then(|name| self.files.get(&name)).map(|t| t.shape.clone());
        let fits = |shape: &&&[u32]| {
            found.as_ref().is_some_and(|found| found.iter().copied().eq(shape.iter().map(|&n| u64::from(n))))
        };
        let shape = shapes.iter().find(fits).unwrap_or(&shapes[0]);
        self.values(place, shape[0], &shape[1..]).await
    }
}
