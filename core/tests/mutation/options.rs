//! Options whose meaning is not what their name or another family suggests. What each of them does was seen in
//! transformers, whose results small models gave with these options.

use super::folder::Folder;
use super::{Outcome, outcome};
use foveate_core::kernels::rng::Rng;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

impl Folder {
    /// The outcome with some keys changed; null takes a key away.
    fn with(&self, changes: &Value) -> Result<Outcome, String> {
        let mut config = self.config.clone();
        let object = config.as_object_mut().expect("an object");
        object.extend(changes.as_object().expect("an object").clone());
        object.retain(|_, value| !value.is_null());
        outcome(self.files(&config))
    }

    /// Adds a tensor of random numbers, or puts it in the place of one.
    fn put(&mut self, name: &str, shape: &[usize], seed: u64) {
        let values = Rng::new(seed).normals(shape.iter().product(), 0.3);
        self.put_bytes(name, shape, &values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    }

    fn put_bytes(&mut self, name: &str, shape: &[usize], values: &[u8]) {
        let file = SafeTensors::deserialize(&self.weights).expect("a file of tensors");
        let mut all = file.tensors();
        all.retain(|(other, _)| other != name);
        all.push((name.into(), TensorView::new(Dtype::F32, shape.to_vec(), values).expect("a tensor")));
        self.weights = safetensors::serialize(all, None).expect("a file");
    }
}

#[test]
fn a_rope_that_a_file_does_not_speak_of_is_that_of_the_class() {
    let llama3 = json!({"rope_type": "llama3", "rope_theta": 1e6, "factor": 16, "low_freq_factor": 1,
        "high_freq_factor": 4, "original_max_position_embeddings": 8192});
    let yarn = json!({"rope_type": "yarn", "rope_theta": 1e6, "factor": 16, "mscale": 1, "mscale_all_dim": 1,
        "original_max_position_embeddings": 16384, "llama_4_scaling_beta": 0.1});
    let plain = |theta: f64| json!({"rope_type": "default", "rope_theta": theta});
    for (name, given, other) in [
        ("cwm", llama3, plain(1e6)),
        ("ministral3", yarn, plain(1e6)),
        ("olmo_hybrid", plain(1e4), json!({"rope_type": "default", "rope_theta": null})),
    ] {
        let Some(folder) = Folder::open(&format!("families/{name}"), &json!({})) else { return };
        let [absent, given, other] =
            [json!(null), given, other].map(|rope| folder.with(&json!({"rope_parameters": rope})).expect(name));
        assert_eq!(absent, given, "{name}");
        assert_ne!(absent, other, "{name}");
    }
}

#[test]
fn windows_are_those_that_the_classes_make() {
    // What `layer_types` says counts, whatever the flag beside it.
    let Some(smollm3) = Folder::open("families/smollm3", &json!({"sliding_window": 5})) else { return };
    let types = |kind: &str| json!([kind, "full_attention", kind, "full_attention"]);
    let with = |on: bool, kind: &str| {
        smollm3.with(&json!({"use_sliding_window": on, "layer_types": types(kind)})).expect("SmolLM3")
    };
    assert_eq!(with(false, "sliding_attention"), with(true, "sliding_attention"));
    assert_ne!(with(false, "sliding_attention"), with(false, "full_attention"));
    // Half of the window on each side: 0 and 1 are the token itself.
    let Some(gemma) = Folder::open("families/embeddinggemma_lm", &json!({})) else { return };
    let with = |window: Value| gemma.with(&json!({"sliding_window": window})).expect("EmbeddingGemma");
    assert_eq!(with(json!(0)), with(json!(1)));
    assert_ne!(with(json!(0)), with(json!(2)));
    let Some(decoder) = Folder::open("families/modernbert_decoder", &json!({})) else { return };
    let with = |local: u32, window: Value| {
        decoder.with(&json!({"local_attention": local, "sliding_window": window})).expect("ModernBERT")
    };
    assert_eq!(with(16, json!(4)), with(8, json!(null)));
    assert_ne!(with(16, json!(4)), with(16, json!(8)));
}

#[test]
fn gelu_is_its_approximation_in_the_older_key_of_the_first_gemma_alone() {
    for (name, key, same) in [("gemma", "hidden_act", true), ("gemma2", "hidden_activation", false)] {
        let Some(folder) = Folder::open(&format!("families/{name}"), &json!({})) else { return };
        let [gelu, tanh] = ["gelu", "gelu_pytorch_tanh"].map(|kind| folder.with(&json!({key: kind})).expect(name));
        assert_eq!(gelu == tanh, same, "{name}");
    }
}

#[test]
fn options_that_would_count_elsewhere_are_refused_by_name() {
    let yarn = json!({"rope_type": "yarn", "rope_theta": 1e4, "factor": 4, "short_mscale": 1, "long_mscale": 1,
        "original_max_position_embeddings": 32});
    for (name, changes, word) in [
        ("qwen3_5", json!({"hidden_act": "gelu"}), "hidden_act gelu"),
        ("qwen3_next", json!({"hidden_act": "relu"}), "hidden_act relu"),
        ("olmo_hybrid", json!({"hidden_act": "gelu"}), "hidden_act gelu"),
        ("phimoe", json!({"rope_parameters": yarn}), "rope type yarn"),
        ("mistral4", json!({"head_dim": 8}), "head_dim 8"),
    ] {
        let Some(folder) = Folder::open(&format!("families/{name}"), &json!({})) else { return };
        let refused = folder.with(&changes).expect_err(name);
        assert!(refused.contains(word) && refused.contains("not supported"), "{name}: {refused}");
    }
    let Some(vlm) = Folder::open("families/u_gemma3_vlm_untied", &json!({})) else { return };
    let mut text = vlm.config["text_config"].clone();
    text["use_bidirectional_attention"] = json!(true);
    let refused = vlm.with(&json!({"text_config": text})).expect_err("both sides of a picture");
    assert!(refused.contains("use_bidirectional_attention"), "{refused}");
}

#[test]
fn an_encoder_with_a_head_of_its_own_has_a_bias_of_its_own() {
    for (name, decoder, copy) in
        [("bert", "cls.predictions.decoder", "cls.predictions.bias"), ("roberta", "lm_head.decoder", "lm_head.bias")]
    {
        let Some(mut folder) = Folder::open(&format!("families/{name}"), &json!({"tie_word_embeddings": false})) else {
            return;
        };
        folder.put(&format!("{decoder}.weight"), &[256, 64], 1);
        folder.put(&format!("{decoder}.bias"), &[256], 2);
        let base = folder.with(&json!({})).expect(name);
        folder.put(copy, &[256], 3);
        assert_eq!(folder.with(&json!({})).expect(name), base, "{name}: the bias of a tied head");
        folder.put(&format!("{decoder}.bias"), &[256], 4);
        assert_ne!(folder.with(&json!({})).expect(name), base, "{name}: the bias of the head");
    }
}

#[test]
fn biases_of_mlps_are_read_where_their_flag_is_set() {
    for (name, last) in [("cwm", "model.layers.0.mlp.down_proj.bias"), ("eurobert", "lm_head.bias")] {
        let Some(mut folder) = Folder::open(&format!("families/{name}"), &json!({"mlp_bias": true})) else { return };
        let (inner, layers) = (&folder.config["intermediate_size"], &folder.config["num_hidden_layers"]);
        let (inner, layers) = (inner.as_u64().expect("a width") as usize, layers.as_u64().expect("layers"));
        for layer in 0..layers {
            for (part, width) in [("gate", inner), ("up", inner), ("down", 64)] {
                folder.put(&format!("model.layers.{layer}.mlp.{part}_proj.bias"), &[width], layer);
            }
        }
        if name == "eurobert" {
            folder.put(last, &[256], 5);
        }
        let base = folder.with(&json!({})).expect(name);
        folder.put(last, &[if name == "eurobert" { 256 } else { 64 }], 6);
        assert_ne!(folder.with(&json!({})).expect(name), base, "{name}");
    }
}

#[test]
fn experts_read_the_stream_through_the_products_of_their_latents() {
    let Some(mut folder) = Folder::open("families/nemotron_h", &json!({})) else { return };
    let base = folder.with(&json!({})).expect("Nemotron-H");
    let layer = folder.config["layers_block_type"].as_array().expect("kinds").iter().position(|kind| kind == "moe");
    let prefix = format!("backbone.layers.{}.mixer", layer.expect("a layer with experts"));
    let names = ["fc1_latent_proj", "fc2_latent_proj"].map(|name| format!("{prefix}.{name}.weight"));
    let one: Vec<u8> = (0..64 * 64).flat_map(|i| f32::from(u8::from(i / 64 == i % 64)).to_le_bytes()).collect();
    for name in &names {
        folder.put_bytes(name, &[64, 64], &one);
    }
    // As wide as the stream, and the same.
    let (logits, ..) = folder.with(&json!({"moe_latent_size": 64})).expect("latents of the same width");
    let largest = logits.iter().zip(&base.0).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest < 1e-5, "{largest}");
    folder.put(&names[0], &[64, 64], 1);
    let (other, ..) = folder.with(&json!({"moe_latent_size": 64})).expect("other latents");
    assert!(other.iter().zip(&base.0).any(|(a, b)| (a - b).abs() > 1e-3));
    let refused = folder.with(&json!({"moe_latent_size": 32})).expect_err("experts of another width");
    assert!(refused.contains("latent_proj") || refused.contains("experts"), "{refused}");
}
