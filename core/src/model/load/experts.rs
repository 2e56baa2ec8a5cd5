//! Loads mixtures of experts: the tensors of single experts, or of all of them, become one buffer `[experts, out, in]`.
//!
//! Files hold a tensor for each expert (most of the hub's), one for all (GGUF, Granite, and what newer files of Qwen hold), or
//! one for all that is `[experts, in, out]` (gpt-oss). A tensor of all experts in the order of the buffer stays where it lies,
//! if the executor can use it there.

use super::Loader;
use super::tensors::known;
use crate::backend::Backend;
use crate::config;
use crate::error::{Error, Result};
use crate::model::experts::{Apart, Experts, Stack};
use crate::model::family::{Place, Role};
use crate::weights::TensorInfo;
use foveate_kernels::dtype::DType;

/// Bytes that are gathered before they are uploaded.
const WINDOW: usize = 4 << 20;

/// Where the matrices of experts lie in the files.
enum Source<'a> {
    /// A tensor for each.
    Each(Vec<&'a TensorInfo>),
    /// One tensor, `[experts, out, in]` or `[experts, in, out]`.
    One(&'a TensorInfo),
}

/// Matrices of experts in the files.
struct Layout<'a> {
    source: Source<'a>,
    place: Place,
    format: DType,
    experts: u32,
    rows: u32,
    cols: u32,
}

impl Layout<'_> {
    fn row_bytes(&self) -> Result<u64> {
        let whole = || Error::format(self.place.name.clone(), format!("rows of {} are no whole blocks", self.cols));
        self.format.bytes(self.cols.into()).ok_or_else(whole)
    }
}

/// Uploads bytes that follow each other, whole words at a time.
struct Upload<'b, B: Backend> {
    backend: &'b B,
    buffer: &'b B::Buffer,
    at: u64,
    rest: Vec<u8>,
}

impl<B: Backend> Upload<'_, B> {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.rest.extend_from_slice(bytes);
        if self.rest.len() < WINDOW {
            return Ok(());
        }
        let whole = self.rest.len() / 4 * 4;
        self.backend.upload(self.buffer, self.at, &self.rest[..whole])?;
        self.at += whole as u64;
        self.rest.drain(..whole);
        Ok(())
    }

    fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { self.backend.upload(self.buffer, self.at, &self.rest) }
    }
}

impl<'a, B: Backend> Loader<'a, B> {
    pub(super) async fn experts(&mut self, e: &config::Experts, index: usize, dim: u32) -> Result<Experts<B>> {
        let count = e.choice.experts;
        let router = self.matrix(&[self.rows(Role::Router, index, count, e.router_bias)], dim).await?;
        let correction = match e.choice.bias {
            true => Some(self.correction(index, count).await?),
            false => None,
        };
        let inner = e.each.inner;
        let (width, latent) = match e.latent {
            Some(latent) => {
                let narrow = self.rows(Role::ExpertsIn, index, latent, e.latent_bias);
                let widen = self.rows(Role::ExpertsOut, index, dim, e.latent_bias);
                let products = (self.matrix(&[narrow], dim).await?, self.matrix(&[widen], latent).await?);
                (latent, Some(products))
            }
            None => (dim, None),
        };
        let fused = self.family.weight(Role::ExpertGateUp, index);
        let up = if e.each.gated && self.has_experts(&fused) {
            vec![self.stack(Role::ExpertGateUp, index, [count, 2 * inner, width], e.each.bias).await?]
        } else {
            let mut up = Vec::new();
            for role in [Role::ExpertGate, Role::ExpertUp].into_iter().skip(usize::from(!e.each.gated)) {
                up.push(self.stack(role, index, [count, inner, width], e.each.bias).await?);
            }
            up
        };
        let whole = self.has_experts(&self.family.weight(Role::ExpertsDown, index));
        let down = if whole { Role::ExpertsDown } else { Role::ExpertDown };
        let down = self.stack(down, index, [count, width, inner], e.each.bias).await?;
        let shared = match e.shared {
            Some(mlp) => {
                let roles = [Role::SharedGate, Role::SharedUp, Role::SharedDown];
                let mlp = self.mlp(mlp, roles, index, dim).await?;
                let gate = match e.shared_gate {
                    true => Some(self.shared_gate(index, dim).await?),
                    false => None,
                };
                Some((mlp, gate))
            }
            None => None,
        };
        let apart = match e.apart {
            Some(norm) => {
                let root = 1.0 / (dim as f32).sqrt();
                Some(Apart {
                    router: self.scaled_norm(Role::RouterNorm, index, norm, dim, root).await?,
                    input: self.norm(Role::ExpertsNorm, index, norm, dim).await?,
                    output: self.norm(Role::ExpertsOutputNorm, index, norm, dim).await?,
                    shared: self.norm(Role::SharedOutputNorm, index, norm, dim).await?,
                })
            }
            None => None,
        };
        let factors = match e.factors {
            true => {
                let factors = self.values(&self.family.weight(Role::ExpertFactor, index), count, &[]).await?;
                Some(self.store("factors", &factors)?)
            }
            false => None,
        };
        Ok(Experts { config: e.clone(), dim, router, correction, latent, up, down, shared, apart, factors })
    }

