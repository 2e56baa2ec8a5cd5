//! The real SmolLM2, against ids and prompts that transformers gave.

use std::path::PathBuf;

use foveate_core::chat::{Message, Template};
use foveate_core::tokenizer::Tokenizer;
use foveate_core::weights::{Checkpoint, Memory};
use serde_json::Value;

const MODEL: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// A file or folder of golden cases, or `None` where this machine has not got them.
pub(crate) fn cases(name: &str) -> Option<PathBuf> {
    let golden = std::env::var_os("FOVEATE_GOLDEN")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/golden").into(), PathBuf::from);
    let path = golden.join(name);
    if !path.exists() {
        assert!(std::env::var_os("REQUIRE_GOLDEN").is_none(), "{} does not exist", path.display());
        println!("ignored: {} does not exist", path.display());
        return None;
    }
    Some(path)
}

/// The model and what is expected of it, or `None` where this machine has not got them.
fn smollm2() -> Option<(Checkpoint, Value)> {
    let expected = cases("smollm2.json")?;
    let Some(models) = std::env::var_os("FOVEATE_MODELS") else {
        println!("ignored: FOVEATE_MODELS does not say where the models are");
        return None;
    };
    let bytes = std::fs::read(PathBuf::from(models).join(MODEL)).unwrap();
    let checkpoint = pollster::block_on(Checkpoint::gguf(Box::new(Memory::new(MODEL, bytes)))).unwrap();
    Some((checkpoint, serde_json::from_slice(&std::fs::read(expected).unwrap()).unwrap()))
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn smollm2_tokenizes_as_transformers_does() {
    let Some((checkpoint, expected)) = smollm2() else { return };
    let tokenizer = Tokenizer::from_gguf(checkpoint.gguf_metadata().unwrap()).unwrap();
    assert_eq!(tokenizer.vocab_size(), 49_152);
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.eot()), (Some(1), Some(2), Some(2)));
    for prompt in expected["prompts"].as_array().unwrap() {
        let text = prompt["text"].as_str().unwrap();
        let got = tokenizer.encode(text, true).unwrap();
        assert_eq!(got, ids(&prompt["ids"]), "{text}");
        assert_eq!(tokenizer.decode(&got, false).unwrap(), text);
        let greedy = ids(&prompt["greedy"]);
        assert_eq!(tokenizer.decode(&greedy, false).unwrap(), prompt["greedy_text"].as_str().unwrap());
        let mut stream = tokenizer.stream(false);
        let mut streamed: String = greedy.iter().filter_map(|id| stream.push(*id)).collect();
        streamed.extend(stream.finish());
        assert_eq!(streamed, prompt["greedy_text"].as_str().unwrap());
    }
}

#[test]
fn smollm2_tokenizes_a_licence_as_transformers_does() {
    let Some((checkpoint, expected)) = smollm2() else { return };
    let Ok(text) = std::fs::read_to_string("/usr/share/common-licenses/GPL-3") else {
        println!("ignored: this system does not ship the text of the GPL");
        return;
    };
    let tokenizer = Tokenizer::from_gguf(checkpoint.gguf_metadata().unwrap()).unwrap();
    let got = tokenizer.encode(&text, true).unwrap();
    let want = ids(&expected["loss"]["ids"]);
    assert_eq!(want.len(), 513);
    assert_eq!(got[..513], want);
    assert_eq!(tokenizer.decode(&got, false).unwrap(), text);
}

#[test]
fn smollm2_writes_a_chat_as_transformers_does() {
    let Some((checkpoint, expected)) = smollm2() else { return };
    let metadata = checkpoint.gguf_metadata().unwrap();
    let template = Template::from_gguf(metadata).unwrap();
    let rendered = template.render(&[Message::new("user", "Name three fruits.")], true).unwrap();
    assert_eq!(rendered, expected["chat"]["rendered"].as_str().unwrap());
    let tokenizer = Tokenizer::from_gguf(metadata).unwrap();
    assert_eq!(tokenizer.encode(&rendered, false).unwrap(), ids(&expected["chat"]["ids"]));
}

#[test]
fn smollm2_lists_its_tensors() {
    let Some((checkpoint, _)) = smollm2() else { return };
    assert_eq!(checkpoint.names().len(), 272);
    checkpoint.require("token_embd.weight", &[49_152, 576]).unwrap();
    checkpoint.require("blk.29.ffn_down.weight", &[576, 1536]).unwrap();
    crate::files::assert_sound(&checkpoint);
}
