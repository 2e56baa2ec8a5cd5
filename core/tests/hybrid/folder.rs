//! Small folders of random weights, in the layouts that others save.

use foveate_core::Error;
use foveate_core::model::{Family, Files};
use foveate_core::weights::{Checkpoint, Memory, Source};
use foveate_kernels::rng::Rng;
use std::collections::BTreeMap;

pub(crate) const VOCAB: usize = 48;
pub(crate) const DIM: usize = 32;
pub(crate) const INNER: usize = 40;
pub(crate) const LAYERS: usize = 2;

/// A gated delta rule as Qwen3.5 has it.
const LINEAR: &[(&str, &[usize])] = &[
    ("linear_attn.in_proj_qkv.weight", &[52, DIM]),
    ("linear_attn.in_proj_z.weight", &[36, DIM]),
    ("linear_attn.in_proj_b.weight", &[3, DIM]),
    ("linear_attn.in_proj_a.weight", &[3, DIM]),
    ("linear_attn.conv1d.weight", &[52, 1, 4]),
    ("linear_attn.A_log", &[3]),
    ("linear_attn.dt_bias", &[3]),
    ("linear_attn.norm.weight", &[12]),
    ("linear_attn.out_proj.weight", &[DIM, 36]),
];

/// Its attention: queries with gates of two heads, which share one of keys.
const FULL: &[(&str, &[usize])] = &[
    ("self_attn.q_proj.weight", &[64, DIM]),
    ("self_attn.k_proj.weight", &[16, DIM]),
    ("self_attn.v_proj.weight", &[16, DIM]),
    ("self_attn.q_norm.weight", &[16]),
    ("self_attn.k_norm.weight", &[16]),
    ("self_attn.o_proj.weight", &[DIM, 32]),
];

/// What stands around a mixer.
const AROUND: &[(&str, &[usize])] = &[
    ("input_layernorm.weight", &[DIM]),
    ("post_attention_layernorm.weight", &[DIM]),
    ("mlp.gate_proj.weight", &[INNER, DIM]),
    ("mlp.up_proj.weight", &[INNER, DIM]),
    ("mlp.down_proj.weight", &[DIM, INNER]),
];