    /// The product of one output that gates the shared MLP: `[1, dim]`, or `[dim]` as GGUF files hold it.
    async fn shared_gate(&mut self, index: usize, dim: u32) -> Result<crate::model::matrix::Matrix<B>> {
        let place = self.family.weight(Role::SharedOutputGate, index);
        let flat =
            known(self.files, &place.name).and_then(|name| self.files.get(&name)).map(|t| t.shape.len()) == Some(1);
        if !flat {
            return self.matrix(&[(place, None, 1)], dim).await;
        }
        let values = self.values(&place, dim, &[]).await?;
        Ok(crate::model::matrix::Matrix::of_values(self.store("gate", &values)?, 1, dim))
    }

    /// The correction of each expert, `[experts]` or `[1, experts]`.
    async fn correction(&mut self, index: usize, experts: u32) -> Result<B::Buffer> {
        let place = self.family.weight(Role::Correction, index);
        let shape = known(self.files, &place.name).and_then(|name| self.files.get(&name)).map(|t| t.shape.clone());
        let values = match shape.as_deref() {
            Some([1, _]) => self.values(&place, 1, &[experts]).await?,
            _ => self.values(&place, experts, &[]).await?,
        };
        self.store("correction", &values)
    }

    /// True if the files have the tensors of experts that a place names.
    fn has_experts(&self, place: &Place) -> bool {
        let name = place.name.replace("{expert}", "0");
        known(self.files, &name).is_some()
    }

    /// The matrices `[rows, cols]` of all experts as one buffer.
    async fn stack(&mut self, role: Role, index: usize, size: [u32; 3], bias: bool) -> Result<Stack<B>> {
        let [experts, rows, cols] = size;
        let layout = self.layout(self.family.weight(role, index), size)?;
        let row_bytes = layout.row_bytes()?;
        let all = u64::from(experts) * u64::from(rows);
        let bytes = all.checked_mul(row_bytes).ok_or(Error::OutOfMemory { needs: u64::MAX, has: 0 })?;
        let buffer = match self.adopt_experts(&layout, bytes) {
            Some(buffer) => {
                self.advance(bytes)?;
                buffer
            }
            None => {
                let buffer = self.backend.alloc_rows("experts", all, row_bytes)?;
                self.gather(&layout, &buffer).await?;
                buffer
            }
        };
        let bias = match bias {
            true => {
                let place = self.family.bias(role, index);
                let values = self.values_of_experts(&place, experts, rows).await?;
                Some(self.store("bias", &values)?)
            }
            false => None,
        };
        Ok(Stack { buffer, rows, inputs: cols, format: layout.format, bias })
    }

