//! Loads low-rank adapters beside the matrices that they change.

use super::Loader;
use super::tensors::known;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::model::family::Place;
use crate::model::matrix::{Adapter, Matrix};
use crate::weights::adapters::Pair;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Ranks are filled up with zeros to whole vectors of the kernels.
const RANKS: u32 = 4;

/// The adapters' products that have found their place, and the sizes of the largest.
#[derive(Default)]
pub(crate) struct Adapted {
    pub(crate) used: BTreeSet<String>,
    /// Elements between the products, and outputs.
    pub(crate) sizes: [u32; 2],
}

impl<'a, B: Backend> Loader<'a, B> {
    /// Returns the matrix of these places with its adapters.
    pub(super) fn adapted(
        &mut self,
        mut matrix: Matrix<B>,
        places: &[(Place, Option<Place>, u32)],
    ) -> Result<Matrix<B>> {
        let files = self.files;
        let pairs: Vec<Vec<(String, &Pair)>> = places
            .iter()
            .map(|(place, _, _)| {
                let name = known(files, &place.name).unwrap_or_else(|| place.name.clone());
                files.adapters.of(&name)
            })
            .collect();
        if pairs.iter().all(Vec::is_empty) {
            return Ok(matrix);
        }
        let (mut inner, mut outputs, mut ranks, mut width) = (Vec::new(), Vec::new(), 0, 0);
        for ((place, _, rows), pairs) in places.iter().zip(&pairs) {
            let rank = pairs.iter().map(|(_, pair)| pair.rank).sum::<u32>().max(1).next_multiple_of(RANKS);
            let mut b = vec![0.0; (*rows * rank) as usize];
            let mut at = 0;
            for (key, pair) in pairs {
                let expected = [place.stored(*rows), matrix.inputs.into()];
                let got = [u64::from(pair.outputs), pair.inputs.into()];
                if got != expected {
                    let (expected, got) = (expected.to_vec(), got.to_vec());
                    return Err(Error::TensorShape { name: format!("{} times A", pair.name), expected, got });
                }
                inner.extend_from_slice(&pair.a);
                let own = pair.rank as usize;
                let runs = place.runs(*rows).into_iter().flat_map(|(first, count)| first..first + count);
                for (row, from) in b.chunks_mut(rank as usize).zip(runs) {
                    row[at..at + own].copy_from_slice(&pair.b[from as usize * own..][..own]);
                }
                at += own;
                self.adapted.used.insert(key.clone());
            }
            inner.resize(((ranks + rank) * matrix.inputs) as usize, 0.0);
            outputs.push(self.f32_matrix(&b, *rows, rank)?);
            ranks += rank;
            width += rows;
        }
        let inner = self.f32_matrix(&inner, ranks, matrix.inputs)?;
        matrix.adapter = Some(Arc::new(Adapter { inner, outputs }));
        let sizes = &mut self.adapted.sizes;
        *sizes = [sizes[0].max(ranks), sizes[1].max(width)];
        Ok(matrix)
    }

    fn f32_matrix(&self, values: &[f32], rows: u32, cols: u32) -> Result<Matrix<B>> {
        let buffer = self.backend.alloc_rows("adapter", rows.into(), u64::from(cols) * 4)?;
        if !self.hollow {
            self.backend.upload(&buffer, 0, bytemuck::cast_slice(values))?;
        }
        Ok(Matrix::of_values(buffer, rows, cols))
    }
}
