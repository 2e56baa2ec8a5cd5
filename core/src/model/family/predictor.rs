//! The prediction heads of families that have them.

use super::custom::Places;
use super::{Family, Place, Role};
use crate::config::{Config, Mixer};
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// The beginning of the names of their tensors.
pub(super) const TENSORS: &str = "mtp.";

/// Families whose heads are known.
const FAMILIES: [&str; 3] = ["qwen3_5", "qwen3_5_moe", "qwen3_next"];

impl Family {
    /// The plan of the prediction head: one layer with attention as the model's, and a norm.
    ///
    /// # Errors
    /// `Config` for a family without a known head.
    pub(crate) fn predictor(&self) -> Result<Self> {
        let layer = self.config.layers.iter().find(|layer| matches!(layer.mixer, Mixer::Attention(_)));
        let Some((layer, Places::Known(naming))) =
            layer.zip(Some(&self.place)).filter(|_| FAMILIES.contains(&&*self.config.architecture))
        else {
            let reason = format!(
                "prediction heads of {} are not known, those of {} are: draft by lookup or with a smaller model",
                self.config.architecture,
                FAMILIES.join(", ")
            );
            return Err(Error::Config { reason });
        };
        let mut config = self.config.clone();
        config.layers = vec![layer.clone()];
        let naming = *naming;
        let place = Places::Custom(Box::new(move |config: &Config, role: Role, layer: usize, kind: &str| {
            let of = naming.place(config, role, layer, kind);
            let bare = of.name.strip_prefix("model.").unwrap_or(&of.name);
            let bare = bare.strip_prefix("language_model.").unwrap_or(bare);
            Place { name: format!("{TENSORS}{bare}"), ..of }
        }));
        Ok(Self { quantized: self.quantized, predicts: true, ..Self::with(config, place) })
    }

    /// The first tensor that was read in the place of one that a prediction head lacks, by the head's name for it: files
    /// may have other tensors without the first word of their name.
    pub(crate) fn foreign(&self, used: &BTreeSet<String>) -> Option<String> {
        let name = used.iter().find(|name| self.predicts && !name.starts_with(TENSORS))?;
        let bare = name.strip_prefix("model.").unwrap_or(name);
        Some(format!("{TENSORS}{}", bare.strip_prefix("language_model.").unwrap_or(bare)))
    }
}