pub(crate) struct Folder {
    pub(crate) config: String,
    pub(crate) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Folder {
    /// `DeltaNetForCausalLM` with more or other options.
    pub(crate) fn delta_net(options: &str) -> Self {
        Self::fla("delta_net", options)
    }

    /// `GatedDeltaNetForCausalLM`.
    pub(crate) fn gated_deltanet(options: &str) -> Self {
        Self::fla("gated_deltanet", options)
    }

    fn fla(kind: &str, options: &str) -> Self {
        let gated = kind == "gated_deltanet";
        let heads = if options.contains("num_heads") { "" } else { r#""num_heads":2,"# };
        let more = if options.is_empty() { String::new() } else { format!(",{options}") };
        let config = format!(
            r#"{{"model_type":"{kind}",{heads}"hidden_size":{DIM},"num_hidden_layers":{LAYERS},"vocab_size":{VOCAB},
            "intermediate_size":{INNER},"hidden_act":"swish","head_dim":16,"norm_eps":1e-6,"attn":null{more}}}"#
        );
        let mut folder = Self { config, tensors: BTreeMap::new() };
        let (value_heads, keys) = match gated {
            true => (folder.number("num_v_heads", 2.0) as usize, 32),
            false => (2, (DIM as f64 * folder.number("expand_k", 1.0)) as usize),
        };
        let values = match gated {
            true => value_heads * (16.0 * folder.number("expand_v", 2.0)) as usize,
            false => (DIM as f64 * folder.number("expand_v", 1.0)) as usize,
        };
        let mut rng = Rng::new(11);
        folder.add(&mut rng, "model.embeddings.weight", &[VOCAB, DIM]);
        for layer in 0..LAYERS {
            let mut add =
                |name: &str, shape: &[usize]| folder.add(&mut rng, &format!("model.layers.{layer}.{name}"), shape);
            for (name, rows) in [("q", keys), ("k", keys), ("v", values)] {
                add(&format!("attn.{name}_proj.weight"), &[rows, DIM]);
            }
            add("attn.b_proj.weight", &[value_heads, DIM]);
            add("attn.o_norm.weight", &[values / value_heads]);
            add("attn.o_proj.weight", &[DIM, values]);
            for name in ["attn_norm", "mlp_norm"] {
                add(&format!("{name}.weight"), &[DIM]);
            }
            add("mlp.gate_proj.weight", &[INNER, DIM]);
            add("mlp.up_proj.weight", &[INNER, DIM]);
            add("mlp.down_proj.weight", &[DIM, INNER]);
            if gated {
                add("attn.a_proj.weight", &[value_heads, DIM]);
                add("attn.A_log", &[value_heads]);
                add("attn.dt_bias", &[value_heads]);
            }
        }
        for layer in 0..LAYERS {
            let window = folder.number("conv_size", 4.0) as usize;
            let name = |inside: &str| format!("model.layers.{layer}.attn.{inside}.weight");
            if !folder.flag("use_short_conv", false) {
                for (part, rows) in [("q", keys), ("k", keys), ("v", values)] {
                    folder.add(&mut rng, &name(&format!("{part}_conv1d")), &[rows, 1, window]);
                }
            }
            if folder.flag("use_gate", true) || gated && !folder.flag("use_gate", false) {
                folder.add(&mut rng, &name("g_proj"), &[values, DIM]);
            }
        }
        folder.add(&mut rng, "model.norm.weight", &[DIM]);
        if !folder.flag("tie_word_embeddings", true) {
            folder.add(&mut rng, "lm_head.weight", &[VOCAB, DIM]);
        }
        folder
    }

