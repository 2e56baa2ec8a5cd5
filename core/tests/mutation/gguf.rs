//! GGUF files of every architecture, with settings that are none of the defaults.

mod encoders;
mod experts;

use super::gguf_file::{Gguf, Value, Value::*};
use super::{CHANGES, Change, Findings, TOKENS, outcome};
use foveate_core::Error;
use foveate_core::kernels::rng::Rng;
use foveate_core::model::{Family, Files};
use foveate_core::weights::{Checkpoint, Memory};

const DIM: u64 = 16;
const HEAD: u64 = 16;
const INNER: u64 = 24;
const VOCAB: u64 = 32;
const LAYERS: u32 = 2;

impl Value {
    /// Another value of the same type.
    fn changed(&self) -> Self {
        match self {
            // Lengths by more: what follows from them is rounded.
            U32(value) if *value >= 64 => U32(2 * value),
            U32(value) => U32(value + 2),
            F32(value) => F32(value * 1.5),
            Bool(value) => Bool(!value),
            Text("yarn") => Text("linear"),
            Text("linear") => Text("none"),
            Text("silu") => Text("gelu"),
            Text(_) => Text("other"),
            Texts(count) => Texts(count + 1),
            Bools(all) => Bools(all.iter().map(|value| !value).collect()),
            U32s(all) => U32s(all.iter().map(|value| value + 2).collect()),
            F32s(all) => F32s(all.iter().map(|value| value * 1.5).collect()),
        }
    }
}

impl Gguf {
    fn new(architecture: &'static str, entries: &[(&str, Value)]) -> Self {
        let mut file = Self::default();
        let mut set = |key: String, value: Value| file.entries.insert(key, value);
        set("general.architecture".into(), Text(architecture));
        set("general.name".into(), Text("a model"));
        set("tokenizer.ggml.tokens".into(), Texts(VOCAB));
        set("tokenizer.ggml.eos_token_id".into(), U32(1));
        for (key, value) in [("context_length", 512), ("embedding_length", DIM as u32), ("block_count", LAYERS)] {
            set(format!("{architecture}.{key}"), U32(value));
        }
        set(format!("{architecture}.feed_forward_length"), U32(INNER as u32));
        for (key, value) in entries {
            set(format!("{architecture}.{key}"), value.clone());
        }
        file
    }

    fn add(&mut self, rng: &mut Rng, name: &str, shape: &[u64]) {
        let len = shape.iter().product::<u64>() as usize;
        let values = match name {
            _ if name.contains("norm") && name.ends_with("weight") => {
                rng.normals(len, 0.3).iter().map(|x| x + 1.0).collect()
            }
            _ if name.starts_with("rope_") => rng.normals(len, 0.3).iter().map(|x| 1.0 + x.abs()).collect(),
            _ => rng.normals(len, if shape.len() == 1 { 0.5 } else { 0.4 }),
        };
        self.tensors.insert(name.into(), (shape.into(), values));
    }

    /// Llama's tensors, with biases of `biased` products.
    fn layers(mut self, heads: u64, kv_heads: u64, head: u64, biased: &[&str], more: &[(&str, &[u64])]) -> Self {
        let mut rng = Rng::new(5);
        self.add(&mut rng, "token_embd.weight", &[VOCAB, DIM]);
        self.add(&mut rng, "output_norm.weight", &[DIM]);
        self.add(&mut rng, "output.weight", &[VOCAB, DIM]);
        for layer in 0..LAYERS {
            for (name, rows, cols) in [
                ("attn_q", heads * head, DIM),
                ("attn_k", kv_heads * head, DIM),
                ("attn_v", kv_heads * head, DIM),
                ("attn_output", DIM, heads * head),
                ("ffn_gate", INNER, DIM),
                ("ffn_up", INNER, DIM),
                ("ffn_down", DIM, INNER),
            ] {
                self.add(&mut rng, &format!("blk.{layer}.{name}.weight"), &[rows, cols]);
                if biased.contains(&name) {
                    self.add(&mut rng, &format!("blk.{layer}.{name}.bias"), &[rows]);
                }
            }
            for (name, shape) in [("attn_norm", &[DIM][..]), ("ffn_norm", &[DIM])].iter().chain(more) {
                self.add(&mut rng, &format!("blk.{layer}.{name}.weight"), shape);
            }
        }
        self
    }

