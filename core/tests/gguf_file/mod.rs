//! GGUF files that tests write.

use std::collections::BTreeMap;

/// A value of the metadata.
#[derive(Clone)]
#[allow(dead_code, reason = "not every test writes every kind")]
pub(crate) enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(&'static str),
    Texts(u64),
    Bools(Vec<bool>),
    F32s(Vec<f32>),
    U32s(Vec<u32>),
}

use Value::*;

impl Value {
    fn bytes(&self) -> Vec<u8> {
        let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        let typed = |kind: u32, bytes: &[u8]| [&kind.to_le_bytes()[..], bytes].concat();
        let array = |kind: u32, count: usize, bytes: Vec<u8>| {
            typed(9, &[&kind.to_le_bytes()[..], &(count as u64).to_le_bytes(), &bytes].concat())
        };
        match self {
            U32(value) => typed(4, &value.to_le_bytes()),
            F32(value) => typed(6, &value.to_le_bytes()),
            Bool(value) => typed(7, &[u8::from(*value)]),
            Text(value) => typed(8, &text(value)),
            Texts(count) => array(8, *count as usize, (0..*count).flat_map(|i| text(&format!("t{i}"))).collect()),
            U32s(all) => array(4, all.len(), all.iter().flat_map(|value| value.to_le_bytes()).collect()),
            F32s(all) => array(6, all.len(), all.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Bools(all) => array(7, all.len(), all.iter().map(|&value| u8::from(value)).collect()),
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct Gguf {
    pub(crate) entries: BTreeMap<String, Value>,
    /// Outermost dimension first.
    pub(crate) tensors: BTreeMap<String, (Vec<u64>, Vec<f32>)>,
}

impl Gguf {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        let mut bytes = [&b"GGUF"[..], &3u32.to_le_bytes()].concat();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.entries.len() as u64).to_le_bytes());
        for (key, value) in &self.entries {
            bytes.extend(text(key));
            bytes.extend(value.bytes());
        }
        let mut data: Vec<u8> = Vec::new();
        for (name, (shape, values)) in &self.tensors {
            bytes.extend(text(name));
            bytes.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|dim| bytes.extend(dim.to_le_bytes()));
            bytes.extend(0u32.to_le_bytes());
            bytes.extend((data.len() as u64).to_le_bytes());
            values.iter().for_each(|x| data.extend(x.to_le_bytes()));
            data.resize(data.len().next_multiple_of(32), 0);
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(data);
        bytes
    }
}
