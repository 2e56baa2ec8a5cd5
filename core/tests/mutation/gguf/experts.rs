//! Files with experts. All of them are chosen where nothing corrects the choice, so that every tensor counts.

use super::{DIM, Gguf, HEAD, INNER, LAYERS, Value, plain};
use Value::*;
use foveate_core::kernels::rng::Rng;

/// Elements between the products of an expert, and of the MLP that all tokens share.
const EACH: u64 = 10;
const SHARED: u64 = 14;

/// What the experts of an architecture have.
#[derive(Clone, Copy, Default)]
struct Has {
    biases: bool,
    correction: bool,
    shared: bool,
    shared_gate: bool,
    /// The norm in front of the experts has another name.
    post_norm: Option<&'static str>,
}

/// The file with experts in the place of the MLPs of its layers from `first` on.
fn with_experts(mut file: Gguf, first: u32, [experts, inner]: [u64; 2], has: Has) -> Gguf {
    let mut rng = Rng::new(9);
    for layer in 0..LAYERS {
        if let Some(name) = has.post_norm {
            let norm = file.tensors.remove(&format!("blk.{layer}.ffn_norm.weight")).expect("a norm");
            file.tensors.insert(format!("blk.{layer}.{name}.weight"), norm);
        }
        if layer < first {
            continue;
        }
        for name in ["ffn_gate", "ffn_up", "ffn_down"] {
            file.tensors.remove(&format!("blk.{layer}.{name}.weight"));
        }
        let mut add = |name: &str, shape: &[u64]| file.add(&mut rng, &format!("blk.{layer}.{name}"), shape);
        add("ffn_gate_inp.weight", &[experts, DIM]);
        for (name, rows, cols) in [("gate", inner, DIM), ("up", inner, DIM), ("down", DIM, inner)] {
            add(&format!("ffn_{name}_exps.weight"), &[experts, rows, cols]);
            if has.biases {
                add(&format!("ffn_{name}_exps.bias"), &[experts, rows]);
            }
        }
        if has.biases {
            add("ffn_gate_inp.bias", &[experts]);
            add("attn_sinks.weight", &[4]);
        }
        if has.correction {
            add("exp_probs_b.bias", &[experts]);
        }
        for (name, rows, cols) in [("gate", SHARED, DIM), ("up", SHARED, DIM), ("down", DIM, SHARED)] {
            if has.shared {
                add(&format!("ffn_{name}_shexp.weight"), &[rows, cols]);
            }
        }
        if has.shared_gate {
            add("ffn_gate_inp_shexp.weight", &[DIM]);
        }
    }
    file
}

pub(super) fn models() -> Vec<(&'static str, Gguf)> {
    let file =
        |architecture: &'static str, more: &[(&'static str, Value)], biased: &[&str], norms: &[(&str, &[u64])]| {
            Gguf::new(architecture, &plain(more)).layers(4, 2, HEAD, biased, norms)
        };
    let count = |experts: u32, chosen| [("expert_count", U32(experts)), ("expert_used_count", U32(chosen))];
    let each = [("expert_feed_forward_length", U32(EACH as u32))];
    let shares = [("expert_shared_feed_forward_length", U32(SHARED as u32))];
    let head_norms: [(&str, &[u64]); 2] = [("attn_q_norm", &[HEAD]), ("attn_k_norm", &[HEAD])];
    let wide_norms: [(&str, &[u64]); 2] = [("attn_q_norm", &[4 * HEAD]), ("attn_k_norm", &[2 * HEAD])];
    let shared = Has { shared: true, ..Has::default() };
    let corrected = Has { correction: true, ..shared };
    let qkv = ["attn_q", "attn_k", "attn_v"];
    let all = ["attn_q", "attn_k", "attn_v", "attn_output"];
    let glm = [
        ("leading_dense_block_count", U32(1)),
        ("expert_gating_func", U32(2)),
        ("expert_weights_norm", Bool(true)),
        ("expert_weights_scale", F32(1.5)),
    ];
    let ernie = [("leading_dense_block_count", U32(1)), ("interleave_moe_layer_step", U32(2))];
    let granite = [
        ("embedding_scale", F32(3.0)),
        ("residual_scale", F32(0.5)),
        ("logit_scale", F32(2.0)),
        ("attention.scale", F32(0.2)),
    ];
    let yarn = [
        ("attention.sliding_window", U32(5)),
        ("rope.scaling.type", Text("yarn")),
        ("rope.scaling.factor", F32(3.0)),
        ("rope.scaling.original_context_length", U32(64)),
    ];
    let shared_and_gated = Has { shared_gate: true, ..shared };
    let oss = Has { biases: true, post_norm: Some("post_attention_norm"), ..Has::default() };
    let glm_has = Has { post_norm: Some("post_attention_norm"), ..corrected };
    vec![
        ("mixtral", with_experts(file("llama", &count(3, 3), &[], &[]), 0, [3, INNER], Has::default())),
        (
            "qwen2moe",
            with_experts(
                file("qwen2moe", &[&count(3, 3)[..], &each, &shares].concat(), &qkv, &[]),
                0,
                [3, EACH],
                shared_and_gated,
            ),
        ),
        (
            "qwen3moe",
            with_experts(
                file("qwen3moe", &[&count(3, 3)[..], &each].concat(), &[], &head_norms),
                1,
                [3, EACH],
                Has::default(),
            ),
        ),
        ("olmoe", with_experts(file("olmoe", &count(3, 3), &[], &wide_norms), 0, [3, INNER], Has::default())),
        (
            "granitemoe",
            with_experts(
                file("granitemoe", &[&count(3, 3)[..], &granite, &shares].concat(), &[], &[]),
                0,
                [3, INNER],
                shared,
            ),
        ),
        (
            "glm4moe",
            with_experts(
                file("glm4moe", &[&count(3, 2)[..], &each, &shares, &glm].concat(), &qkv, &head_norms),
                1,
                [3, EACH],
                glm_has,
            ),
        ),
        (
            "ernie4_5-moe",
            with_experts(
                file("ernie4_5-moe", &[&count(3, 2)[..], &each, &shares, &ernie].concat(), &[], &[]),
                1,
                [3, EACH],
                corrected,
            ),
        ),
        (
            "hunyuan-moe",
            with_experts(
                file("hunyuan-moe", &[&count(3, 3)[..], &shares].concat(), &[], &head_norms),
                0,
                [3, INNER],
                shared,
            ),
        ),
        (
            "gpt-oss",
            with_experts(file("gpt-oss", &[&count(3, 3)[..], &each, &yarn].concat(), &all, &[]), 0, [3, EACH], oss),
        ),
    ]
}
