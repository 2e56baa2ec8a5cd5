//! Weights from files into an executor's memory.

use super::config::{Config, Mixer, Norm as NormConfig};
use super::decoder::{Attention, Decoder, Layer, Matrix, Mlp, Norm, Part};
use super::family::{Family, Place, Role};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::weights::{Checkpoint, TensorInfo};
use foveate_kernels::dtype::DType;
use foveate_kernels::quant;

/// Bytes read at a time.
const WINDOW: u64 = 4 << 20;

/// How far loading has come, in bytes of weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    pub bytes: u64,
    pub of: u64,
}

/// Reads weights of one model into one executor.
pub(super) struct Loader<'a, B: Backend> {
    pub(super) backend: &'a B,
    pub(super) files: &'a Checkpoint,
    pub(super) family: &'a Family,
    /// Told after every window; an error ends the loading.
    pub(super) report: &'a mut dyn FnMut(Progress) -> Result<()>,
    pub(super) progress: Progress,
}

/// Rows of a matrix as a file holds them.
struct Rows<'a> {
    tensor: &'a TensorInfo,
    format: DType,
    place: Place,
    rows: u32,
    cols: u32,
}

impl Rows<'_> {
    fn row_bytes(&self) -> Result<u64> {
        let whole = || Error::format(self.tensor.name.clone(), format!("rows of {} are no whole blocks", self.cols));
        self.format.bytes(self.cols.into()).ok_or_else(whole)
    }
}

/// A tensor by its name, or by that name without its first word: some checkpoints hold the decoder alone, without the
/// `model.` or `transformer.` of the model around it.
fn find<'a>(files: &'a Checkpoint, name: &str, shape: &[u64]) -> Result<&'a TensorInfo> {
    let bare = name.split_once('.').map(|(_, rest)| rest).filter(|rest| files.get(rest).is_some());
    files.require(if files.get(name).is_some() { name } else { bare.unwrap_or(name) }, shape)
}

impl<'a, B: Backend> Loader<'a, B> {
    pub(super) async fn decoder(mut self) -> Result<Decoder<B>> {
        let family = self.family;
        let config = &family.config;
        self.progress.of = self.files.tensors().map(|t| t.bytes).sum();
        let embedding = self.matrix(&[(family.weight(Role::Embedding, 0), None, config.vocab)], config.dim).await?;
        let positions = match config.learned_positions {
            true => Some(self.matrix(&[(family.weight(Role::Positions, 0), None, config.context)], config.dim).await?),
            false => None,
        };
        let mut layers = Vec::new();
        for index in 0..config.layers.len() {
            layers.push(self.layer(config, index).await?);
        }
        let final_norm = self.norm(Role::FinalNorm, 0, config.final_norm, config.dim).await?;
        let head = family.weight(Role::Head, 0);
        let tied = config.tied.unwrap_or_else(|| self.files.get(&head.name).is_none());
        let head =
            if tied { embedding.share() } else { self.matrix(&[(head, None, config.vocab)], config.dim).await? };
        self.backend.submit()?;
        Ok(Decoder { config: config.clone(), embedding, positions, layers, final_norm, head })
    }

