//! What must hold whatever the bytes are. Each function is the body of the fuzz target of its name.

mod ops;
pub use ops::ops;

use foveate_core::Error;
use foveate_core::cache::Saved;
use foveate_core::chat::{Message, Template};
use foveate_core::model::Family;
use foveate_core::tokenizer::Tokenizer;
use foveate_core::weights::{Checkpoint, Memory, shard_names};

/// A GGUF file is refused, or all its tensors can be read, and its family, tokenizer and template are refused or work.
pub fn gguf(bytes: &[u8]) {
    let file = Box::new(Memory::new("fuzz.gguf", bytes.to_vec()));
    let checkpoint = match pollster::block_on(Checkpoint::gguf(file)) {
        Ok(checkpoint) => checkpoint,
        // A part of a split model, or another kind of file, is no damage.
        Err(error) => return assert!(matches!(error, Error::Format { .. } | Error::Read { .. }), "{error:?}"),
    };
    check(&checkpoint);
    let metadata = checkpoint.gguf_metadata().expect("a gguf file has metadata");
    for (_, value) in metadata.iter() {
        if let Some(array) = value.as_array() {
            assert_eq!(array.integer(array.len()), None);
        }
    }
    if let Ok(family) = Family::from_gguf(metadata) {
        assert!(!family.config.layers.is_empty());
    }
    if let Ok(tokenizer) = Tokenizer::from_gguf(metadata) {
        tokenize(&tokenizer, "Hello, 12 w\u{f6}rlds \u{1f600}\n\n");
    }
    if let Ok(template) = Template::from_gguf(metadata) {
        render(&template);
    }
}

/// A safetensors file is refused, or all its tensors can be read. The same bytes as an index name plain files.
pub fn safetensors(bytes: &[u8]) {
    let file = Box::new(Memory::new("fuzz.safetensors", bytes.to_vec()));
    match pollster::block_on(Checkpoint::safetensors(vec![file])) {
        Ok(checkpoint) => check(&checkpoint),
        Err(error) => assert!(matches!(error, Error::Format { .. } | Error::Read { .. }), "{error:?}"),
    }
    for name in shard_names(bytes).unwrap_or_default() {
        assert!(!name.contains(['/', '\\', '\0']) && name != ".." && name != ".", "{name:?}");
    }
}

/// A saved cache is refused, or is written as it was read.
pub fn saved_cache(bytes: &[u8]) {
    match pollster::block_on(Saved::read(bytes.to_vec())) {
        Ok(saved) => {
            let written = saved.write().expect("what was read can be written");
            assert_eq!(pollster::block_on(Saved::read(written)), Ok(saved));
        }
        Err(Error::Format { .. } | Error::CacheMismatch { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
}

/// A `tokenizer.json` is refused, or encodes and decodes.
pub fn tokenizer_json(bytes: &[u8]) {
    match Tokenizer::from_json(bytes) {
        Ok(tokenizer) => tokenize(&tokenizer, "ab 12 \u{f6}\n"),
        Err(error) => assert!(matches!(error, Error::Tokenizer { .. }), "{error:?}"),
    }
}

/// A chat template is refused, fails, or ends with a prompt of bounded size.
pub fn chat_template(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    match Template::from_source(source, Some("<s>"), None) {
        Ok(template) => render(&template),
        Err(error) => assert!(matches!(error, Error::Template { .. }), "{error:?}"),
    }
}

fn check(checkpoint: &Checkpoint) {
    for tensor in checkpoint.tensors() {
        let read = pollster::block_on(checkpoint.read(tensor, 0, tensor.bytes)).expect("tensors are inside the file");
        let (shared, range) = checkpoint.shared(tensor).expect("the file is in memory");
        assert_eq!(read, &(*shared).as_ref()[range]);
        if let Ok(dtype) = tensor.dtype() {
            assert_eq!(dtype.bytes(tensor.elements()), Some(tensor.bytes));
        }
    }
    assert!(checkpoint.names().is_sorted());
}

fn tokenize(tokenizer: &Tokenizer, text: &str) {
    let Ok(ids) = tokenizer.encode(text, true) else { return };
    let mut stream = tokenizer.stream(false);
    for &id in ids.iter().chain(&[0, 1, u32::MAX]) {
        stream.push(id);
    }
    stream.finish();
    let _ = tokenizer.decode(&ids, true);
}

fn render(template: &Template) {
    let messages = [Message::new("system", "be kind"), Message::new("user", "hi"), Message::new("assistant", "")];
    match template.render(&messages, true) {
        Ok(text) => assert!(text.len() < 200 << 20),
        Err(error) => assert!(matches!(error, Error::Template { .. }), "{error:?}"),
    }
}
