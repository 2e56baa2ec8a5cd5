//! A small llama of random weights with a byte-level tokenizer and a chat template: a hub folder for tests of everything
//! around a model.

use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) const CONTEXT: u32 = 1600;
const DIM: usize = 32;
const INNER: usize = 48;
const LAYERS: usize = 2;
/// Special tokens, in front of all others.
const SPECIAL: [&str; 4] = ["<s>", "</s>", "<|user|>", "<|assistant|>"];
/// Tokens of several characters.
const MERGED: [&str; 6] = ["he", "th", "an", "the", "ing", "and"];

/// The spelling of a byte in byte-level vocabularies: printable ones as they are, others from U+0100 on.
pub(crate) fn spelling(byte: u8) -> char {
    let plain = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    match plain(byte) {
        true => byte.into(),
        false => char::from_u32(256 + (0..byte).filter(|b| !plain(*b)).count() as u32).unwrap_or('?'),
    }
}

/// Every token in the order of its id: special ones, those of ASCII, merged ones, other bytes.
fn vocabulary() -> Vec<String> {
    let (text, other): (Vec<u8>, Vec<u8>) = (0..=255).partition(|b| matches!(b, b'\n' | 32..=126));
    let special = SPECIAL.iter().chain(&["in"]).map(|s| (*s).to_owned());
    let bytes = |bytes: Vec<u8>| bytes.into_iter().map(|b| spelling(b).to_string());
    let merged = MERGED.iter().map(|s| (*s).to_owned());
    special.chain(bytes(text)).chain(merged).chain(bytes(other)).collect()
}

fn tokenizer() -> Value {
    let vocab: BTreeMap<String, usize> = vocabulary().into_iter().enumerate().map(|(id, token)| (token, id)).collect();
    let added = SPECIAL.iter().enumerate().map(|(id, content)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    });
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let merges = ["t h", "h e", "a n", "i n", "th e", "in g", "an d"];
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": Vec::from_iter(added),
        "normalizer": null, "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": merges},
    })
}

/// Numbers within -1 and 1 that are the same everywhere.
struct Numbers(u64);

impl Numbers {
    fn take(&mut self, count: usize, scale: f32) -> Vec<f32> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
        };
        (0..count).map(|_| next()).collect()
    }
}

fn weights() -> Vec<u8> {
    let (vocab, mut numbers) = (vocabulary(), Numbers(17));
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    let mut add = |name: String, shape: &[usize]| {
        let len = shape.iter().product();
        let values = match shape {
            [_] => vec![1.0; len],
            _ => numbers.take(len, 3.0 / (shape[1] as f32).sqrt()),
        };
        tensors.push((name, shape.to_vec(), values));
    };
    add("model.embed_tokens.weight".into(), &[vocab.len(), DIM]);
    for layer in 0..LAYERS {
        let mut add = |name: &str, shape: &[usize]| add(format!("model.layers.{layer}.{name}.weight"), shape);
        add("input_layernorm", &[DIM]);
        add("self_attn.q_proj", &[DIM, DIM]);
        add("self_attn.k_proj", &[DIM / 2, DIM]);
        add("self_attn.v_proj", &[DIM / 2, DIM]);
        add("self_attn.o_proj", &[DIM, DIM]);
        add("post_attention_layernorm", &[DIM]);
        add("mlp.gate_proj", &[INNER, DIM]);
        add("mlp.up_proj", &[INNER, DIM]);
        add("mlp.down_proj", &[DIM, INNER]);
    }
    add("model.norm.weight".into(), &[DIM]);
    add("lm_head.weight".into(), &[vocab.len(), DIM]);
    // It mostly speaks ASCII, with other bytes now and then.
    if let Some((_, _, head)) = tensors.last_mut() {
        for (token, row) in vocab.iter().zip(head.chunks_exact_mut(DIM)) {
            let rare = !token.is_ascii() && token != "\u{120}" && token != "\u{10a}";
            row.iter_mut().filter(|_| rare).for_each(|x| *x *= 0.5);
        }
    }
    let (mut header, mut data) = (serde_json::Map::new(), Vec::<u8>::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        values.iter().for_each(|x| data.extend(x.to_le_bytes()));
        header.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let mut header = Value::Object(header).to_string();
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// The files of the folder by their names.
pub(crate) fn files() -> [(&'static str, Vec<u8>); 4] {
    let config = json!({
        "model_type": "llama", "hidden_size": DIM, "num_hidden_layers": LAYERS, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": INNER, "vocab_size": vocabulary().len(),
        "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": false, "eos_token_id": 1,
    });
    let template = "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{{ eos_token }}{% endfor %}\
        {% if add_generation_prompt %}<|assistant|>{% endif %}";
    let settings = json!({"bos_token": "<s>", "eos_token": "</s>", "chat_template": template});
    [
        ("config.json", config.to_string().into_bytes()),
        ("tokenizer.json", tokenizer().to_string().into_bytes()),
        ("tokenizer_config.json", settings.to_string().into_bytes()),
        ("model.safetensors", weights()),
    ]
}
