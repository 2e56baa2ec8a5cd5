//! Names of tensors of encoders.

use super::names::{Names, Naming, Order};
use super::{Place, Role};
use crate::config::Config;

/// The names of a `model_type`.
pub(super) fn of(kind: &str) -> Naming {
    match kind {
        "bert" => Naming::Function(bert),
        "distilbert" => Naming::Table(&DISTILBERT),
        "nomic_bert" => Naming::Function(nomic),
        "modernbert" => Naming::Table(&MODERN),
        "modernbert-decoder" => Naming::Table(&MODERN_DECODER),
        _ => Naming::Function(roberta),
    }
}

/// True if the output product is not the embedding: its bias is its own then, and a copy of the head's otherwise.
fn own_bias(config: &Config) -> bool {
    config.tied == Some(false)
}

/// True for tensors of an encoder that are not run: heads of other tasks, a table of positions that counts up, and the one
/// of two biases of the output product that is not used.
pub(super) fn apart(config: &Config, tensor: &str) -> bool {
    let encoder = ["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "nomic_bert"];
    let tensor = ["bert.", "roberta.", "distilbert.", "nomic_bert."]
        .iter()
        .find_map(|word| tensor.strip_prefix(word))
        .unwrap_or(tensor);
    let unused = match own_bias(config) {
        true => ["cls.predictions.bias", "lm_head.bias"],
        false => ["cls.predictions.decoder.bias", "lm_head.decoder.bias"],
    };
    encoder.contains(&&*config.architecture)
        && (tensor.starts_with("pooler.dense.") && config.classifier.is_none()
            || tensor.starts_with("cls.seq_relationship.")
            || tensor == "embeddings.position_ids"
            || unused.contains(&tensor))
}

/// BERT's bias of the output product stands beside it.
fn bert(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    match (role, kind) {
        (Role::Head, "bias") if !own_bias(config) => Place::plain("cls.predictions.bias".into()),
        _ => BERT.place(config, role, layer, kind),
    }
}

fn roberta(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let place = match (role, kind) {
        (Role::Head, "bias") if !own_bias(config) => return Place::plain("lm_head.bias".into()),
        (Role::Head, _) => return Place::plain(format!("lm_head.decoder.{kind}")),
        (Role::Transform, _) => return Place::plain(format!("lm_head.dense.{kind}")),
        (Role::TransformNorm, _) => return Place::plain(format!("lm_head.layer_norm.{kind}")),
        (Role::Pooler, _) => return Place::plain(format!("classifier.dense.{kind}")),
        (Role::Classifier, _) => return Place::plain(format!("classifier.out_proj.{kind}")),
        _ => BERT.place(config, role, layer, kind),
    };
    Place { name: place.name.replacen("bert.", "roberta.", 1), ..place }
}

fn nomic(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    match (role, kind) {
        (Role::Head, "bias") if !own_bias(config) => Place::plain("cls.predictions.bias".into()),
        _ => NOMIC.place(config, role, layer, kind),
    }
}

const BERT: Names = Names {
    names: &[
        (Role::Embedding, "bert.embeddings.word_embeddings"),
        (Role::Positions, "bert.embeddings.position_embeddings"),
        (Role::TokenTypes, "bert.embeddings.token_type_embeddings"),
        (Role::EmbedNorm, "bert.embeddings.LayerNorm"),
        (Role::Query, "bert.encoder.layer.{n}.attention.self.query"),
        (Role::Key, "bert.encoder.layer.{n}.attention.self.key"),
        (Role::Value, "bert.encoder.layer.{n}.attention.self.value"),
        (Role::Output, "bert.encoder.layer.{n}.attention.output.dense"),
        (Role::MixedSumNorm, "bert.encoder.layer.{n}.attention.output.LayerNorm"),
        (Role::Up, "bert.encoder.layer.{n}.intermediate.dense"),
        (Role::Down, "bert.encoder.layer.{n}.output.dense"),
        (Role::MlpSumNorm, "bert.encoder.layer.{n}.output.LayerNorm"),
        (Role::Transform, "cls.predictions.transform.dense"),
        (Role::TransformNorm, "cls.predictions.transform.LayerNorm"),
        (Role::Head, "cls.predictions.decoder"),
        (Role::Pooler, "bert.pooler.dense"),
        (Role::Classifier, "classifier"),
    ],
    order: Order::ByKind,
};

const DISTILBERT: Names = Names {
    names: &[
        (Role::Embedding, "distilbert.embeddings.word_embeddings"),
        (Role::Positions, "distilbert.embeddings.position_embeddings"),
        (Role::EmbedNorm, "distilbert.embeddings.LayerNorm"),
        (Role::Query, "distilbert.transformer.layer.{n}.attention.q_lin"),
        (Role::Key, "distilbert.transformer.layer.{n}.attention.k_lin"),
        (Role::Value, "distilbert.transformer.layer.{n}.attention.v_lin"),
        (Role::Output, "distilbert.transformer.layer.{n}.attention.out_lin"),
        (Role::MixedSumNorm, "distilbert.transformer.layer.{n}.sa_layer_norm"),
        (Role::Up, "distilbert.transformer.layer.{n}.ffn.lin1"),
        (Role::Down, "distilbert.transformer.layer.{n}.ffn.lin2"),
        (Role::MlpSumNorm, "distilbert.transformer.layer.{n}.output_layer_norm"),
        (Role::Transform, "vocab_transform"),
        (Role::TransformNorm, "vocab_layer_norm"),
        (Role::Head, "vocab_projector"),
        (Role::Pooler, "pre_classifier"),
        (Role::Classifier, "classifier"),
    ],
    order: Order::ByKind,
};

/// `fc2(fc11(x) silu(fc12(x)))`
const NOMIC: Names = Names {
    names: &[
        (Role::Embedding, "nomic_bert.embeddings.word_embeddings"),
        (Role::TokenTypes, "nomic_bert.embeddings.token_type_embeddings"),
        (Role::EmbedNorm, "nomic_bert.emb_ln"),
        (Role::Query, "nomic_bert.encoder.layers.{n}.attn.Wqkv"),
        (Role::Key, "nomic_bert.encoder.layers.{n}.attn.Wqkv"),
        (Role::Value, "nomic_bert.encoder.layers.{n}.attn.Wqkv"),
        (Role::Output, "nomic_bert.encoder.layers.{n}.attn.out_proj"),
        (Role::MixedSumNorm, "nomic_bert.encoder.layers.{n}.norm1"),
        (Role::Gate, "nomic_bert.encoder.layers.{n}.mlp.fc12"),
        (Role::Up, "nomic_bert.encoder.layers.{n}.mlp.fc11"),
        (Role::Down, "nomic_bert.encoder.layers.{n}.mlp.fc2"),
        (Role::MlpSumNorm, "nomic_bert.encoder.layers.{n}.norm2"),
        (Role::Transform, "cls.predictions.transform.dense"),
        (Role::TransformNorm, "cls.predictions.transform.layer_norm"),
        (Role::Head, "cls.predictions.decoder"),
    ],
    order: Order::ByKind,
};

const MODERN: Names = Names {
    names: &[
        (Role::Embedding, "model.embeddings.tok_embeddings"),
        (Role::EmbedNorm, "model.embeddings.norm"),
        (Role::FinalNorm, "model.final_norm"),
        (Role::InputNorm, "model.layers.{n}.attn_norm"),
        (Role::PostNorm, "model.layers.{n}.mlp_norm"),
        (Role::Query, "model.layers.{n}.attn.Wqkv"),
        (Role::Key, "model.layers.{n}.attn.Wqkv"),
        (Role::Value, "model.layers.{n}.attn.Wqkv"),
        (Role::Output, "model.layers.{n}.attn.Wo"),
        (Role::Gate, "model.layers.{n}.mlp.Wi"),
        (Role::Up, "model.layers.{n}.mlp.Wi"),
        (Role::Down, "model.layers.{n}.mlp.Wo"),
        (Role::Transform, "head.dense"),
        (Role::TransformNorm, "head.norm"),
        (Role::Head, "decoder"),
        (Role::Pooler, "head.dense"),
        (Role::PoolerNorm, "head.norm"),
        (Role::Classifier, "classifier"),
    ],
    order: Order::ByKind,
};

const MODERN_DECODER: Names = Names {
    names: &[
        (Role::Embedding, "model.embeddings.tok_embeddings"),
        (Role::EmbedNorm, "model.embeddings.norm"),
        (Role::FinalNorm, "model.final_norm"),
        (Role::InputNorm, "model.layers.{n}.attn_norm"),
        (Role::PostNorm, "model.layers.{n}.mlp_norm"),
        (Role::Query, "model.layers.{n}.attn.q_proj"),
        (Role::Key, "model.layers.{n}.attn.k_proj"),
        (Role::Value, "model.layers.{n}.attn.v_proj"),
        (Role::Output, "model.layers.{n}.attn.Wo"),
        (Role::Gate, "model.layers.{n}.mlp.Wi"),
        (Role::Up, "model.layers.{n}.mlp.Wi"),
        (Role::Down, "model.layers.{n}.mlp.Wo"),
        (Role::Transform, "lm_head.dense"),
        (Role::TransformNorm, "lm_head.norm"),
        (Role::Head, "decoder"),
    ],
    order: Order::ByKind,
};
