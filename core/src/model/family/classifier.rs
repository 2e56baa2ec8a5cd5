//! Heads that judge a whole text: the classes of transformers whose names end in `ForSequenceClassification`.

use super::json::{Json, bounded};
use crate::config::{Classifier, Config, Pooled, Pooler, PoolerKind};
use crate::error::{Error, Result, one_line};

/// True for encoders, whose heads have names of their own; all others call it `score`.
pub(super) fn of_encoder(architecture: &str) -> bool {
    ["bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "modernbert", "mpnet"]
        .contains(&architecture)
}

/// Puts such a head in the place of the output product.
///
/// # Errors
/// `Config` for families whose heads are not known, and for options that they do not have here.
pub(super) fn head(json: &Json, config: &mut Config) -> Result<()> {
    let refused = |reason: String| Err(Error::Config { reason });
    let dense = |kind, bias| Some(Pooler { kind, bias, norm: None });
    let (pooling, dense) = match &*config.architecture {
        "electra" => (Pooled::First, dense(PoolerKind::Gelu, true)),
        "distilbert" => (Pooled::First, dense(PoolerKind::Relu, true)),
        "modernbert" => {
            let Some(transform) = config.transform else {
                return refused("modernbert without a head does not judge texts".into());
            };
            let kind = match json.str("classifier_activation")?.unwrap_or("gelu") {
                "gelu" => PoolerKind::Gelu,
                "silu" => PoolerKind::Silu,
                "relu" => PoolerKind::Relu,
                "tanh" => PoolerKind::Tanh,
                other => return refused(format!("classifier_activation {} is not supported", one_line(other))),
            };
            let pooling = match json.str("classifier_pooling")?.unwrap_or("cls") {
                "cls" => Pooled::First,
                "mean" => Pooled::Mean,
                other => return refused(format!("classifier_pooling {} is not supported", one_line(other))),
            };
            (pooling, Some(Pooler { kind, bias: transform.bias, norm: Some(transform.norm) }))
        }
        encoder if of_encoder(encoder) => (Pooled::First, dense(PoolerKind::Tanh, true)),
        other if config.bidirectional() || other == "modernbert-decoder" => {
            return refused(format!("{} does not judge texts here", one_line(other)));
        }
        _ => (Pooled::Last, None),
    };
    let named = json.object("id2label")?.map(|labels| labels.keys().count());
    let labels = match (json.u32("num_labels")?, named) {
        (Some(labels), _) => labels,
        (None, Some(labels)) => u32::try_from(labels).unwrap_or(u32::MAX),
        (None, None) => 2,
    };
    let labels = bounded("num_labels", labels)?;
    config.classifier = Some(Classifier { pooling, dense, labels, bias: of_encoder(&config.architecture) });
    (config.headless, config.transform, config.tied) = (true, None, Some(false));
    Ok(())
}