    async fn layer(&mut self, config: &Config, index: usize) -> Result<Layer<B>> {
        let family = self.family;
        let Mixer::Attention(a) = &config.layers[index].mixer;
        let (layer, dim) = (&config.layers[index], config.dim);
        let weight =
            |role, rows, bias: bool| (family.weight(role, index), bias.then(|| family.bias(role, index)), rows);
        let input_norm = self.norm(Role::InputNorm, index, layer.input_norm, dim).await?;
        let (q, kv) = (a.heads * a.dim, a.kv_width());
        let input = [
            weight(Role::Query, q, a.input_bias),
            weight(Role::Key, kv, a.input_bias),
            weight(Role::Value, kv, a.input_bias),
        ];
        let input = self.matrix(&input, dim).await?;
        let head_norms = match a.head_norm {
            Some(norm) => Some((
                self.norm(Role::QueryNorm, index, norm, a.dim).await?,
                self.norm(Role::KeyNorm, index, norm, a.dim).await?,
            )),
            None => None,
        };
        let output = self.matrix(&[weight(Role::Output, dim, a.output_bias)], q).await?;
        let post_norm = self.norm(Role::PostNorm, index, layer.post_norm, dim).await?;
        let mlp = layer.mlp;
        let (gate, up) = (weight(Role::Gate, mlp.inner, mlp.bias), weight(Role::Up, mlp.inner, mlp.bias));
        let up = if mlp.gated { self.matrix(&[gate, up], dim).await? } else { self.matrix(&[up], dim).await? };
        let down = self.matrix(&[weight(Role::Down, dim, mlp.bias)], mlp.inner).await?;
        let branch_norms = match layer.branch_norm {
            Some(norm) => Some((
                self.norm(Role::MixedNorm, index, norm, dim).await?,
                self.norm(Role::MlpNorm, index, norm, dim).await?,
            )),
            None => None,
        };
        let attention = Attention { input, head_norms, output };
        Ok(Layer { input_norm, attention, post_norm, mlp: Mlp { up, down }, branch_norms })
    }

    /// Several matrices `[rows, cols]` that share their inputs, as one product where they can be.
    async fn matrix(&mut self, places: &[(Place, Option<Place>, u32)], cols: u32) -> Result<Matrix<B>> {
        let files = self.files;
        let mut all = Vec::new();
        for (place, _, rows) in places {
            let stored = place.part.as_ref().map_or(u64::from(*rows), |(_, all)| *all);
            let shape = if place.transposed { [cols.into(), stored] } else { [stored, cols.into()] };
            let tensor = find(files, &place.name, &shape)?;
            let format = tensor.dtype()?;
            if !format.is_weight() {
                let dtype = format.name().into();
                return Err(Error::UnsupportedTensorType { tensor: tensor.name.clone(), dtype });
            }
            all.push(Rows { tensor, format, place: place.clone(), rows: *rows, cols });
        }
        let mut parts = Vec::new();
        let adopted: Option<Vec<_>> = all.iter().map(|rows| self.adopt(rows)).collect();
        if let Some(buffers) = adopted {
            for (rows, buffer) in all.iter().zip(buffers) {
                parts.push(Part { buffer, rows: rows.rows, format: rows.format });
                self.advance(rows.row_bytes()? * u64::from(rows.rows))?;
            }
        } else if all.windows(2).all(|w| w[0].format == w[1].format) && self.fusable(&all)? {
            parts.push(self.upload(&all).await?);
        } else {
            for rows in &all {
                parts.push(self.upload(std::slice::from_ref(rows)).await?);
            }
        }
        let biases: Option<Vec<_>> = places.iter().map(|(_, bias, rows)| bias.clone().map(|b| (b, *rows))).collect();
        let bias = match biases {
            Some(biases) => {
                let mut values = Vec::new();
                for (place, rows) in biases {
                    values.extend(self.vector(&place, rows).await?);
                }
                Some(self.store("bias", &values)?)
            }
            None => None,
        };
        Ok(Matrix { parts, inputs: cols, bias })
    }

    /// The rows where they already lie, if the executor can use them there.
    fn adopt(&self, rows: &Rows<'_>) -> Option<B::Buffer> {
        if rows.place.transposed {
            return None;
        }
        let (bytes, range) = self.files.shared(rows.tensor)?;
        let row_bytes = rows.row_bytes().ok()? as usize;
        let first = rows.place.part.as_ref().map_or(0, |(part, _)| part.start as usize);
        let start = range.start + first * row_bytes;
        self.backend.adopt(&bytes, start..start + rows.rows as usize * row_bytes)
    }

