//! Encoders, whose files hold no head of tokens: what counts are hidden states and vectors.

use super::{DIM, Gguf, HEAD, INNER, LAYERS, Rng, VOCAB, Value::*, outcome, plain};

pub(super) fn models() -> Vec<(&'static str, Gguf)> {
    vec![("bert", bert()), ("modern-bert", modern()), ("gemma-embedding", gemma())]
}

/// Norms and biases of everything that ends in these names.
fn add(file: &mut Gguf, rng: &mut Rng, tensors: &[(&str, u64, u64)], norms: &[&str], biases: bool) {
    for layer in 0..LAYERS {
        for (name, rows, cols) in tensors {
            file.add(rng, &format!("blk.{layer}.{name}.weight"), &[*rows, *cols]);
            if biases {
                file.add(rng, &format!("blk.{layer}.{name}.bias"), &[*rows]);
            }
        }
        for name in norms {
            file.add(rng, &format!("blk.{layer}.{name}.weight"), &[DIM]);
            if biases {
                file.add(rng, &format!("blk.{layer}.{name}.bias"), &[DIM]);
            }
        }
    }
}

fn bert() -> Gguf {
    let entries =
        [("attention.head_count", U32(2)), ("attention.layer_norm_epsilon", F32(1e-2)), ("pooling_type", U32(2))];
    let (mut file, mut rng) = (Gguf::new("bert", &entries), Rng::new(7));
    for (name, shape) in [
        ("token_embd.weight", &[VOCAB, DIM][..]),
        ("position_embd.weight", &[512, DIM]),
        ("token_types.weight", &[2, DIM]),
        ("token_embd_norm.weight", &[DIM]),
        ("token_embd_norm.bias", &[DIM]),
    ] {
        file.add(&mut rng, name, shape);
    }
    let products = [
        ("attn_q", DIM, DIM),
        ("attn_k", DIM, DIM),
        ("attn_v", DIM, DIM),
        ("attn_output", DIM, DIM),
        ("ffn_up", INNER, DIM),
        ("ffn_down", DIM, INNER),
    ];
    add(&mut file, &mut rng, &products, &["attn_output_norm", "layer_output_norm"], true);
    // A bias of keys moves all scores of a query alike.
    file.tensors.retain(|name, _| !name.ends_with("attn_k.bias"));
    file
}

fn modern() -> Gguf {
    let entries = [
        ("attention.head_count", U32(2)),
        ("attention.layer_norm_epsilon", F32(1e-2)),
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", Bools(vec![true, false])),
        ("rope.freq_base", F32(300.0)),
        ("rope.freq_base_swa", F32(50.0)),
        ("hidden_act", Text("silu")),
        ("pooling_type", U32(1)),
    ];
    let (mut file, mut rng) = (Gguf::new("modern-bert", &entries), Rng::new(8));
    for (name, shape) in
        [("token_embd.weight", &[VOCAB, DIM][..]), ("token_embd_norm.weight", &[DIM]), ("output_norm.weight", &[DIM])]
    {
        file.add(&mut rng, name, shape);
    }
    let products =
        [("attn_qkv", 3 * DIM, DIM), ("attn_output", DIM, DIM), ("ffn_up", 2 * INNER, DIM), ("ffn_down", DIM, INNER)];
    add(&mut file, &mut rng, &products, &["attn_norm", "ffn_norm"], false);
    file.tensors.remove("blk.0.attn_norm.weight");
    file
}

fn gemma() -> Gguf {
    let norms: [(&str, &[u64]); 4] = [
        ("attn_q_norm", &[HEAD]),
        ("attn_k_norm", &[HEAD]),
        ("post_attention_norm", &[DIM]),
        ("post_ffw_norm", &[DIM]),
    ];
    let entries = plain(&[
        ("attention.sliding_window", U32(8)),
        ("attention.sliding_window_pattern", Bools(vec![true, false])),
        ("rope.freq_base_swa", F32(50.0)),
        ("pooling_type", U32(3)),
        ("dense_2_feat_in", U32(DIM as u32)),
        ("dense_2_feat_out", U32(INNER as u32)),
    ]);
    let mut file = Gguf::new("gemma-embedding", &entries).layers(4, 2, HEAD, &[], &norms);
    file.entries.remove("gemma-embedding.attention.causal");
    file.tensors.remove("output.weight");
    file.with("dense_2.weight", &[INNER, DIM])
}

#[test]
fn tokens_of_encoders_see_those_behind_them() {
    for (architecture, mut file) in models() {
        let key = format!("{architecture}.attention.causal");
        let base = outcome(file.files());
        file.entries.insert(key.clone(), Bool(false));
        assert_eq!(outcome(file.files()), base);
        file.entries.insert(key, Bool(true));
        let message = outcome(file.files()).expect_err("a decoder");
        assert!(message.contains("attention.causal is true"), "{message}");
    }
}
