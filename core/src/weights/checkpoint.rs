//! The table of a model's tensors, over one file or many.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use foveate_kernels::dtype::DType;

use super::adapters::Adapters;
use super::gguf::{self, Metadata};
use super::hollow::Hollow;
use super::made::{Made, block_recipe};
use super::safetensors;
use super::sampled::{Sampled, samples};
use super::source::{Memory, SharedBytes, Source, check_range};
use super::tensor::{Stored, TensorInfo};
use crate::error::{Error, Result, one_line};
use crate::hash::Hash;

/// The tensors of a model and the files that hold them.
pub struct Checkpoint {
    files: Vec<File>,
    /// Sorted by name, without duplicates.
    tensors: Vec<TensorInfo>,
    metadata: Option<Metadata>,
    /// The texts of `__metadata__`, over all safetensors files.
    notes: BTreeMap<String, String>,
    /// Low-rank adapters of products whose matrices these tensors are.
    pub(crate) adapters: Adapters,
}

/// What a tensor is read from.
enum File {
    Source(Box<dyn Source>),
    /// One tensor that is computed from others.
    Made(Box<Made>),
}

impl File {
    fn source(&self) -> Option<&dyn Source> {
        match self {
            Self::Source(source) => Some(&**source),
            Self::Made(_) => None,
        }
    }
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<&str> = self.files.iter().filter_map(File::source).map(|file| file.name()).collect();
        f.debug_struct("Checkpoint").field("files", &files).field("tensors", &self.tensors.len()).finish()
    }
}

impl Checkpoint {
    /// Opens one safetensors file, or all shards of a model in any order. Reads the headers.
    ///
    /// # Errors
    /// [`Error::Format`] for a damaged header or a tensor that two shards hold, and what the sources return.
    pub async fn safetensors(files: Vec<Box<dyn Source>>) -> Result<Self> {
        let (mut tensors, mut all) = (Vec::new(), BTreeMap::new());
        for (index, file) in files.iter().enumerate() {
            let (mut more, mut notes) = safetensors::read_header(file.as_ref(), index).await?;
            tensors.append(&mut more);
            all.append(&mut notes);
        }
        Ok(Checkpoint { notes: all, ..Self::new(files, tensors, None)? })
    }

    /// Opens a GGUF file. Reads its header, which holds the metadata and with it the vocabulary.
    ///
    /// # Errors
    /// [`Error::Format`] for a damaged header, [`Error::Read`] for one part of several, and what the source returns.
    pub async fn gguf(file: Box<dyn Source>) -> Result<Self> {
        Self::gguf_parts(vec![file]).await
    }

    /// Opens a GGUF model from all of its parts, in any order, as `llama-gguf-split` writes them. Reads the headers; the
    /// metadata are those of the first part.
    ///
    /// # Errors
    /// [`Error::Format`] for a damaged header and for parts that are not of one model, [`Error::Read`] that names a part
    /// that is missing, and what the sources return.
    pub async fn gguf_parts(files: Vec<Box<dyn Source>>) -> Result<Self> {
        let mut headers = Vec::new();
        for file in &files {
            headers.push(gguf::read_header(file.as_ref()).await?);
        }
        let names: Vec<&str> = files.iter().map(|file| file.name()).collect();
        let first = gguf::first_part(&names, &headers)?;
        let (mut tensors, mut metadata) = (Vec::new(), None);
        for (index, header) in headers.into_iter().enumerate() {
            tensors.extend(header.tensors.into_iter().map(|tensor| TensorInfo { file: index, ..tensor }));
            if index == first {
                metadata = Some(header.metadata);
            }
        }
        Self::new(files, tensors, metadata)?.converted()
    }