    /// `RWKV7ForCausalLM` of two heads, with values as wide as `value_dim` says, and more or other options.
    pub(crate) fn rwkv7(options: &str) -> Self {
        let more = if options.is_empty() { String::new() } else { format!(",{options}") };
        let config = format!(
            r#"{{"model_type":"rwkv7","hidden_size":{DIM},"num_hidden_layers":{LAYERS},"vocab_size":{VOCAB},"attn":null,
            "intermediate_size":{INNER},"head_dim":16,"decay_low_rank_dim":6,"a_low_rank_dim":5,"v_low_rank_dim":4,
            "gate_low_rank_dim":7,"norm_eps":4e-5,"fuse_norm":false{more}}}"#
        );
        let mut folder = Self { config, tensors: BTreeMap::new() };
        let values = folder.number("value_dim", DIM as f64) as usize;
        let bias = !folder.flag("norm_bias", false);
        let mut rng = Rng::new(15);
        let mut add = |name: &str, shape: &[usize]| folder.add(&mut rng, &format!("model.{name}"), shape);
        add("embeddings.weight", &[VOCAB, DIM]);
        for layer in 0..LAYERS {
            let mut add = |name: &str, shape: &[usize]| add(&format!("layers.{layer}.{name}"), shape);
            for name in ["pre_norm", "attn_norm", "ffn_norm"].into_iter().skip(usize::from(layer > 0)) {
                add(&format!("{name}.weight"), &[DIM]);
                if bias {
                    add(&format!("{name}.bias"), &[DIM]);
                }
            }
            for name in ["r", "w", "k", "v", "a", "g"] {
                add(&format!("attn.x_{name}"), &[1, 1, DIM]);
            }
            for (name, rank, rows) in [("w", 6, DIM), ("a", 5, DIM), ("v", 4, values), ("g", 7, values)] {
                if name == "v" && layer == 0 {
                    continue;
                }
                add(&format!("attn.{name}_lora.lora.0.weight"), &[rank, DIM]);
                add(&format!("attn.{name}_lora.lora.2.weight"), &[rows, rank]);
                if name != "g" {
                    add(&format!("attn.{name}_lora.lora.2.bias"), &[rows]);
                }
            }
            for (name, rows) in [("r", DIM), ("k", DIM), ("v", values)] {
                add(&format!("attn.{name}_proj.weight"), &[rows, DIM]);
            }
            add("attn.o_proj.weight", &[DIM, values]);
            add("attn.k_k", &[DIM]);
            add("attn.k_a", &[DIM]);
            add("attn.r_k", &[2, DIM / 2]);
            add("attn.g_norm.weight", &[values]);
            add("attn.g_norm.bias", &[values]);
            add("ffn.x_k", &[DIM]);
            add("ffn.key.weight", &[INNER, DIM]);
            add("ffn.value.weight", &[DIM, INNER]);
        }
        add("norm.weight", &[DIM]);
        if bias {
            add("norm.bias", &[DIM]);
        }
        folder.add(&mut rng, "lm_head.weight", &[VOCAB, DIM]);
        folder
    }

    /// `Qwen3_5ForConditionalGeneration`: a layer of each kind, inside of a model that also sees.
    pub(crate) fn qwen3_5() -> Self {
        let config = format!(
            r#"{{"model_type":"qwen3_5","tie_word_embeddings":false,"text_config":{{"model_type":"qwen3_5_text",
            "hidden_size":{DIM},"num_hidden_layers":{LAYERS},"vocab_size":{VOCAB},"intermediate_size":{INNER},
            "full_attention_interval":2,"num_attention_heads":2,"num_key_value_heads":1,"head_dim":16,
            "linear_num_key_heads":1,"linear_num_value_heads":3,"linear_key_head_dim":8,"linear_value_head_dim":12,
            "rope_parameters":{{"rope_type":"default","rope_theta":1000,"partial_rotary_factor":0.5,"mrope_section":[1,1,2]}}}}}}"#
        );
        let mut folder = Self { config, tensors: BTreeMap::new() };
        let mut rng = Rng::new(12);
        let mut add = |name: &str, shape: &[usize]| folder.add(&mut rng, name, shape);
        add("model.language_model.embed_tokens.weight", &[VOCAB, DIM]);
        add("model.visual.patch_embed.proj.weight", &[3, 5]);
        add("mtp.fc.weight", &[3, 5]);
        for layer in 0..LAYERS {
            let mut add =
                |name: &str, shape: &[usize]| add(&format!("model.language_model.layers.{layer}.{name}"), shape);
            let tensors: &[(&str, &[usize])] = match layer % 2 {
                0 => LINEAR,
                _ => FULL,
            };
            tensors.iter().chain(AROUND).for_each(|(name, shape)| add(name, shape));
        }
        add("model.language_model.norm.weight", &[DIM]);
        add("lm_head.weight", &[VOCAB, DIM]);
        folder
    }

    /// The folder with a head that predicts a further token.
    pub(crate) fn predicting(mut self) -> Self {
        let mut rng = Rng::new(21);
        self.add(&mut rng, "mtp.fc.weight", &[DIM, 2 * DIM]);
        for name in ["pre_fc_norm_embedding", "pre_fc_norm_hidden", "norm"] {
            self.add(&mut rng, &format!("mtp.{name}.weight"), &[DIM]);
        }
        for (name, shape) in FULL.iter().chain(AROUND) {
            self.add(&mut rng, &format!("mtp.layers.0.{name}"), shape);
        }
        self
    }

    /// LFM2: a short convolution with biases, and attention.
    pub(crate) fn lfm2() -> Self {
        let config = format!(
            r#"{{"model_type":"lfm2","hidden_size":{DIM},"num_hidden_layers":{LAYERS},"vocab_size":{VOCAB},
            "intermediate_size":{INNER},"block_auto_adjust_ff_dim":false,"num_attention_heads":2,"num_key_value_heads":1,
            "conv_L_cache":5,"conv_bias":true,"layer_types":["conv","full_attention"]}}"#
        );
        let tensors: &[(&str, &[usize])] = &[
            ("embed_tokens.weight", &[VOCAB, DIM]),
            ("embedding_norm.weight", &[DIM]),
            ("layers.0.conv.in_proj.weight", &[3 * DIM, DIM]),
            ("layers.0.conv.in_proj.bias", &[3 * DIM]),
            ("layers.0.conv.conv.weight", &[DIM, 1, 5]),
            ("layers.0.conv.conv.bias", &[DIM]),
            ("layers.0.conv.out_proj.weight", &[DIM, DIM]),
            ("layers.0.conv.out_proj.bias", &[DIM]),
            ("layers.1.self_attn.q_proj.weight", &[DIM, DIM]),
            ("layers.1.self_attn.k_proj.weight", &[16, DIM]),
            ("layers.1.self_attn.v_proj.weight", &[16, DIM]),
            ("layers.1.self_attn.q_layernorm.weight", &[16]),
            ("layers.1.self_attn.k_layernorm.weight", &[16]),
            ("layers.1.self_attn.out_proj.weight", &[DIM, DIM]),
        ];
        let around: &[(&str, &[usize])] = &[
            ("operator_norm.weight", &[DIM]),
            ("ffn_norm.weight", &[DIM]),
            ("feed_forward.w1.weight", &[INNER, DIM]),
            ("feed_forward.w2.weight", &[DIM, INNER]),
            ("feed_forward.w3.weight", &[INNER, DIM]),
        ];
        Self::of(config, tensors, around)
    }

    /// Falcon-H1: attention and a scan in every layer, with each option of the scan.
    pub(crate) fn falcon_h1() -> Self {
        let config = format!(
            r#"{{"model_type":"falcon_h1","hidden_size":{DIM},"num_hidden_layers":{LAYERS},"vocab_size":{VOCAB},
            "intermediate_size":{INNER},"num_attention_heads":2,"num_key_value_heads":1,"mamba_d_ssm":24,"mamba_n_heads":6,
            "mamba_d_head":4,"mamba_n_groups":2,"mamba_d_state":7,"mamba_d_conv":3,"mamba_rms_norm":true,
            "mamba_norm_before_gate":true,"mamba_proj_bias":true,"projectors_bias":true,"time_step_limit":[0.1,0.9],
            "ssm_in_multiplier":1.3,"ssm_multipliers":[0.9,0.8,1.2,1.1,0.7],"ssm_out_multiplier":0.6,
            "attention_in_multiplier":1.2,"attention_out_multiplier":0.8,"key_multiplier":0.9,
            "mlp_multipliers":[1.1,0.7],"tie_word_embeddings":true}}"#
        );
        let around: &[(&str, &[usize])] = &[
            ("input_layernorm.weight", &[DIM]),
            ("pre_ff_layernorm.weight", &[DIM]),
            ("feed_forward.gate_proj.weight", &[INNER, DIM]),
            ("feed_forward.up_proj.weight", &[INNER, DIM]),
            ("feed_forward.down_proj.weight", &[DIM, INNER]),
            ("self_attn.q_proj.weight", &[DIM, DIM]),
            ("self_attn.k_proj.weight", &[16, DIM]),
            ("self_attn.v_proj.weight", &[16, DIM]),
            ("self_attn.o_proj.weight", &[DIM, DIM]),
            ("mamba.in_proj.weight", &[82, DIM]),
            ("mamba.in_proj.bias", &[82]),
            ("mamba.conv1d.weight", &[52, 1, 3]),
            ("mamba.conv1d.bias", &[52]),
            ("mamba.A_log", &[6]),
            ("mamba.D", &[6]),
            ("mamba.dt_bias", &[6]),
            ("mamba.norm.weight", &[24]),
            ("mamba.out_proj.weight", &[DIM, 24]),
            ("mamba.out_proj.bias", &[DIM]),
        ];
        let tensors: &[(&str, &[usize])] =
            &[("embed_tokens.weight", &[VOCAB, DIM]), ("final_layernorm.weight", &[DIM])];
        Self::of(config, tensors, around)
    }

    /// Random weights of `tensors`, and of those of every layer.
    fn of(config: String, tensors: &[(&str, &[usize])], each: &[(&str, &[usize])]) -> Self {
        let mut folder = Self { config, tensors: BTreeMap::new() };
        let mut rng = Rng::new(14);
        tensors.iter().for_each(|(name, shape)| folder.add(&mut rng, &format!("model.{name}"), shape));
        for layer in 0..LAYERS {
            each.iter().for_each(|(name, shape)| folder.add(&mut rng, &format!("model.layers.{layer}.{name}"), shape));
        }
        folder
    }

    /// `routing_transformer` with layers of these kinds (`routing`, `local`, `full`, `linear`), four heads of eight in each,
    /// and more or other options.
    pub(crate) fn routing(kinds: &[&str], options: &str) -> Self {
        let types: Vec<String> = kinds.iter().map(|kind| format!(r#""{kind}_attention""#)).collect();
        let (types, count) = (types.join(","), kinds.len());
        let window = if options.contains("routing_window") { "" } else { r#""routing_window":4,"# };
        let more = if options.is_empty() { String::new() } else { format!(",{options}") };
        let config = format!(
            r#"{{"model_type":"routing_transformer","hidden_size":{DIM},"num_hidden_layers":{count},"vocab_size":{VOCAB},
            "intermediate_size":{INNER},"num_attention_heads":4,"layer_types":[{types}],"local_window":5,
            "num_centroids":3,{window}"rope_theta":100,"tie_word_embeddings":true,
            "linear_num_key_heads":1,"linear_num_value_heads":3,"linear_key_head_dim":8,"linear_value_head_dim":12{more}}}"#
        );
        let mut folder = Self { config, tensors: BTreeMap::new() };
        let routing = folder.number("num_routing_heads", 2.0) as usize;
        let mut rng = Rng::new(13);
        folder.add(&mut rng, "model.embed_tokens.weight", &[VOCAB, DIM]);
        for (layer, kind) in kinds.iter().enumerate() {
            let mut add =
                |name: &str, shape: &[usize]| folder.add(&mut rng, &format!("model.layers.{layer}.{name}"), shape);
            let heads = match *kind {
                "linear" => 0,
                "routing" => 4 - routing,
                _ => 4,
            };
            if heads > 0 {
                for name in ["q", "k", "v"] {
                    add(&format!("self_attn.{name}_proj.weight"), &[8 * heads, DIM]);
                }
                add("self_attn.o_proj.weight", &[DIM, 8 * heads]);
            }
            if *kind == "routing" {
                for name in ["qk", "v"] {
                    add(&format!("routing.{name}_proj.weight"), &[8 * routing, DIM]);
                }
                add("routing.centroids", &[routing, 3, 8]);
                add("routing.o_proj.weight", &[DIM, 8 * routing]);
            }
            let more = if *kind == "linear" { LINEAR } else { &[] };
            more.iter().chain(AROUND).for_each(|(name, shape)| add(name, shape));
        }
        folder.add(&mut rng, "model.norm.weight", &[DIM]);
        folder
    }

    /// The folder of a recursion whose steps have keys and values of their own.
    pub(crate) fn by_recursion(mut self) -> Self {
        assert!(self.flag("enable", true));
        self.config = self.config.replace(r#""kv_sharing":{"enable":true"#, r#""kv_sharing":{"enable":false"#);
        self
    }

    /// Mixture-of-Recursions: two layers run `steps` times, with a layer of its own at each end if `ends` is 1, and `mor` as
    /// the router's settings. Four heads of eight share two of keys, and all steps those of the first.
    pub(crate) fn mor(ends: usize, steps: usize, mor: &str) -> Self {
        let (count, sharing) = (2 * ends + 2 * steps, if ends == 0 { "cycle" } else { "middle_cycle" });
        let config = format!(
            r#"{{"model_type":"mor","hidden_size":{DIM},"num_hidden_layers":{count},"vocab_size":{VOCAB},
            "intermediate_size":{INNER},"num_attention_heads":4,"num_key_value_heads":2,"max_position_embeddings":256,
            "rms_norm_eps":1e-6,"rope_theta":100,"tie_word_embeddings":true,"mor":{{{mor}}},
            "recursive":{{"num_recursion":{steps},"sharing":"{sharing}"}},
            "kv_sharing":{{"enable":true,"num_recursion":{steps},"sharing":"{sharing}"}}}}"#
        );
        let mut folder = Self { config, tensors: BTreeMap::new() };
        let mut rng = Rng::new(16);
        folder.add(&mut rng, "model.embed_tokens.weight", &[VOCAB, DIM]);
        // Later steps have the weights of the first.
        let last = (ends > 0).then_some(count - 1);
        for layer in (0..ends + 2).chain(last) {
            let heads = [("q", DIM, DIM), ("k", 16, DIM), ("v", 16, DIM), ("o", DIM, DIM)];
            for (name, rows, cols) in heads {
                let name = format!("model.layers.{layer}.self_attn.{name}_proj.weight");
                folder.add(&mut rng, &name, &[rows, cols]);
            }
            for (name, shape) in AROUND {
                folder.add(&mut rng, &format!("model.layers.{layer}.{name}"), shape);
            }
        }
        let routers = if mor.contains("token") { 1..=1 } else { 1..=steps };
        for router in routers {
            let rows = if mor.contains("token") { steps } else { 1 };
            folder.add(&mut rng, &format!("model.routers.{}.weight", router - 1), &[rows, DIM]);
        }
        folder.add(&mut rng, "model.norm.weight", &[DIM]);
        folder
    }

    /// A value of the configuration.
    pub(crate) fn number(&self, key: &str, otherwise: f64) -> f64 {
        let Some((_, rest)) = self.config.split_once(&format!(r#""{key}":"#)) else { return otherwise };
        let end = rest.find([',', '}']).expect("an object ends");
        rest[..end].trim().parse().expect("a number")
    }

    /// Whether the configuration says so.
    pub(crate) fn flag(&self, key: &str, value: bool) -> bool {
        self.config.contains(&format!(r#""{key}":{value}"#))
    }

    fn add(&mut self, rng: &mut Rng, name: &str, shape: &[usize]) {
        let len: usize = shape.iter().product();
        let scale = 1.0 / (*shape.last().expect("a dimension") as f32).sqrt();
        let values = match name {
            _ if name.ends_with("norm.weight") => rng.normals(len, 0.2).iter().map(|x| x + 1.0).collect(),
            _ if shape.len() == 1 => rng.normals(len, 0.7),
            _ => rng.normals(len, 1.5 * scale),
        };
        self.tensors.insert(name.into(), (shape.into(), values));
    }

    /// The tensors as a file.
    pub(crate) fn weights(&self) -> Vec<u8> {
        let (mut entries, mut data) = (Vec::new(), Vec::<u8>::new());
        for (name, (shape, values)) in &self.tensors {
            let start = data.len();
            values.iter().for_each(|x| data.extend(x.to_le_bytes()));
            let end = data.len();
            entries.push(format!(r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#));
        }
        let mut header = format!("{{{}}}", entries.join(","));
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
    }

    pub(crate) fn files(&self) -> Result<Files, Error> {
        let source: Box<dyn Source> = Box::new(Memory::new("model.safetensors", self.weights()));
        Ok(Files {
            weights: pollster::block_on(Checkpoint::safetensors(vec![source]))?,
            family: Family::from_json(self.config.as_bytes())?,
            tokenizer: None,
            template: None,
        })
    }
}
