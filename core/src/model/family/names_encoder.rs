//! Names of tensors of encoders.

use super::encoder;
use super::names::{Names, Naming, Order};
use super::{Place, Role};
use crate::config::Config;

/// The names of a `model_type`.
pub(super) fn of(kind: &str) -> Naming {
    match kind {
        "albert" => Naming::Function(albert),
        "bert" => Naming::Function(bert),
        "distilbert" => Naming::Table(&DISTILBERT),
        "electra" => Naming::Function(electra),
        "jina_embeddings_v3" => Naming::Function(jina),
        "mpnet" => Naming::Function(mpnet),
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
    let tensor = ["albert.", "bert.", "roberta.", "distilbert.", "electra.", "mpnet.", "nomic_bert."]
        .iter()
        .find_map(|word| tensor.strip_prefix(word))
        .unwrap_or(tensor);
    let unused = match own_bias(config) {
        true => ["cls.predictions.bias", "lm_head.bias", "predictions.bias"],
        false => ["cls.predictions.decoder.bias", "lm_head.decoder.bias", "predictions.decoder.bias"],
    };
    encoder::BERT.contains(&&*config.architecture)
        && ((tensor.starts_with("pooler.dense.") || matches!(tensor, "pooler.weight" | "pooler.bias"))
            && config.classifier.is_none()
            || tensor.starts_with("cls.seq_relationship.")
            || tensor.starts_with("sop_classifier.")
            || tensor.starts_with("discriminator_predictions.")
            || tensor == "embeddings.position_ids"
            || unused.contains(&tensor))
}

/// All layers of ALBERT have the same weights.
fn albert(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    match (role, kind) {
        (Role::Head, "bias") if !own_bias(config) => Place::plain("predictions.bias".into()),
        _ => ALBERT.place(config, role, layer, kind),
    }
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

fn electra(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let name = match role {
        Role::ProjectIn => "electra.embeddings_project",
        Role::Head => "generator_lm_head",
        Role::Transform => "generator_predictions.dense",
        Role::TransformNorm => "generator_predictions.LayerNorm",
        _ => {
            let place = roberta(config, role, layer, kind);
            return Place { name: place.name.replacen("roberta.", "electra.", 1), ..place };
        }
    };
    Place::plain(format!("{name}.{kind}"))
}

/// The layers of Nomic BERT under other names, and RoBERTa's heads.
fn jina(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let own = match role {
        Role::Up => "mlp.fc1",
        Role::EmbedNorm => return Place::plain(format!("roberta.emb_ln.{kind}")),
        Role::Query | Role::Key | Role::Value | Role::Output | Role::Down | Role::MixedSumNorm | Role::MlpSumNorm => {
            let place = NOMIC.place(config, role, layer, kind);
            let name = place.name.replacen("nomic_bert.", "roberta.", 1).replacen(".attn.", ".mixer.", 1);
            return Place { name, ..place };
        }
        _ => return roberta(config, role, layer, kind),
    };
    Place::plain(format!("roberta.encoder.layers.{layer}.{own}.{kind}"))
}

fn mpnet(config: &Config, role: Role, layer: usize, kind: &str) -> Place {
    let inside = match role {
        Role::Query => "attention.attn.q",
        Role::Key => "attention.attn.k",
        Role::Value => "attention.attn.v",
        Role::Output => "attention.attn.o",
        Role::MixedSumNorm => "attention.LayerNorm",
        Role::Distances => return Place::plain("mpnet.encoder.relative_attention_bias.weight".into()),
        _ => {
            let place = roberta(config, role, layer, kind);
            return Place { name: place.name.replacen("roberta.", "mpnet.", 1), ..place };
        }
    };
    Place::plain(format!("mpnet.encoder.layer.{layer}.{inside}.{kind}"))
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

const ALBERT: Names = Names {
    names: &[
        (Role::Embedding, "albert.embeddings.word_embeddings"),
        (Role::Positions, "albert.embeddings.position_embeddings"),
        (Role::TokenTypes, "albert.embeddings.token_type_embeddings"),
        (Role::EmbedNorm, "albert.embeddings.LayerNorm"),
        (Role::ProjectIn, "albert.encoder.embedding_hidden_mapping_in"),
        (Role::Query, "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.query"),
        (Role::Key, "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.key"),
        (Role::Value, "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.value"),
        (Role::Output, "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.dense"),
        (Role::MixedSumNorm, "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.LayerNorm"),
        (Role::Up, "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn"),
        (Role::Down, "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn_output"),
        (Role::MlpSumNorm, "albert.encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm"),
        (Role::Transform, "predictions.dense"),
        (Role::TransformNorm, "predictions.LayerNorm"),
        (Role::Head, "predictions.decoder"),
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