    /// Matrices of one format follow each other in one buffer if each begins at a whole word.
    fn fusable(&self, all: &[Rows<'_>]) -> Result<bool> {
        for rows in all {
            if !(rows.row_bytes()? * u64::from(rows.rows)).is_multiple_of(4) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Streams matrices of one format into one buffer.
    async fn upload(&mut self, all: &[Rows<'_>]) -> Result<Part<B>> {
        let row_bytes = all[0].row_bytes()?;
        let rows: u32 = all.iter().map(|r| r.rows).sum();
        let buffer = self.backend.alloc_rows("weight", rows.into(), row_bytes)?;
        let mut at = 0;
        for part in all {
            let bytes = row_bytes * u64::from(part.rows);
            if part.place.transposed {
                let data = self.transposed(part).await?;
                self.backend.upload(&buffer, at, &data)?;
                self.advance(bytes)?;
            } else {
                let first = part.place.part.as_ref().map_or(0, |(range, _)| range.start * row_bytes);
                let mut done = 0;
                while done < bytes {
                    let take = WINDOW.min(bytes - done);
                    let data = self.files.read(part.tensor, first + done, take).await?;
                    self.backend.upload(&buffer, at + done, &data)?;
                    done += take;
                    self.advance(take)?;
                }
            }
            at += bytes;
        }
        Ok(Part { buffer, rows, format: all[0].format })
    }

    /// A part of a `[in, out]` tensor as `[out, in]` rows. Blocks run along `in` only in the other order, so this is for
    /// formats of single elements.
    async fn transposed(&self, rows: &Rows<'_>) -> Result<Vec<u8>> {
        let size = rows.format.block_bytes() as usize;
        if rows.format.block_len() != 1 {
            let dtype = format!("{} [in, out]", rows.format);
            return Err(Error::UnsupportedTensorType { tensor: rows.tensor.name.clone(), dtype });
        }
        let stored = self.files.read(rows.tensor, 0, rows.tensor.bytes).await?;
        let all = rows.place.part.as_ref().map_or(rows.rows as usize, |(_, all)| *all as usize);
        let first = rows.place.part.as_ref().map_or(0, |(part, _)| part.start as usize);
        let (rows, cols) = (rows.rows as usize, rows.cols as usize);
        let mut out = Vec::with_capacity(rows * cols * size);
        for n in first..first + rows {
            for k in 0..cols {
                out.extend_from_slice(&stored[(k * all + n) * size..][..size]);
            }
        }
        Ok(out)
    }

    async fn norm(&mut self, role: Role, layer: usize, norm: NormConfig, dim: u32) -> Result<Norm<B>> {
        let weight = self.vector(&self.family.weight(role, layer), dim).await?;
        let weight = self.store("norm", &weight)?;
        let bias = match norm.bias {
            true => {
                let bias = self.vector(&self.family.bias(role, layer), dim).await?;
                Some(self.store("norm", &bias)?)
            }
            false => None,
        };
        Ok(Norm { weight, bias })
    }

    /// A vector in f32.
    async fn vector(&mut self, place: &Place, len: u32) -> Result<Vec<f32>> {
        let stored = place.part.as_ref().map_or(u64::from(len), |(_, all)| *all);
        let tensor = find(self.files, &place.name, &[stored])?;
        let format = tensor.dtype()?;
        if !format.is_weight() || format.block_len() != 1 {
            let dtype = format.name().into();
            return Err(Error::UnsupportedTensorType { tensor: tensor.name.clone(), dtype });
        }
        let size = u64::from(format.block_bytes());
        let first = place.part.as_ref().map_or(0, |(part, _)| part.start);
        let data = self.files.read(tensor, first * size, u64::from(len) * size).await?;
        let mut values = vec![0.0; len as usize];
        quant::decode(format, &data, &mut values);
        self.advance(u64::from(len) * size)?;
        Ok(values)
    }

    fn store(&self, label: &'static str, values: &[f32]) -> Result<B::Buffer> {
        let buffer = self.backend.alloc(label, values.len() as u64 * 4)?;
        self.backend.upload(&buffer, 0, bytemuck::cast_slice(values))?;
        Ok(buffer)
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.progress.bytes += bytes;
        (self.report)(self.progress)
    }
}