    fn with(mut self, name: &str, shape: &[u64]) -> Self {
        self.add(&mut Rng::new(name.len() as u64), name, shape);
        self
    }

    fn files(&self) -> Result<Files, Error> {
        let weights = pollster::block_on(Checkpoint::gguf(Box::new(Memory::new("model.gguf", self.bytes()))))?;
        let family = Family::from_gguf(weights.gguf_metadata().expect("a GGUF file has metadata"))?;
        Ok(Files { weights, family, tokenizer: None, template: None })
    }
}

/// Keys that may be changed or taken away without effect.
const DESCRIBES: &[(&str, &str)] = &[
    ("general.name", "a title"),
    ("gpt-oss.feed_forward_length", "no layer is dense"),
    ("rwkv7.attention.head_count", "there is no attention"),
    ("qwen2moe.feed_forward_length", "no layer is dense"),
    ("qwen3moe.feed_forward_length", "the tensors of dense layers tell"),
];

/// Keys that may be taken away: with the value they have here it goes without saying.
const SAYS_THE_DEFAULT: &[(&str, &str)] = &[
    ("attention.value_length", "it must be that of the keys"),
    ("attention.causal", "false is refused"),
    ("expert_gating_func", "sigmoids"),
    ("expert_weights_norm", "true"),
    ("leading_dense_block_count", "the tensors of dense layers tell"),
    ("interleave_moe_layer_step", "1, which is the same for two layers"),
    ("gpt2.attention.head_count_kv", "it must be that of the queries"),
];