    fn new(files: Vec<Box<dyn Source>>, mut tensors: Vec<TensorInfo>, metadata: Option<Metadata>) -> Result<Self> {
        tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let file = files[pair[1].file].name();
            return Err(Error::format(file, format!("tensor {} occurs twice", one_line(&pair[0].name))));
        }
        let files = files.into_iter().map(File::Source).collect();
        Ok(Checkpoint { files, tensors, metadata, notes: BTreeMap::new(), adapters: Adapters::default() })
    }

    /// With tensors of GGUF's formats that have no kernels as tensors of ones that have.
    fn converted(self) -> Result<Self> {
        let mut all = Vec::new();
        for tensor in &self.tensors {
            let (Stored::Other(name), Some(width)) = (&tensor.stored, tensor.shape.last()) else { continue };
            if let Some((format, recipe)) = block_recipe(name, *width) {
                let inputs = vec![tensor.clone()];
                all.push(Made::new(tensor.name.clone(), format, tensor.shape.clone(), recipe, inputs)?);
            }
        }
        self.with_made(all)
    }

    /// With tensors that are computed in the place of those that they are computed from.
    ///
    /// # Errors
    /// [`Error::Format`] for a tensor that is there already, or that two others are computed from.
    pub(super) fn with_made(mut self, mut all: Vec<(TensorInfo, Made)>) -> Result<Self> {
        // In the order of the files, so that what is read in the order of tensors is read once.
        all.sort_by_key(|(tensor, _)| (tensor.file, tensor.offset));
        let inputs: Vec<&str> = all.iter().flat_map(|(_, made)| made.inputs()).map(|t| t.name.as_str()).collect();
        let used: BTreeSet<&str> = inputs.iter().copied().collect();
        if used.len() != inputs.len() {
            let twice = inputs.iter().zip(inputs.iter().skip(1)).find(|(a, b)| a == b).map_or("a tensor", |(a, _)| a);
            return Err(Error::format(one_line(twice), "two matrices are computed from it"));
        }
        self.tensors.retain(|tensor| !used.contains(tensor.name.as_str()));
        for (tensor, made) in all {
            let at = match self.tensors.binary_search_by(|t| t.name.cmp(&tensor.name)) {
                Ok(_) => return Err(Error::format(one_line(&tensor.name), "it is there quantised and plain")),
                Err(at) => at,
            };
            let file = self.files.len();
            self.tensors.insert(at, TensorInfo { file, offset: 0, ..tensor });
            self.files.push(File::Made(Box::new(made)));
        }
        Ok(self)
    }

    /// The tensors that the files hold, in the order of their names.
    fn stored(&self) -> Vec<&TensorInfo> {
        let mut all = Vec::new();
        for tensor in &self.tensors {
            match self.files.get(tensor.file) {
                Some(File::Made(made)) => all.extend(made.inputs()),
                _ => all.push(tensor),
            }
        }
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// A number that tells models apart: of the names, types and shapes of all tensors, and of bytes from the beginning,
    /// the middle and the end of each, 4096 at most.
    ///
    /// # Errors
    /// Errors of the sources.
    pub async fn fingerprint(&self) -> Result<String> {
        let mut hash = Hash::default();
        for tensor in self.stored() {
            hash.add(tensor.name.as_bytes());
            hash.add(format!("{} {:?}", tensor.stored, tensor.shape).as_bytes());
            let (starts, take) = samples(tensor.bytes);
            for start in starts {
                hash.add(&self.read(tensor, start, take).await?);
            }
        }
        self.adapters.hash(&mut hash);
        Ok(hash.text())
    }

    /// The same files, of which the bytes that [`fingerprint`](Self::fingerprint) looks at are kept as they are read.
    pub(crate) fn sampled(mut self) -> Self {
        let places: Vec<(usize, Range<u64>)> =
            self.stored().iter().map(|t| (t.file, t.offset..t.offset + t.bytes)).collect();
        for (index, file) in std::mem::take(&mut self.files).into_iter().enumerate() {
            self.files.push(match file {
                File::Source(file) => {
                    let tensors = places.iter().filter(|(of, _)| *of == index).map(|(_, range)| range.clone());
                    File::Source(Box::new(Sampled::new(file, tensors)))
                }
                made => made,
            });
        }
        self
    }

    /// The same tensors, in files that read as zeros.
    pub(super) fn hollow(&self) -> Self {
        let hollow = |file: &File| match file {
            File::Source(file) => Hollow { name: file.name().into(), len: file.len() },
            File::Made(made) => Hollow { name: made.inputs()[0].name.clone(), len: made.len() },
        };
        let files = self.files.iter().map(|file| File::Source(Box::new(hollow(file)))).collect();
        let adapters = self.adapters.clone();
        Self { files, tensors: self.tensors.clone(), metadata: None, notes: BTreeMap::new(), adapters }
    }

    /// True if all files are in memory.
    pub fn in_memory(&self) -> bool {
        self.files.iter().filter_map(File::source).all(|file| file.shared().is_some())
    }

    /// With the tensors of another checkpoint in the place of its own.
    pub(crate) fn replacing(mut self, other: Checkpoint, tensors: Vec<TensorInfo>) -> Result<Self> {
        let first = self.files.len();
        self.files.extend(other.files);
        for mut tensor in tensors {
            tensor.file += first;
            self.replace(tensor)?;
        }
        Ok(self)
    }

    /// With these values, in f32, in the place of its own.
    pub(crate) fn with_values(mut self, values: Vec<(String, Vec<u64>, Vec<f32>)>) -> Result<Self> {
        for (name, shape, values) in values {
            let bytes: Vec<u8> = bytemuck::cast_slice(&values).to_vec();
            let (file, bytes_len) = (self.files.len(), bytes.len() as u64);
            self.files.push(File::Source(Box::new(Memory::new(name.clone(), bytes))));
            self.replace(TensorInfo {
                name,
                stored: Stored::Known(DType::F32),
                shape,
                file,
                offset: 0,
                bytes: bytes_len,
            })?;
        }
        Ok(self)
    }

    fn replace(&mut self, tensor: TensorInfo) -> Result<()> {
        match self.tensors.binary_search_by(|t| t.name.cmp(&tensor.name)) {
            Ok(i) => {
                self.tensors[i] = tensor;
                Ok(())
            }
            Err(_) => Err(Error::MissingTensor { name: tensor.name, shape: tensor.shape }),
        }
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        let index = self.tensors.binary_search_by(|tensor| tensor.name.as_str().cmp(name)).ok()?;
        Some(&self.tensors[index])
    }

    /// The tensor called `name`, of exactly this shape and of a type that kernels read.
    ///
    /// # Errors
    /// [`Error::MissingTensor`], [`Error::TensorShape`], [`Error::UnsupportedTensorType`].
    pub fn require(&self, name: &str, shape: &[u64]) -> Result<&TensorInfo> {
        let tensor = self.get(name).ok_or_else(|| Error::MissingTensor { name: name.into(), shape: shape.to_vec() })?;
        if tensor.shape != shape {
            let got = tensor.shape.clone();
            return Err(Error::TensorShape { name: name.into(), expected: shape.to_vec(), got });
        }
        tensor.dtype()?;
        Ok(tensor)
    }

    /// All tensors, in the order of their names.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &TensorInfo> {
        self.tensors.iter()
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.iter().map(|tensor| tensor.name.as_str())
    }

    /// `len` bytes of a tensor from its byte `offset` on, in its storage format.
    ///
    /// # Errors
    /// [`Error::Read`] if the range leaves the tensor, and what the source returns.
    pub async fn read(&self, tensor: &TensorInfo, offset: u64, len: u64) -> Result<Vec<u8>> {
        check_range(&tensor.name, tensor.bytes, offset, len)?;
        let Some(File::Made(made)) = self.files.get(tensor.file) else {
            return self.read_stored(tensor, offset, len).await;
        };
        if let Some(bytes) = made.kept(offset, len) {
            return Ok(bytes);
        }
        let (rows, mut parts) = (made.rows_of(offset, len), Vec::new());
        if !rows.is_empty() {
            for (input, range) in made.needs(rows.clone()) {
                check_range(&input.name, input.bytes, range.start, range.end - range.start)?;
                parts.push(self.read_stored(input, range.start, range.end - range.start).await?);
            }
            return made.bytes(rows, &parts, offset, len);
        }
        Ok(Vec::new())
    }

    /// Reads from the file that holds a tensor.
    async fn read_stored(&self, tensor: &TensorInfo, offset: u64, len: u64) -> Result<Vec<u8>> {
        let file = self.file(tensor)?;
        let start = tensor.offset.checked_add(offset).ok_or_else(|| foreign(tensor))?;
        let bytes = file.read(start, len).await?;
        if bytes.len() as u64 != len {
            let reason = format!("asked for {len} bytes, got {}", bytes.len());
            return Err(Error::Read { what: file.name().into(), reason });
        }
        Ok(bytes)
    }

    /// The bytes of a tensor where its file is in memory: the file's bytes, and the tensor's range in them.
    pub fn shared(&self, tensor: &TensorInfo) -> Option<(SharedBytes, Range<usize>)> {
        let bytes = self.file(tensor).ok()?.shared()?;
        let start = usize::try_from(tensor.offset).ok()?;
        let end = start.checked_add(usize::try_from(tensor.bytes).ok()?)?;
        (end <= (*bytes).as_ref().len()).then_some((bytes, start..end))
    }

    /// The metadata of a GGUF file; `None` for safetensors.
    pub fn gguf_metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()
    }

    /// A text of a safetensors file's `__metadata__`.
    pub fn note(&self, key: &str) -> Option<&str> {
        self.notes.get(key).map(String::as_str)
    }

    fn file(&self, tensor: &TensorInfo) -> Result<&dyn Source> {
        self.files.get(tensor.file).and_then(File::source).ok_or_else(|| foreign(tensor))
    }
}

fn foreign(tensor: &TensorInfo) -> Error {
    Error::Read { what: tensor.name.clone(), reason: "it is a tensor of another checkpoint".into() }
}
