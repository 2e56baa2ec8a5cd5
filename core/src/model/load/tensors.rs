//! Reads tensors from the files into buffers of the executor.
//!
//! Queries, keys and values (gate and up likewise) become one product if their formats agree and the executor copies
//! weights anyway. On the host, files are mapped and used in place, so the matrices stay separate. Row strides and
//! operand offsets make both cases the same code.

use super::Loader;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::model::family::Place;
use crate::model::matrix::{Matrix, Part};
use crate::weights::{Checkpoint, TensorInfo};
use foveate_kernels::dtype::DType;
use foveate_kernels::quant;

/// Bytes read at a time.
const WINDOW: u64 = 4 << 20;

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

/// The name under which a checkpoint has a tensor: the one it should have, or that one without its first word, since some
/// checkpoints hold the decoder alone, without the `model.` or `transformer.` of the model around it; or one inside of a
/// model that does more than read text, or that an older version called by its family.
pub(super) fn known(files: &Checkpoint, name: &str) -> Option<String> {
    let bare = name.split_once('.').map_or(name, |(_, rest)| rest);
    let inside = [
        format!("model.language_model.{bare}"),
        format!("language_model.{name}"),
        format!("model.text_model.{bare}"),
        format!("ernie.{bare}"),
    ];
    let renamed = RENAMED.iter().filter(|(of, _)| name.contains(of)).map(|(of, to)| name.replace(of, to));
    let mut all = [name.into(), bare.into()].into_iter().chain(inside).chain(renamed);
    let found = all.find(|name: &String| files.get(name).is_some());
    // BERT's oldest files name the parts of a norm after its formula.
    let older = |end: &str, other: &str| known(files, &format!("{}{other}", name.strip_suffix(end)?));
    found.or_else(|| older("LayerNorm.weight", "LayerNorm.gamma").or_else(|| older("LayerNorm.bias", "LayerNorm.beta")))
}

/// Names under which newer files hold the norms of some hybrids, and the MLP of Kimi's first layer.
const RENAMED: [(&str, &str); 3] = [
    (".input_layernorm.", ".attention_layer_norm."),
    (".post_attention_layernorm.", ".feedforward_layer_norm."),
    (".mlp.", ".block_sparse_moe."),
];

impl<'a, B: Backend> Loader<'a, B> {
    pub(super) fn has(&self, place: &Place) -> bool {
        known(self.files, &place.name).is_some()
    }