    /// Finds the tensors of a place and checks their shapes.
    fn layout(&mut self, mut place: Place, [experts, rows, cols]: [u32; 3]) -> Result<Layout<'a>> {
        let stored = place.stored(rows);
        let wide: u64 = cols.into();
        if place.name.contains("{expert}") {
            let mut all: Vec<&'a TensorInfo> = Vec::new();
            let shape = if place.transposed { [wide, stored] } else { [stored, wide] };
            for e in 0..experts {
                let tensor = self.find(&place.name.replace("{expert}", &e.to_string()), &shape)?;
                if all.first().is_some_and(|first| first.stored != tensor.stored) {
                    let reason = format!("it is {}, other experts are {}", tensor.stored, all[0].stored);
                    return Err(Error::format(tensor.name.clone(), reason));
                }
                all.push(tensor);
            }
            let Some(first) = all.first() else { return Err(Error::Config { reason: "there are no experts".into() }) };
            let format = weight_format(first)?;
            return Ok(Layout { source: Source::Each(all), place, format, experts, rows, cols });
        }
        let [plain, transposed] = [[stored, wide], [wide, stored]].map(|[a, b]| [experts.into(), a, b]);
        let name = known(self.files, &place.name).unwrap_or_else(|| place.name.clone());
        let tensor = self.files.get(&name);
        let shape = tensor.map(|tensor| &tensor.shape[..]);
        // Blocks run along the inputs.
        let blocks = tensor.is_some_and(|tensor| tensor.dtype().is_ok_and(|format| format.block_len() > 1));
        if blocks {
            place.transposed = false;
        }
        if stored == wide && !blocks && self.family.either_order(&place) {
            let reason =
                format!("{shape:?} may be [experts, out, in] or [experts, in, out]: tensors of single experts tell");
            return Err(Error::format(name, reason));
        }
        if stored != wide && (shape == Some(&plain[..]) || shape == Some(&transposed[..])) {
            place.transposed = shape == Some(&transposed[..]);
        }
        let tensor = self.find(&place.name, if place.transposed { &transposed } else { &plain })?;
        let format = weight_format(tensor)?;
        Ok(Layout { source: Source::One(tensor), place, format, experts, rows, cols })
    }

    /// The tensor of all experts where it already lies, if the executor can use it there.
    fn adopt_experts(&self, layout: &Layout<'_>, bytes: u64) -> Option<B::Buffer> {
        let Source::One(tensor) = layout.source else { return None };
        let whole = layout.place.runs(layout.rows) == [(0, layout.rows.into())];
        if layout.place.transposed || !whole || layout.place.stored(layout.rows) != u64::from(layout.rows) {
            return None;
        }
        let (shared, range) = self.files.shared(tensor)?;
        (range.len() as u64 == bytes).then(|| self.backend.adopt(&shared, range))?
    }

    /// Streams the rows of every expert into a buffer.
    async fn gather(&mut self, layout: &Layout<'_>, buffer: &B::Buffer) -> Result<()> {
        if self.hollow {
            return Ok(());
        }
        let mut upload = Upload { backend: self.backend, buffer, at: 0, rest: Vec::new() };
        let stored = layout.place.stored(layout.rows);
        for e in 0..u64::from(layout.experts) {
            let (tensor, first) = match &layout.source {
                Source::Each(all) => (all[e as usize], 0),
                Source::One(tensor) => (*tensor, e * stored),
            };
            if layout.place.transposed {
                self.transpose(layout, tensor, first, &mut upload).await?;
                continue;
            }
            let row_bytes = layout.row_bytes()?;
            for (run, count) in layout.place.runs(layout.rows) {
                let (start, bytes, mut done) = ((first + run) * row_bytes, count * row_bytes, 0);
                while done < bytes {
                    let take = (WINDOW as u64).min(bytes - done);
                    upload.push(&self.files.read(tensor, start + done, take).await?)?;
                    done += take;
                }
            }
            self.advance(row_bytes * u64::from(layout.rows))?;
        }
        upload.finish()
    }

    /// The rows of one expert whose matrix is `[in, out]`, from row `first` of all experts on.
    async fn transpose(
        &mut self,
        layout: &Layout<'_>,
        tensor: &TensorInfo,
        first: u64,
        upload: &mut Upload<'_, B>,
    ) -> Result<()> {
        let size = u64::from(layout.format.block_bytes());
        if layout.format.block_len() != 1 {
            let dtype = format!("{} [in, out]", layout.format);
            return Err(Error::UnsupportedTensorType { tensor: tensor.name.clone(), dtype });
        }
        let (stored, cols) = (layout.place.stored(layout.rows), u64::from(layout.cols));
        let matrix = self.files.read(tensor, first * cols * size, stored * cols * size).await?;
        let (stored, size) = (stored as usize, size as usize);
        let mut row = Vec::with_capacity(layout.cols as usize * size);
        for (run, count) in layout.place.runs(layout.rows) {
            for n in run as usize..(run + count) as usize {
                row.clear();
                (0..layout.cols as usize)
                    .for_each(|k| row.extend_from_slice(&matrix[(k * stored + n) * size..][..size]));
                upload.push(&row)?;
            }
        }
        self.advance(u64::from(layout.rows) * cols * size as u64)
    }

    /// Values of each expert, `[experts, rows]`.
    async fn values_of_experts(&mut self, place: &Place, experts: u32, rows: u32) -> Result<Vec<f32>> {
        let stored = place.stored(rows);
        let wide = u32::try_from(stored).map_err(|_| Error::OutOfMemory { needs: u64::MAX, has: 0 })?;
        let whole = Place::plain(place.name.clone());
        let all = self.values(&whole, experts, &[wide]).await?;
        let mut values = Vec::new();
        for of in all.chunks_exact(stored as usize) {
            for (first, count) in place.runs(rows) {
                values.extend_from_slice(&of[first as usize..(first + count) as usize]);
            }
        }
        Ok(values)
    }
}

/// The format of a tensor that holds weights.
fn weight_format(tensor: &TensorInfo) -> Result<DType> {
    let format = tensor.dtype()?;
    match format.is_weight() {
        true => Ok(format),
        false => Err(Error::UnsupportedTensorType { tensor: tensor.name.clone(), dtype: format.name().into() }),
    }
}
