//! Samplers by name, for command lines and scripts.

use super::{Dry, Filter, Mirostat, Samplers};
use crate::error::{Error, Result};
use foveate_kernels::ops::settings::nearest;
use std::str::FromStr;

/// Every name that [`Samplers::set`] takes, and what it sets.
const NAMES: [(&str, &str); 26] = [
    ("order", "filters in their order, separated by commas"),
    ("dynamic-temperature", "RANGE or RANGE:EXPONENT; 0 is off"),
    ("top-n-sigma", "standard deviations below the largest logit; 0 is off"),
    ("top-h", "share of the entropy, 0 to 1; 0 is off"),
    ("typical", "probability of the most typical tokens, 0 to 1; 1 is off"),
    ("tail-free", "share of the curvature, 0 to 1; 1 is off"),
    ("epsilon", "least probability; 0 is off"),
    ("eta", "least probability at low entropy; 0 is off"),
    ("xtc-probability", "chance of XTC, 0 to 1; 0 is off"),
    ("xtc-threshold", "probability above which XTC removes tokens"),
    ("frequency-penalty", "subtracted for each occurrence in the answer"),
    ("presence-penalty", "subtracted from tokens of the answer"),
    ("penalty-window", "last tokens that penalties look at, prompt included"),
    ("dry-multiplier", "size of the DRY penalty; 0 is off"),
    ("dry-base", "growth of the DRY penalty with the length"),
    ("dry-allowed-length", "length of free repetitions"),
    ("dry-window", "last tokens that DRY searches"),
    ("dry-breaker", "text that no repetition goes across; repeatable"),
    ("no-repeat-ngram", "length of n-grams that never repeat; 0 is off"),
    ("ban", "text that the answer never holds; repeatable"),
    ("logit-bias", "ID=X: added to the logit of a token, -inf excludes it; repeatable"),
    ("mirostat", "1 or 2, the version"),
    ("mirostat-tau", "target surprise in bits"),
    ("mirostat-eta", "learning rate"),
    ("mirostat-surprise", "whole (the paper's) or truncated (llama.cpp's)"),
    ("min-tokens", "tokens before the answer may end"),
];

/// A number, as the setting of this name.
fn parsed<T: FromStr>(name: &str, value: &str) -> Result<T> {
    value.trim().parse().map_err(|_| wrong(name, "a number", value))
}

fn wrong(name: &str, expected: &str, value: &str) -> Error {
    let known = NAMES.iter().map(|(known, _)| *known).find(|known| *known == name).unwrap_or("sampler");
    Error::out_of_range(known, expected, format!("{value:?}"))
}