    /// The tensor of a name and a shape, which counts as used.
    pub(super) fn find(&mut self, name: &str, shape: &[u64]) -> Result<&'a TensorInfo> {
        let tensor = self.files.require(known(self.files, name).as_deref().unwrap_or(name), shape)?;
        self.used.insert(tensor.name.clone());
        Ok(tensor)
    }

    /// True if both tensors exist, lie in memory and are equal byte by byte, so that one of them is enough. The second
    /// then counts as used.
    pub(super) fn same(&mut self, one: &Place, two: &Place) -> bool {
        let find = |place: &Place| self.files.get(&known(self.files, &place.name)?);
        let Some((one, two)) = find(one).zip(find(two)) else { return false };
        let alike = one.stored == two.stored && one.shape == two.shape;
        let shared = self.files.shared(one).zip(self.files.shared(two)).filter(|_| alike && !self.hollow);
        let Some(((a, in_a), (b, in_b))) = shared else { return false };
        let same = (*a).as_ref()[in_a] == (*b).as_ref()[in_b];
        if same {
            self.used.insert(two.name.clone());
        }
        same
    }

    /// Several matrices `[rows, cols]` that share their inputs, as one product where they can be.
    pub(super) async fn matrix(&mut self, places: &[(Place, Option<Place>, u32)], cols: u32) -> Result<Matrix<B>> {
        let mut all = Vec::new();
        for (place, _, rows) in places {
            all.push(self.rows_at(place, *rows, cols)?);
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
        let bias = match places.iter().any(|(_, bias, _)| bias.is_some()) {
            true => {
                let mut values = Vec::new();
                for (_, bias, rows) in places {
                    match bias {
                        Some(place) => values.extend(self.values(place, *rows, &[]).await?),
                        None => values.resize(values.len() + *rows as usize, 0.0),
                    }
                }
                Some(self.store("bias", &values)?)
            }
            false => None,
        };
        Ok(Matrix { parts, inputs: cols, bias, adapter: None })
    }

    /// The rows `[rows, cols]` of a place, as its file holds them.
    fn rows_at(&mut self, place: &Place, rows: u32, cols: u32) -> Result<Rows<'a>> {
        let stored = place.stored(rows);
        let shape = if place.transposed { [cols.into(), stored] } else { [stored, cols.into()] };
        let tensor = match self.stacked(place, shape) {
            Some(shape) => self.find(&place.name, &shape)?,
            None => self.find(&place.name, &shape)?,
        };
        let format = tensor.dtype()?;
        if !format.is_weight() {
            let dtype = format.name().into();
            return Err(Error::UnsupportedTensorType { tensor: tensor.name.clone(), dtype });
        }
        Ok(Rows { tensor, format, place: place.clone(), rows, cols })
    }

    /// The matrix `[rows, cols]` of a place.
    pub(super) async fn rows_of(&mut self, place: &Place, rows: u32, cols: u32) -> Result<Part<B>> {
        let all = self.rows_at(place, rows, cols)?;
        self.part_of(all).await
    }

    async fn part_of(&mut self, all: Rows<'a>) -> Result<Part<B>> {
        match self.adopt(&all) {
            Some(buffer) => {
                self.advance(all.row_bytes()? * u64::from(all.rows))?;
                Ok(Part { buffer, rows: all.rows, format: all.format })
            }
            None => self.upload(&[all]).await,
        }
    }

    /// The shape of a tensor that holds several matrices, one of which is meant.
    fn stacked(&self, place: &Place, [rows, cols]: [u64; 2]) -> Option<[u64; 3]> {
        let tensor = self.files.get(&known(self.files, &place.name)?)?;
        match (&place.part, &tensor.shape[..]) {
            (Some(_), &[count, each, width]) if count * each == rows && width == cols => Some([count, each, width]),
            _ => None,
        }
    }

    /// The matrices `[rows, cols]` of so many heads, one behind the other.
    pub(super) async fn heads_of(&mut self, place: &Place, [heads, rows, cols]: [u32; 3]) -> Result<Part<B>> {
        let tensor = self.weights_of(place, [heads, rows, cols])?;
        let all = Rows { tensor, format: tensor.dtype()?, place: place.clone(), rows: heads * rows, cols };
        self.part_of(all).await
    }

    /// The matrices `[cols, rows]` of so many heads, one behind the other, of a place that holds them `[rows, cols]`. Blocks
    /// run along the rows, so they are decoded to f32.
    pub(super) async fn transposed_heads(&mut self, place: &Place, [heads, rows, cols]: [u32; 3]) -> Result<Part<B>> {
        let all = self.rows_at(place, heads * rows, cols)?;
        let (row_bytes, mut format) = (all.row_bytes()?, all.format);
        let mut data = Vec::new();
        for (first, count) in place.runs(heads * rows).into_iter().filter(|_| !self.hollow) {
            data.extend(self.files.read(all.tensor, first * row_bytes, count * row_bytes).await?);
        }
        self.advance(row_bytes * u64::from(heads * rows))?;
        if format.block_len() > 1 {
            let mut values = vec![0.0f32; data.len() / format.block_bytes() as usize * format.block_len() as usize];
            quant::decode(format, &data, &mut values);
            (data, format) = (bytemuck::cast_slice(&values).to_vec(), DType::F32);
        }
        let (size, [rows, cols]) = (format.block_bytes() as usize, [rows, cols].map(|n| n as usize));
        let mut turned = Vec::with_capacity(data.len());
        for head in data.chunks(rows * cols * size) {
            for at in (0..cols).flat_map(|col| (0..rows).map(move |row| (row * cols + col) * size)) {
                turned.extend_from_slice(&head[at..at + size]);
            }
        }
        let count = heads * cols as u32;
        let buffer = self.backend.alloc_rows("weight", count.into(), (rows * size) as u64)?;
        self.backend.upload(&buffer, 0, &turned)?;
        Ok(Part { buffer, rows: count, format })
    }

    /// The tensor of a place and a shape, which holds weights.
    fn weights_of(&mut self, place: &Place, shape: [u32; 3]) -> Result<&'a TensorInfo> {
        let tensor = self.find(&place.name, &shape.map(u64::from))?;
        let format = tensor.dtype()?;
        if !format.is_weight() {
            let dtype = format.name().into();
            return Err(Error::UnsupportedTensorType { tensor: tensor.name.clone(), dtype });
        }
        Ok(tensor)
    }

    /// A bias of `rows` outputs, if there is one.
    pub(super) async fn bias(&mut self, place: Option<Place>, rows: u32) -> Result<Option<B::Buffer>> {
        let Some(place) = place else { return Ok(None) };
        let values = self.values(&place, rows, &[]).await?;
        self.store("bias", &values).map(Some)
    }

    /// A tensor of one number, with one dimension or none.
    pub(super) async fn number(&mut self, place: &Place) -> Result<f32> {
        let name = known(self.files, &place.name).unwrap_or_else(|| place.name.clone());
        let shape: &[u64] = match self.files.get(&name) {
            Some(tensor) if tensor.shape.is_empty() => &[],
            _ => &[1],
        };
        let tensor = self.find(&name, shape)?;
        let format = tensor.dtype()?;
        if !format.is_weight() || format.block_len() != 1 {
            let dtype = format.name().into();
            return Err(Error::UnsupportedTensorType { tensor: tensor.name.clone(), dtype });
        }
        let data = self.files.read(tensor, 0, tensor.bytes).await?;
        let mut value = [0.0];
        quant::decode(format, &data, &mut value);
        self.advance(data.len() as u64)?;
        Ok(value[0])
    }

    /// The rows where they already lie, if the executor can use them there.
    fn adopt(&self, rows: &Rows<'_>) -> Option<B::Buffer> {
        if rows.place.transposed {
            return None;
        }
        let &[(first, _)] = &rows.place.runs(rows.rows)[..] else { return None };
        let (bytes, range) = self.files.shared(rows.tensor)?;
        let row_bytes = rows.row_bytes().ok()? as usize;
        let start = range.start + first as usize * row_bytes;
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
        let read = if self.hollow { &[][..] } else { all };
        for part in read {
            let bytes = row_bytes * u64::from(part.rows);
            if part.place.transposed {
                let data = self.transposed(part).await?;
                self.backend.upload(&buffer, at, &data)?;
                self.advance(bytes)?;
            } else {
                let mut to = at;
                for (first, count) in part.place.runs(part.rows) {
                    let (first, bytes, mut done) = (first * row_bytes, count * row_bytes, 0);
                    while done < bytes {
                        let take = WINDOW.min(bytes - done);
                        let data = self.files.read(part.tensor, first + done, take).await?;
                        self.backend.upload(&buffer, to + done, &data)?;
                        done += take;
                        self.advance(take)?;
                    }
                    to += bytes;
                }
            }
            at += bytes;
        }
        Ok(Part { buffer, rows, format: all[0].format })
    }

    /// A part of a `[in, out]` tensor as `[out, in]` rows. Blocks run along `in` only in the other order, so this is for
    /// formats of single elements.
    async fn transposed(&mut self, rows: &Rows<'_>) -> Result<Vec<u8>> {
        let size = rows.format.block_bytes() as usize;
        if rows.format.block_len() != 1 {
            let dtype = format!("{} [in, out]", rows.format);
            return Err(Error::UnsupportedTensorType { tensor: rows.tensor.name.clone(), dtype });
        }
        let stored = self.files.read(rows.tensor, 0, rows.tensor.bytes).await?;
        let all = rows.place.stored(rows.rows) as usize;
        let runs = rows.place.runs(rows.rows);
        let (rows, cols) = (rows.rows as usize, rows.cols as usize);
        let mut out = Vec::with_capacity(rows * cols * size);
        for n in runs.into_iter().flat_map(|(first, count)| first as usize..(first + count) as usize) {
            for k in 0..cols {
                out.extend_from_slice(&stored[(k * all + n) * size..][..size]);
            }
        }
        Ok(out)
    }

    /// Values in f32, of `rows` outputs with a shape of `each`.
    pub(in crate::model) async fn values(&mut self, place: &Place, rows: u32, each: &[u32]) -> Result<Vec<f32>> {
        let shape: Vec<u64> = [place.stored(rows)].into_iter().chain(each.iter().map(|&n| n.into())).collect();
        let tensor = self.find(&place.name, &shape)?;
        let format = tensor.dtype()?;
        if !format.is_weight() || format.block_len() != 1 {
            let dtype = format.name().into();
            return Err(Error::UnsupportedTensorType { tensor: tensor.name.clone(), dtype });
        }
        let size = u64::from(format.block_bytes()) * each.iter().map(|&n| u64::from(n)).product::<u64>();
        let mut data = Vec::new();
        for (first, count) in place.runs(rows) {
            data.extend(self.files.read(tensor, first * size, count * size).await?);
        }
        let mut values = vec![0.0; data.len() / format.block_bytes() as usize];
        quant::decode(format, &data, &mut values);
        self.advance(data.len() as u64)?;
        Ok(values)
    }

    pub(super) fn store(&self, label: &'static str, values: &[f32]) -> Result<B::Buffer> {
        let buffer = self.backend.alloc(label, values.len() as u64 * 4)?;
        self.backend.upload(&buffer, 0, bytemuck::cast_slice(values))?;
        Ok(buffer)
    }

    pub(super) fn advance(&mut self, bytes: u64) -> Result<()> {
        self.progress.bytes += bytes;
        (self.report)(self.progress)
    }
}