/// Plain settings of a family with rotations.
fn plain(more: &[(&'static str, Value)]) -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("attention.head_count", U32(4)),
        ("attention.head_count_kv", U32(2)),
        ("attention.key_length", U32(HEAD as u32)),
        ("attention.value_length", U32(HEAD as u32)),
        ("attention.layer_norm_rms_epsilon", F32(1e-2)),
        ("attention.causal", Bool(true)),
        ("rope.freq_base", F32(300.0)),
        ("rope.dimension_count", U32(12)),
    ];
    all.extend(more.iter().cloned());
    all
}

fn models() -> Vec<(&'static str, Gguf)> {
    let all = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    let linear = [("rope.scaling.type", Text("linear")), ("rope.scaling.factor", F32(3.0))];
    let yarn = [
        ("rope.scaling.type", Text("yarn")),
        ("rope.scaling.factor", F32(3.0)),
        ("rope.scaling.original_context_length", U32(64)),
        ("rope.scaling.attn_factor", F32(1.2)),
        ("rope.scaling.yarn_log_multiplier", F32(0.5)),
        ("rope.scaling.yarn_beta_fast", F32(3.0)),
        ("rope.scaling.yarn_beta_slow", F32(0.2)),
    ];
    let long = [
        ("rope.scaling.type", Text("longrope")),
        ("rope.scaling.original_context_length", U32(TOKENS - 1)),
        ("rope.scaling.attn_factor", F32(1.2)),
    ];
    let window = [
        ("attention.sliding_window", U32(5)),
        ("attention.sliding_window_pattern", Bools(vec![true, false])),
        ("rope.freq_base_swa", F32(50.0)),
    ];
    let factors = [
        ("embedding_scale", F32(12.0)),
        ("residual_scale", F32(0.22)),
        ("logit_scale", F32(8.0)),
        ("attention.scale", F32(0.3)),
    ];
    let head_norms: [(&str, &[u64]); 2] = [("attn_q_norm", &[HEAD]), ("attn_k_norm", &[HEAD])];
    let branch_norms: [(&str, &[u64]); 4] =
        [head_norms[0], head_norms[1], ("post_attention_norm", &[DIM]), ("post_ffw_norm", &[DIM])];
    let llama = |more: &[(&'static str, Value)]| Gguf::new("llama", &plain(more)).layers(4, 2, HEAD, &[], &[]);
    vec![
        ("llama", Gguf::new("llama", &plain(&linear)).layers(4, 2, HEAD, &all, &[])),
        ("llama, partial biases", Gguf::new("llama", &plain(&[])).layers(4, 2, HEAD, &["attn_k", "ffn_up"], &[])),
        ("llama, older key", llama(&[("rope.scale_linear", F32(3.0))])),
        ("llama, divisors", llama(&[]).with("rope_freqs.weight", &[6])),
        ("llama, yarn", llama(&yarn)),
        (
            "llama, longrope",
            llama(&long).with("rope_factors_long.weight", &[6]).with("rope_factors_short.weight", &[6]),
        ),
        ("qwen2", Gguf::new("qwen2", &plain(&yarn)).layers(4, 2, HEAD, &all[..3], &[])),
        ("qwen3", Gguf::new("qwen3", &plain(&linear)).layers(4, 2, HEAD, &[], &head_norms)),
        (
            "gemma3",
            Gguf::new("gemma3", &plain(&[&linear[..], &window].concat())).layers(4, 2, HEAD, &[], &branch_norms),
        ),
        ("gpt2", gpt2()),
        ("granite", Gguf::new("granite", &plain(&factors)).layers(4, 2, HEAD, &[], &[])),
        ("apertus", apertus(&head_norms)),
    ]
}

/// Those of dense models, and those with experts.
fn all_models() -> Vec<(&'static str, Gguf)> {
    [models(), encoders::models(), experts::models(), vec![("rwkv7", super::rwkv::gguf())]].concat()
}

/// Without gates, and with numbers of its activation for each layer.
fn apertus(head_norms: &[(&str, &[u64])]) -> Gguf {
    let mut file = Gguf::new("apertus", &plain(&[])).layers(4, 2, HEAD, &[], head_norms);
    file.tensors.retain(|name, _| !name.contains("ffn_gate"));
    for (key, values) in
        [("alpha_p", [0.7, 0.9]), ("alpha_n", [0.4, 0.3]), ("beta", [0.6, 0.7]), ("eps", [-0.5, -0.25])]
    {
        file.entries.insert(format!("xielu.{key}"), F32s(values.into()));
    }
    file
}

fn gpt2() -> Gguf {
    let entries = [
        ("attention.head_count", U32(2)),
        ("attention.head_count_kv", U32(2)),
        ("attention.layer_norm_epsilon", F32(1e-2)),
    ];
    let (mut file, mut rng) = (Gguf::new("gpt2", &entries), Rng::new(6));
    file.add(&mut rng, "token_embd.weight", &[VOCAB, DIM]);
    file.add(&mut rng, "position_embd.weight", &[512, DIM]);
    file.add(&mut rng, "output.weight", &[VOCAB, DIM]);
    let mut norms = vec!["output_norm".to_owned()];
    for layer in 0..LAYERS {
        for (name, rows, cols) in
            [("attn_qkv", 3 * DIM, DIM), ("attn_output", DIM, DIM), ("ffn_up", INNER, DIM), ("ffn_down", DIM, INNER)]
        {
            file.add(&mut rng, &format!("blk.{layer}.{name}.weight"), &[rows, cols]);
            file.add(&mut rng, &format!("blk.{layer}.{name}.bias"), &[rows]);
        }
        norms.extend([format!("blk.{layer}.attn_norm"), format!("blk.{layer}.ffn_norm")]);
    }
    for name in norms {
        file.add(&mut rng, &format!("{name}.weight"), &[DIM]);
        file.add(&mut rng, &format!("{name}.bias"), &[DIM]);
    }
    file
}

#[test]
fn every_key_of_a_gguf_file_counts() {
    let mut findings = Findings::default();
    for (model, file) in all_models() {
        let base = outcome(file.files()).unwrap_or_else(|error| panic!("{model}: {error}"));
        for (key, value) in &file.entries {
            for change in CHANGES {
                let mut other = file.clone();
                match change {
                    Change::Changed => drop(other.entries.insert(key.clone(), value.changed())),
                    Change::Removed => drop(other.entries.remove(key)),
                    Change::Renamed => {
                        other.entries.remove(key);
                        other.entries.insert(format!("{key}_2"), value.clone());
                    }
                }
                let describes = DESCRIBES.iter().any(|(name, _)| name == key);
                let says_it = SAYS_THE_DEFAULT.iter().any(|(name, _)| key.ends_with(name));
                // A factor without a type is linear.
                let linear = key.ends_with("rope.scaling.type") && matches!(value, Text("linear"));
                let default = change == Change::Removed && (says_it || linear);
                if !describes && !default {
                    findings.judge(model, key, change, &base, outcome(other.files()));
                }
            }
        }
    }
    findings.done();
}

#[test]
fn every_tensor_of_a_gguf_file_counts() {
    let mut findings = Findings::default();
    for (model, file) in all_models() {
        let base = outcome(file.files()).unwrap_or_else(|error| panic!("{model}: {error}"));
        for (name, tensor) in &file.tensors {
            for change in CHANGES {
                // Of factors for short texts and for long ones only the latter are used by one that is long. Corrections of a
                // choice need not change it: those of folders are seen to.
                let unseen = name == "rope_factors_short.weight" || name.contains("exp_probs_b");
                if unseen && change == Change::Changed {
                    continue;
                }
                let mut other = file.clone();
                match change {
                    Change::Changed => {
                        let values = &mut other.tensors.get_mut(name).expect("it is there").1;
                        values.iter_mut().for_each(|x| *x = 1.5 * *x + 0.1);
                    }
                    Change::Removed => drop(other.tensors.remove(name)),
                    Change::Renamed => {
                        other.tensors.remove(name);
                        other.tensors.insert(format!("{name}_2"), tensor.clone());
                    }
                }
                findings.judge(model, name, change, &base, outcome(other.files()));
            }
        }
    }
    findings.done();
}

/// A message for a file with one more key or tensor, or another value.
fn refused(spoil: impl FnOnce(&mut Gguf)) -> String {
    let (_, mut file) = models().swap_remove(0);
    spoil(&mut file);
    outcome(file.files()).expect_err("it changes results")
}

#[test]
fn keys_of_metadata_that_are_not_read_are_refused_unless_they_are_off() {
    for (key, on, off) in [
        ("attention.scale", F32(1.0), F32(0.0)),
        ("attention.clamp_kqv", F32(8.0), F32(0.0)),
        ("attention.max_alibi_bias", F32(8.0), F32(0.0)),
        ("attention.value_length", U32(8), U32(16)),
        ("attention.causal", Bool(false), Bool(true)),
        ("attn_logit_softcapping", F32(50.0), F32(0.0)),
        ("final_logit_softcapping", F32(30.0), F32(0.0)),
        ("logit_scale", F32(0.5), F32(1.0)),
        ("embedding_scale", F32(12.0), F32(1.0)),
        ("residual_scale", F32(0.2), F32(1.0)),
        ("use_parallel_residual", Bool(true), Bool(false)),
        ("expert_count", U32(8), U32(0)),
        ("rope.scaling.yarn_ext_factor", F32(0.5), F32(1.0)),
        ("a_key_of_tomorrow", U32(3), U32(0)),
    ] {
        let with = |value: Value| move |file: &mut Gguf| drop(file.entries.insert(format!("llama.{key}"), value));
        let message = refused(with(on));
        let named = message.contains(key) || key == "expert_count" && message.contains("expert_used_count");
        assert!(named, "{key}: {message}");
        let (_, mut file) = models().swap_remove(0);
        let base = outcome(file.files());
        with(off)(&mut file);
        assert_eq!(outcome(file.files()), base, "{key}");
    }
    let adapter = refused(|file| drop(file.entries.insert("general.type".into(), Text("adapter"))));
    assert!(adapter.contains("general.type is adapter"), "{adapter}");
}

#[test]
fn tensors_that_have_no_place_are_refused_by_name_and_number() {
    let message = refused(|file| {
        for layer in 0..LAYERS {
            for name in ["attn_sinks", "attn_sub_norm"] {
                file.add(&mut Rng::new(1), &format!("blk.{layer}.{name}.weight"), &[4]);
            }
        }
    });
    assert!(message.contains("4 tensors") && message.contains("blk.0.attn_sinks.weight"), "{message}");
    // Divisors in a family that has none.
    let (_, qwen) = models().into_iter().find(|(name, _)| *name == "qwen3").expect("it is one of them");
    let message = outcome(qwen.with("rope_freqs.weight", &[6]).files()).expect_err("it has none");
    assert!(message.contains("rope_freqs.weight"), "{message}");
}