impl Samplers {
    /// The names that [`set`](Self::set) takes, each with what its value is.
    pub fn names() -> &'static [(&'static str, &'static str)] {
        &NAMES
    }

    /// Sets a sampler by its name: `typical`, or `topNSigma` for `top-n-sigma`.
    ///
    /// # Errors
    /// `Setting` for an unknown name, with the nearest known one; `OutOfRange` for a value that is no number. Ranges are
    /// checked by [`validate`](Self::validate).
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let name = &kebab(name);
        let number = || parsed::<f32>(name, value);
        let whole = || value.trim().parse::<u32>().map_err(|_| wrong(name, "a whole number", value));
        match name.as_str() {
            "order" => {
                self.order = value.split(',').map(|filter| named_filter(filter.trim())).collect::<Result<_>>()?
            }
            "dynamic-temperature" => {
                let (range, exponent) = value.split_once(':').unwrap_or((value, "1"));
                (self.dynamic_range, self.dynamic_exponent) = (parsed(name, range)?, parsed(name, exponent)?);
            }
            "top-n-sigma" => self.top_n_sigma = number()?,
            "top-h" => self.top_h = number()?,
            "typical" => self.typical = number()?,
            "tail-free" => self.tail_free = number()?,
            "epsilon" => self.epsilon = number()?,
            "eta" => self.eta = number()?,
            "xtc-probability" => self.xtc_probability = number()?,
            "xtc-threshold" => self.xtc_threshold = number()?,
            "frequency-penalty" => self.frequency_penalty = number()?,
            "presence-penalty" => self.presence_penalty = number()?,
            "penalty-window" => self.penalty_window = Some(whole()?),
            "dry-multiplier" => self.dry.multiplier = number()?,
            "dry-base" => self.dry.base = number()?,
            "dry-allowed-length" => self.dry.allowed_length = whole()?,
            "dry-window" => self.dry.window = Some(whole()?),
            "dry-breaker" => {
                // The first one replaces the default ones.
                if self.dry.breakers == Dry::default().breakers {
                    self.dry.breakers.clear();
                }
                self.dry.breakers.push(value.into());
            }
            "no-repeat-ngram" => self.no_repeat_ngram = whole()?,
            "ban" => self.banned.push(value.into()),
            "logit-bias" => {
                let pair = value.split_once('=').and_then(|(id, x)| id.trim().parse().ok().zip(x.trim().parse().ok()));
                self.logit_bias.push(pair.ok_or_else(|| wrong(name, "ID=X, such as 42=-1.5", value))?);
            }
            "mirostat" => self.mirostat_mut().version = whole()?,
            "mirostat-tau" => self.mirostat_mut().tau = number()?,
            "mirostat-eta" => self.mirostat_mut().eta = number()?,
            "mirostat-surprise" => {
                self.mirostat_mut().truncated = match value {
                    "whole" => false,
                    "truncated" => true,
                    other => return Err(wrong(name, "whole or truncated", other)),
                };
            }
            "min-tokens" => self.min_tokens = whole()?.into(),
            unknown => return Err(unknown_name("sampler", unknown, NAMES.iter().map(|(name, _)| *name))),
        }
        Ok(())
    }

    /// Mirostat, turned on.
    fn mirostat_mut(&mut self) -> &mut Mirostat {
        self.mirostat.get_or_insert_default()
    }
}

/// `topNSigma` as `top-n-sigma`.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            kebab.push('-');
        }
        kebab.push(if c == '_' { '-' } else { c.to_ascii_lowercase() });
    }
    kebab
}

fn named_filter(name: &str) -> Result<Filter> {
    let found = Filter::ORDER.into_iter().find(|filter| filter.name() == name);
    found.ok_or_else(|| unknown_name("filter", name, Filter::ORDER.into_iter().map(Filter::name)))
}

fn unknown_name(what: &str, name: &str, known: impl Iterator<Item = &'static str> + Clone) -> Error {
    let near = nearest(name, known.clone()).map_or(".".into(), |near| format!(": did you mean {near}?"));
    let known: Vec<&str> = known.collect();
    Error::Setting { reason: format!("no {what} is named {name:?}{near} These are known: {}", known.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampler_is_set_by_either_spelling_and_suggests_the_nearest_name() {
        let mut samplers = Samplers::default();
        samplers.set("top-n-sigma", "1.5").expect("known");
        samplers.set("noRepeatNgram", "3").expect("known");
        assert_eq!((samplers.top_n_sigma, samplers.no_repeat_ngram), (1.5, 3));
        let error = samplers.set("typcal", "1").expect_err("unknown").to_string();
        assert!(error.contains("did you mean typical?"), "{error}");
        let error = samplers.set("order", "top-k,topp").expect_err("unknown").to_string();
        assert!(error.contains("did you mean top-p?"), "{error}");
        assert!(samplers.set("typical", "much").is_err());
        // Every name is taken, by some value.
        for (name, _) in Samplers::names() {
            let taken =
                ["1", "top-k", "whole", "1=2"].into_iter().any(|value| Samplers::default().set(name, value).is_ok());
            assert!(taken, "{name}");
        }
    }
}
