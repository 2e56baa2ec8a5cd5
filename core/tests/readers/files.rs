//! Files built for the tests, and what must hold of every file that opens.

use std::sync::Arc;
use std::sync::Mutex;

use foveate_core::Result;
use foveate_core::weights::{BoxFuture, Checkpoint, Memory, SharedBytes, Source};

/// A GGUF file in parts, so that a test can spoil any of them.
#[derive(Clone)]
pub(crate) struct Gguf {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    /// Key, then type number and value as they stand in the file.
    pub(crate) entries: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) tensors: Vec<Tensor>,
    /// Written instead of the true counts.
    pub(crate) counts: Option<(u64, u64)>,
    pub(crate) alignment: usize,
    pub(crate) data: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: Vec<u8>,
    /// Innermost first, as the file has them.
    pub(crate) dims: Vec<u64>,
    pub(crate) ggml_type: u32,
    pub(crate) offset: u64,
}

pub(crate) fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

/// A string with its type number.
pub(crate) fn string_value(text: &str) -> Vec<u8> {
    [&8u32.to_le_bytes()[..], &string(text)].concat()
}

pub(crate) fn u32_value(value: u32) -> Vec<u8> {
    [4u32.to_le_bytes(), value.to_le_bytes()].concat()
}

/// An array of elements that are already encoded, with its type number.
pub(crate) fn array_value(kind: u32, elements: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = [9u32.to_le_bytes(), kind.to_le_bytes()].concat();
    bytes.extend((elements.len() as u64).to_le_bytes());
    bytes.extend(elements.concat());
    bytes
}

impl Gguf {
    /// Two entries and three tensors: f32 `[2, 3]`, q4_0 `[1, 32]`, and one of a type without kernels.
    pub(crate) fn small() -> Self {
        let tensor = |name: &str, dims: &[u64], ggml_type, offset| Tensor {
            name: name.into(),
            dims: dims.into(),
            ggml_type,
            offset,
        };
        Gguf {
            magic: *b"GGUF",
            version: 3,
            entries: vec![
                ("general.architecture".into(), string_value("llama")),
                ("nested".into(), array_value(9, &[array_value(5, &[vec![1, 0, 0, 0]])[4..].to_vec()])),
                ("tokenizer.ggml.tokens".into(), array_value(8, &[string("a"), string(""), string("\u{e9}")])),
            ],
            tensors: vec![
                tensor("a.weight", &[3, 2], 0, 0),
                tensor("b.weight", &[32, 1], 2, 32),
                tensor("c.weight", &[256], 10, 64),
            ],
            counts: None,
            alignment: 32,
            data: (0..64 + 84).map(|i| i as u8).collect(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        let (tensors, entries) = self.counts.unwrap_or((self.tensors.len() as u64, self.entries.len() as u64));
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(entries.to_le_bytes());
        for (key, value) in &self.entries {
            bytes.extend(string(key));
            bytes.extend(value);
        }
        for tensor in &self.tensors {
            bytes.extend(string(&tensor.name));
            bytes.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|dim| bytes.extend(dim.to_le_bytes()));
            bytes.extend(tensor.ggml_type.to_le_bytes());
            bytes.extend(tensor.offset.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(self.alignment.max(1)), 0);
        bytes.extend(&self.data);
        bytes
    }
}

/// A safetensors file with this header.
pub(crate) fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend((0..data).map(|i| i as u8));
    bytes
}

pub(crate) fn open_gguf(bytes: Vec<u8>) -> Result<Checkpoint> {
    pollster::block_on(Checkpoint::gguf(Box::new(Memory::new("test.gguf", bytes))))
}

pub(crate) fn open_safetensors(shards: Vec<Vec<u8>>) -> Result<Checkpoint> {
    let file = |(i, bytes)| Box::new(Memory::new(format!("{i}.safetensors"), bytes)) as Box<dyn Source>;
    pollster::block_on(Checkpoint::safetensors(shards.into_iter().enumerate().map(file).collect()))
}

/// Whatever was accepted can be read: every tensor is inside its file, and no two overlap.
pub(crate) fn assert_sound(checkpoint: &Checkpoint) {
    let mut ranges: Vec<_> = checkpoint.tensors().map(|t| (t.file, t.offset, t.offset + t.bytes)).collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        assert!(pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1, "{pair:?} overlap");
    }
    for tensor in checkpoint.tensors() {
        let bytes = pollster::block_on(checkpoint.read(tensor, 0, tensor.bytes)).unwrap();
        match checkpoint.shared(tensor) {
            Some((shared, range)) => assert_eq!(bytes, &(*shared).as_ref()[range]),
            // A tensor that is computed while it is read: its parts are those of the whole.
            None => {
                let half = tensor.bytes / 2;
                let part = pollster::block_on(checkpoint.read(tensor, half, tensor.bytes - half)).unwrap();
                assert_eq!(bytes[half as usize..], part);
            }
        }
        assert!(pollster::block_on(checkpoint.read(tensor, 1, tensor.bytes)).is_err());
        if let Ok(dtype) = tensor.dtype() {
            assert_eq!(dtype.bytes(tensor.elements()), Some(tensor.bytes));
        }
        assert!(std::ptr::eq(checkpoint.get(&tensor.name).unwrap(), tensor));
    }
}

/// A source that notes which ranges were asked for.
pub(crate) struct Watched {
    pub(crate) file: Memory,
    pub(crate) reads: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Source for Watched {
    fn name(&self) -> &str {
        self.file.name()
    }

    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read(&self, offset: u64, len: u64) -> BoxFuture<'_, Result<Vec<u8>>> {
        self.reads.lock().expect("nothing panics").push((offset, len));
        self.file.read(offset, len)
    }

    fn shared(&self) -> Option<SharedBytes> {
        None
    }
}
