//! Every op in the shapes of a real model, SmolLM2-135M, decoding and reading a prompt: what is timed by default.

use crate::dtype::DType;
use crate::ops::Op;
use crate::ops::attention::attention::Pages;
use crate::ops::attention::{attention, attention_backward, merge};
use crate::ops::cache::{append, rope_append};
use crate::ops::delta_rule::{conv, conv_backward, delta, delta_backward, delta_gates};
use crate::ops::dense::rope::Pairing;
use crate::ops::dense::{activation, embed, fused_linear, linear, norm, rope};
use crate::ops::experts::{expert_choice, expert_linear, expert_sum};
use crate::ops::routing::{centroids, route, route_step, selected_attention, selected_attention_backward};
use crate::ops::sampling::sample;
use crate::ops::settings::Defaults;
use alloc::{format, string::String, vec::Vec};

/// Named shapes of every op: `op [what]/decode` or `/prefill`.
pub fn shapes() -> Vec<(String, Op)> {
    // Whole blocks of every format.
    let width = |format: DType| if format.block_len() == 256 { 768 } else { 576 };
    let mut all: Vec<(String, Op)> = Vec::new();
    for (phase, tokens) in [("decode", 1u32), ("prefill", 256)] {
        let mut add = |name: &str, op: Op| all.push((format!("{name}/{phase}"), op));
        add(
            "embed q8_0",
            embed::Spec { tokens, vocab: 49152, dim: 576, format: DType::Q8_0, scale: 1.0, accumulate: false }.into(),
        );
        for format in DType::WEIGHTS {
            let inputs = width(format);
            add(&format!("linear {format} {inputs}x1536"), linear::Spec::new(tokens, inputs, 1536, format).into());
        }
        add("add", crate::ops::dense::add::Spec { rows: tokens, dim: 576 }.into());
        add("norm", norm::Spec { residual: true, ..norm::Spec::rms(tokens, 576, 1e-5) }.into());
        let (heads, dim, stride) = (12, 64, 960);
        let positions = 2048;
        add("rope", rope::Spec { tokens, heads, dim, rotary: 64, pairing: Pairing::Half, positions, stride }.into());
        let kind = activation::Kind::Silu;
        add(
            "activation",
            activation::Spec { gated: true, stride: 3072, ..activation::Spec::new(tokens, 1536, kind) }.into(),
        );
        let append = append::Spec {
            tokens,
            pool: 2048,
            k_width: 192,
            v_width: 192,
            k_stride: 960,
            v_stride: 960,
            format: DType::F32,
            tail: None,
        };
        add("append", append.into());
        let (heads, kv_heads, pairing) = (9, 3, Pairing::Half);
        let rotary = dim;
        add(
            "rope_append",
            rope_append::Spec { tokens, heads, kv_heads, dim, rotary, pairing, positions, pool: 2048, stride }.into(),
        );
        let paged = Some(Pages { pages: 32, page: 64, width: 32 });
        let causal = attention::Spec::causal(1, tokens, 1024, 9, 3, 64);
        add("attention s1024", attention::Spec { paged, q_stride: 960, ..causal }.into());
        // A layer of DeepSeek-V2-Lite: latents as keys of one head, and queries brought to their width.
        let latents = attention::Spec::causal(1, tokens, 1024, 16, 1, 576).with_value_dim(512).with_prefix(true);
        add("attention latents s1024", attention::Spec { paged, kv: DType::F16, ..latents }.into());
        let heads_of = expert_linear::Spec::new(tokens, [16; 2], 128, 512, DType::BF16);
        add("expert_linear bf16 128x512 of heads", heads_of.with_each(true).with_x_stride(192).into());
        // A layer of Qwen3.5: queries, keys and values of 16 heads.
        let part = |channels| conv::Part { channels, activation: conv::Activation::Silu };
        let parts = [part(2048), part(2048), part(2048)];
        let conv = conv::Spec { parts, stride: 8224, ..conv::Spec::new(1, tokens, 6144, 4, conv::Activation::Silu) };
        add("conv", conv::Spec { pool: Some(1), ..conv }.into());
        let decay = Some(delta_gates::Decay { channels: 1, stride: 8224 });
        let gates = delta_gates::Spec { rows: tokens, heads: 16, negative: false, stride: 8224, decay };
        add("delta_gates", gates.into());
        let gate = Some(norm::Gate { kind, stride: 8224 });
        let gated = norm::Spec { groups: 16, stride: 2048, in_place: true, gate, ..norm::Spec::rms(tokens, 128, 1e-6) };
        add("norm gated", gated.into());
        add("merge", merge::Spec { segments: 4, rows: 9 * tokens, dim: 64 }.into());
        // A layer of Qwen3-30B-A3B: 8 of 128 experts.
        let experts = [128, 8];
        let choice = expert_choice::Spec { normalize: true, ..expert_choice::Spec::new(tokens, 128, 8) };
        add("expert_choice", choice.into());
        let up = expert_linear::Spec::new(tokens, experts, 2048, 1536, DType::Q4K);
        add("expert_linear q4_k 2048x1536", up.into());
        let down =
            expert_linear::Spec { each: true, ..expert_linear::Spec::new(tokens, experts, 768, 2048, DType::Q4K) };
        add("expert_linear q4_k 768x2048", down.into());
        add("expert_sum", expert_sum::Spec::new(tokens, 8, 2048).into());
    }
    let gated = delta::Spec { gate: delta::Gate::Head, ..delta::Spec::new(1, 256, 8, 64, 64) };
    all.push(("delta head/prefill".into(), delta::Spec { initial: true, last: true, ..gated }.into()));
    all.push(("delta channel/prefill".into(), delta::Spec { gate: delta::Gate::Channel, ..gated }.into()));
    all.push(("delta head/decode".into(), delta::Spec { tokens: 1, pool: Some(1), ..gated }.into()));
    all.push(("delta_backward head/prefill".into(), delta_backward::Spec { forward: gated }.into()));
    let forward = conv::Spec::new(1, 256, 6144, 4, conv::Activation::Silu);
    all.push(("conv_backward/prefill".into(), conv_backward::Spec { forward }.into()));
    let forward = attention::Spec::causal(1, 256, 256, 9, 3, 64);
    all.push(("attention_backward s256/prefill".into(), attention_backward::Spec { forward }.into()));
    // 32 centroids with as many tokens each.
    let routed = route::Spec {
        batch: 1,
        tokens: 1024,
        heads: 9,
        dim: 64,
        clusters: 32,
        window: 32,
        norm: route::Norm::Layer,
        selection: route::Selection::Balanced,
        scores: false,
        lengths: false,
    };
    let selected = selected_attention::Spec {
        batch: 1,
        tokens: 1024,
        heads: 9,
        dim: 64,
        value_dim: 64,
        clusters: 32,
        entries: 1024,
        keys: selected_attention::Keys::Shared { normalize: true },
        scale: 0.125,
        causal: true,
        expires: false,
        offset: false,
        paged: None,
        own: selected_attention::Own::Included,
        memory: 0,
        combine: selected_attention::Combine::Mean { eps: 1e-5 },
        save: false,
    };
    all.push(("route t1024/prefill".into(), routed.into()));
    let centroids = centroids::Spec {
        batch: 1,
        tokens: 1024,
        heads: 9,
        dim: 64,
        clusters: 32,
        norm: routed.norm,
        update: centroids::Update::Counted,
        decay: 0.999,
        commitment: Some(1e-4),
        lengths: false,
    };
    all.push(("centroids t1024/prefill".into(), centroids.into()));
    let step = route_step::Spec {
        route: route::Spec { tokens: 1, clusters: 32, selection: route::Selection::Prefix, ..routed },
    };
    all.push(("route_step w32/decode".into(), step.into()));
    all.push(("selected_attention t1024/prefill".into(), selected.into()));
    let backward = selected_attention_backward::Spec { forward: selected };
    all.push(("selected_attention_backward t1024/prefill".into(), backward.into()));
    let norm = Some(fused_linear::Norm { eps: 1e-5, one_plus: false });
    let gate = Some(fused_linear::Activation { kind: activation::Kind::Silu, gated: true });
    for format in DType::WEIGHTS {
        let mut add = |name: &str, spec: fused_linear::Spec| {
            all.push((format!("fused_linear {format} {name}/decode"), spec.into()));
        };
        let product = |inputs, outputs| linear::Spec::new(1, inputs, outputs, format).into();
        let inputs = width(format);
        add(&format!("norm {inputs}x960"), fused_linear::Spec { norm, ..product(inputs, 960) });
        add(&format!("gated {inputs}x1536"), fused_linear::Spec { norm, activation: gate, ..product(inputs, 1536) });
        add("residual 1536x576", fused_linear::Spec { residual: true, ..product(1536, 576) });
    }
    all.push(("linear q8_0 576x49152/decode".into(), linear::Spec::new(1, 576, 49152, DType::Q8_0).into()));
    let greedy = sample::Spec { vocab: 49152, draw: None, penalty: 1.0 };
    all.push(("sample argmax/decode".into(), greedy.into()));
    let draw = sample::Draw { temperature: 0.8, top_k: 50, top_p: 0.95, min_p: 0.02, uniform: 0.37 };
    all.push(("sample draw/decode".into(), sample::Spec { draw: Some(draw), ..greedy }.into()));
    // An op without shapes of a model is timed by its defaults.
    for table in Op::TABLES {
        if all.iter().all(|(_, op)| op.name() != table.op) {
            let (op, _) = table.read(&mut Defaults).expect("defaults have the types of their fields");
            all.push((format!("{}/default", table.op), op));
        }
    }
    all
}
