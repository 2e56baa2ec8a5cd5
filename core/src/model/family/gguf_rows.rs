//! The architectures of GGUF files as rows of a table.

use super::gguf_encoder as encoder;
use super::gguf_experts as experts;
use super::gguf_gemma as gemma;
use super::gguf_hybrid as hybrid;
use super::gguf_keys::Keys;
use super::gguf_latent as latent;
use super::gguf_more as more;
use super::rwkv;
use crate::config::{Config, Norm};
use crate::error::Result;
use foveate_kernels::activation::Kind;
use foveate_kernels::rope::Pairing;

/// An architecture: Qwen2's, but for what a row says.
pub(super) struct Row {
    /// `general.architecture`
    pub(super) name: &'static str,
    /// All norms, with the default of their epsilon.
    pub(super) norm: Norm,
    /// None for an architecture without rotations.
    pub(super) pairing: Option<Pairing>,
    /// Queries, keys and values have biases.
    pub(super) input_bias: bool,
    /// All other products have.
    pub(super) products_bias: bool,
    /// The tensors in the file decide on biases, fused products, head norms, parallel branches and divisors.
    pub(super) by_tensors: bool,
    pub(super) head_norm: bool,
    /// Numbers of heads and widths of MLPs may differ by the layer, and 0 says that there is no such part.
    pub(super) hybrid: bool,
    /// Keys and values come from latents.
    pub(super) latent: bool,
    pub(super) activation: Kind,
    pub(super) gated: bool,
    /// If the file does not name the layers with a window: the length of a period in which all but the last have one.
    /// `None` if all layers have one.
    pub(super) period: Option<u32>,
    /// The layer of a period without a window is its first one.
    pub(super) full_first: bool,
    /// Tokens see those behind them.
    pub(super) encoder: bool,
    /// All else, on the finished configuration.
    pub(super) more: fn(&Keys<'_>, &mut Config) -> Result<()>,
}

const PLAIN: Row = Row {
    name: "",
    norm: Norm::rms(1e-6),
    pairing: Some(Pairing::Half),
    input_bias: false,
    products_bias: false,
    by_tensors: true,
    head_norm: false,
    hybrid: false,
    latent: false,
    activation: Kind::Silu,
    gated: true,
    period: None,
    full_first: false,
    encoder: false,
    more: |_, _| Ok(()),
};

const INTERLEAVED: Row = Row { pairing: Some(Pairing::Interleaved), ..PLAIN };

/// Layer norms with biases, and MLPs that nothing gates.
const GPT: Row = Row { norm: Norm::layer(1e-5), activation: Kind::Gelu, gated: false, ..PLAIN };

/// Without biases in norms.
const BARE: Norm = Norm { bias: false, ..Norm::layer(1e-5) };

/// Every row.
pub(super) static ROWS: [&[Row]; 8] =
    [EXACT, LIKE_LLAMA, WITH_NORMS, WITH_EXPERTS, LIKE_GPT, HYBRIDS, LATENT, ENCODERS];

/// Architectures whose files never leave open what they have.
static EXACT: &[Row] = &[
    Row { name: "qwen2", input_bias: true, by_tensors: false, ..PLAIN },
    Row { name: "qwen3", head_norm: true, by_tensors: false, ..PLAIN },
    Row {
        name: "gemma3",
        head_norm: true,
        by_tensors: false,
        activation: Kind::GeluTanh,
        period: Some(6),
        more: more::gemma3,
        ..PLAIN
    },
    Row {
        name: "gpt2",
        pairing: None,
        input_bias: true,
        products_bias: true,
        by_tensors: false,
        activation: Kind::GeluTanh,
        more: more::gpt2,
        ..GPT
    },
];

static LIKE_LLAMA: &[Row] = &[
    Row { name: "llama", more: experts::mixtral, ..INTERLEAVED },
    Row { name: "smollm3", more: more::smollm3, ..INTERLEAVED },
    Row { name: "arcee", activation: Kind::Relu2, gated: false, ..INTERLEAVED },
    Row { name: "mistral3", more: more::mistral3, ..INTERLEAVED },
    Row { name: "granite", more: more::granite, ..INTERLEAVED },
    Row { name: "ernie4_5", ..INTERLEAVED },
    Row { name: "chatglm", ..INTERLEAVED },
    Row { name: "seed_oss", ..PLAIN },
    Row { name: "exaone", ..PLAIN },
    Row { name: "qwen2vl", more: more::sections, ..PLAIN },
    Row { name: "qwen3vl", head_norm: true, more: more::sections, ..PLAIN },
    Row { name: "phi3", more: more::phi3, ..PLAIN },
    Row { name: "gemma", activation: Kind::GeluTanh, more: more::gemma, ..PLAIN },
    Row { name: "apertus", head_norm: true, activation: Kind::Xielu, gated: false, more: more::apertus, ..PLAIN },
    Row { name: "hunyuan-dense", head_norm: true, more: more::hunyuan, ..PLAIN },
];

static WITH_NORMS: &[Row] = &[
    Row { name: "glm4", more: more::branch_norms, ..INTERLEAVED },
    Row { name: "gemma2", activation: Kind::GeluTanh, period: Some(2), more: more::gemma2, ..PLAIN },
    Row { name: "olmo2", head_norm: true, period: Some(4), more: more::olmo2, ..PLAIN },
    Row { name: "exaone4", head_norm: true, period: Some(4), more: more::exaone4, ..PLAIN },
];

static WITH_EXPERTS: &[Row] = &[
    Row { name: "qwen2moe", more: experts::qwen2, ..PLAIN },
    Row { name: "qwen3moe", head_norm: true, more: experts::qwen3, ..PLAIN },
    Row { name: "olmoe", head_norm: true, more: experts::olmoe, ..PLAIN },
    Row { name: "granitemoe", more: experts::granite, ..INTERLEAVED },
    Row { name: "glm4moe", head_norm: true, more: experts::glm4, ..PLAIN },
    Row { name: "ernie4_5-moe", more: experts::ernie, ..INTERLEAVED },
    Row { name: "hunyuan-moe", head_norm: true, more: experts::hunyuan, ..PLAIN },
    Row { name: "gpt-oss", norm: Norm::rms(1e-5), period: Some(2), more: experts::gpt_oss, ..PLAIN },
];

static LIKE_GPT: &[Row] = &[
    Row { name: "starcoder", pairing: None, activation: Kind::GeluTanh, more: more::positions, ..GPT },
    Row { name: "starcoder2", activation: Kind::GeluTanh, ..GPT },
    Row { name: "stablelm", activation: Kind::Silu, gated: true, more: more::parallel_key, ..GPT },
    Row { name: "gptneox", more: more::parallel_key, ..GPT },
    Row { name: "phi2", activation: Kind::GeluTanh, more: more::parallel, ..GPT },
    Row { name: "falcon", more: more::parallel, ..GPT },
    Row { name: "bloom", pairing: None, activation: Kind::GeluTanh, more: more::bloom, ..GPT },
    Row { name: "mpt", norm: BARE, pairing: None, more: more::mpt, ..GPT },
    Row { name: "nemotron", activation: Kind::Relu2, ..GPT },
    Row {
        name: "command-r",
        norm: BARE,
        activation: Kind::Silu,
        gated: true,
        more: more::cohere,
        pairing: Some(Pairing::Interleaved),
        ..GPT
    },
    Row {
        name: "cohere2",
        norm: BARE,
        activation: Kind::Silu,
        gated: true,
        period: Some(4),
        more: more::cohere2,
        pairing: Some(Pairing::Interleaved),
        ..GPT
    },
];

static HYBRIDS: &[Row] = &[
    Row { name: "lfm2", norm: Norm::rms(1e-5), head_norm: true, hybrid: true, more: hybrid::lfm2, ..PLAIN },
    Row { name: "lfm2moe", norm: Norm::rms(1e-5), head_norm: true, hybrid: true, more: hybrid::lfm2_moe, ..PLAIN },
    Row { name: "mamba2", norm: Norm::rms(1e-5), pairing: None, hybrid: true, more: hybrid::mamba2, ..PLAIN },
    Row { name: "granitehybrid", hybrid: true, more: hybrid::granite, ..INTERLEAVED },
    Row { name: "falcon-h1", norm: Norm::rms(1e-5), hybrid: true, more: hybrid::falcon_h1, ..PLAIN },
    Row {
        name: "gemma3n",
        head_norm: true,
        hybrid: true,
        activation: Kind::GeluTanh,
        period: Some(5),
        more: gemma::gemma3n,
        ..PLAIN
    },
    Row {
        name: "gemma4",
        head_norm: true,
        hybrid: true,
        activation: Kind::GeluTanh,
        period: Some(6),
        more: gemma::gemma4,
        ..PLAIN
    },
    Row { name: "rwkv7", by_tensors: false, pairing: None, hybrid: true, more: rwkv::gguf, ..GPT },
];

static LATENT: &[Row] = &[
    Row { name: "deepseek2", latent: true, more: latent::deepseek, ..INTERLEAVED },
    Row { name: "mistral4", latent: true, more: latent::mistral4, ..INTERLEAVED },
    Row { name: "minicpm3", norm: Norm::rms(1e-5), latent: true, more: latent::minicpm3, ..PLAIN },
    Row {
        name: "kimi-linear",
        norm: Norm::rms(1e-5),
        pairing: None,
        hybrid: true,
        latent: true,
        more: latent::kimi,
        ..PLAIN
    },
];

/// BERT's norms have a smaller epsilon than those of others.
const BERT: Row = Row { norm: Norm::layer(1e-12), encoder: true, ..GPT };

static ENCODERS: &[Row] = &[
    Row { name: "bert", pairing: None, more: encoder::bert, ..BERT },
    Row { name: "nomic-bert", activation: Kind::Silu, gated: true, more: encoder::nomic, ..BERT },
    Row {
        name: "modern-bert",
        norm: BARE,
        gated: true,
        encoder: true,
        period: Some(3),
        full_first: true,
        more: encoder::modern,
        ..GPT
    },
    Row { name: "eurobert", norm: Norm::rms(1e-5), encoder: true, more: encoder::euro, ..PLAIN },
    Row {
        name: "gemma-embedding",
        head_norm: true,
        by_tensors: false,
        activation: Kind::GeluTanh,
        period: Some(6),
        encoder: true,
        more: encoder::gemma,
        ..PLAIN
    },
];

/// Returns the names of all architectures.
pub(super) fn architectures() -> Vec<&'static str> {
    ROWS.into_iter().flatten().map(|row| row.name).collect()
}
