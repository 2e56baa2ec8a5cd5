//! From the hidden states of a text's tokens to one vector.

use crate::error::{Error, Result, one_line};
use serde_json::Value;

/// How the vectors of tokens become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Mode {
    /// The first token's.
    First,
    /// The largest of each element.
    Max,
    /// The mean.
    Mean,
    /// The sum, divided by the square root of the number of tokens.
    MeanSqrt,
    /// The mean, weighted by the tokens' places, 1, 2, 3 and so on.
    Weighted,
    /// The last token's.
    Last,
}

/// The keys of older files, in the order of their results, and the words of newer ones.
const MODES: [(&str, &str, Mode); 6] = [
    ("pooling_mode_cls_token", "cls", Mode::First),
    ("pooling_mode_max_tokens", "max", Mode::Max),
    ("pooling_mode_mean_tokens", "mean", Mode::Mean),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", Mode::MeanSqrt),
    ("pooling_mode_weightedmean_tokens", "weightedmean", Mode::Weighted),
    ("pooling_mode_lasttoken", "lasttoken", Mode::Last),
];

/// A module `Pooling`.
#[derive(Clone, PartialEq, Debug)]
pub struct Pooling {
    /// The modes, whose results stand one behind the other.
    pub modes: Vec<Mode>,
    /// The tokens of a prompt count.
    pub include_prompt: bool,
    /// Elements of a token's vector, where the file says it.
    pub dim: Option<u32>,
}

impl Default for Pooling {
    fn default() -> Self {
        Self { modes: vec![Mode::Mean], include_prompt: true, dim: None }
    }
}

impl Pooling {
    /// Reads the module's `config.json`; `file` is its name in messages.
    ///
    /// # Errors
    /// `Config` that names the key and its value.
    pub(super) fn read(file: &str, config: &Value) -> Result<Self> {
        let wrong = |key: &str, expected: &str, value: &Value| Error::Config {
            reason: format!("{file}: {key} must be {expected}, got {}", one_line(&value.to_string())),
        };
        let Some(map) = config.as_object() else { return Err(wrong("it", "an object", config)) };
        let mut pooling = Self { modes: Vec::new(), ..Self::default() };
        let flag = |key: &str, value: &Value| value.as_bool().ok_or_else(|| wrong(key, "true or false", value));
        for (key, value) in map {
            match key.as_str() {
                "word_embedding_dimension" | "embedding_dimension" => {
                    let dim = value.as_u64().and_then(|n| u32::try_from(n).ok());
                    pooling.dim = Some(dim.ok_or_else(|| wrong(key, "a whole number", value))?);
                }
                "include_prompt" => pooling.include_prompt = flag(key, value)?,
                "pooling_mode" => {
                    let one = std::slice::from_ref(value);
                    for name in value.as_array().map_or(one, |names| names.as_slice()) {
                        let known = MODES.iter().find(|(_, word, _)| Some(*word) == name.as_str());
                        let words = MODES.map(|(_, word, _)| word).join(", ");
                        let (.., mode) =
                            known.ok_or_else(|| wrong(key, &format!("one or several of {words}"), name))?;
                        pooling.modes.push(*mode);
                    }
                }
                key if MODES.iter().any(|(older, ..)| *older == key) => drop(flag(key, value)?),
                _ => return Err(wrong(key, "left out: it is not supported", value)),
            }
        }
        if !map.contains_key("pooling_mode") {
            let on = |(key, ..): &&(&str, &str, Mode)| map.get(*key).and_then(Value::as_bool) == Some(true);
            pooling.modes = MODES.iter().filter(on).map(|(.., mode)| *mode).collect();
        }
        if pooling.modes.is_empty() {
            pooling.modes.push(Mode::Mean);
        }
        Ok(pooling)
    }

    /// The vector of a text: of rows of `dim` elements each, of which the first `prompt` are a prompt's.
    pub(super) fn pool(&self, rows: &[f32], dim: usize, prompt: usize) -> Vec<f32> {
        let tokens = rows.len() / dim;
        // If a prompt is all there is, it counts.
        let skip = if self.include_prompt || prompt >= tokens { 0 } else { prompt };
        let counted = || rows.chunks_exact(dim).skip(skip);
        let sum = |weight: &dyn Fn(usize) -> f64| -> Vec<f64> {
            let mut sum = vec![0.0; dim];
            for (at, row) in counted().enumerate() {
                sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += weight(skip + at) * f64::from(*x));
            }
            sum
        };
        let count = (tokens - skip) as f64;
        let over = |sum: Vec<f64>, by: f64| sum.into_iter().map(|x| (x / by) as f32).collect();
        let vector = |mode: &Mode| -> Vec<f32> {
            match mode {
                Mode::First => rows[skip * dim..][..dim].to_vec(),
                Mode::Last => rows[rows.len() - dim..].to_vec(),
                Mode::Max => (0..dim).map(|i| counted().map(|row| row[i]).fold(f32::NEG_INFINITY, f32::max)).collect(),
                Mode::Mean => over(sum(&|_| 1.0), count),
                Mode::MeanSqrt => over(sum(&|_| 1.0), count.sqrt()),
                Mode::Weighted => {
                    let weights = (skip..tokens).map(|at| (at + 1) as f64).sum();
                    over(sum(&|at| (at + 1) as f64), weights)
                }
            }
        };
        self.modes.iter().flat_map(vector).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ROWS: [f32; 6] = [1.0, -2.0, 3.0, 4.0, 5.0, -6.0];

    fn pooled(modes: &[Mode], include_prompt: bool, prompt: usize) -> Vec<f32> {
        Pooling { modes: modes.to_vec(), include_prompt, dim: None }.pool(&ROWS, 2, prompt)
    }

    #[test]
    fn modes_are_what_their_names_say() {
        assert_eq!(pooled(&[Mode::First], true, 0), [1.0, -2.0]);
        assert_eq!(pooled(&[Mode::Last], true, 0), [5.0, -6.0]);
        assert_eq!(pooled(&[Mode::Max], true, 0), [5.0, 4.0]);
        assert_eq!(pooled(&[Mode::Mean], true, 0), [3.0, -4.0 / 3.0]);
        assert_eq!(pooled(&[Mode::MeanSqrt], true, 0), [(9.0 / 3f64.sqrt()) as f32, (-4.0 / 3f64.sqrt()) as f32]);
        assert_eq!(pooled(&[Mode::Weighted], true, 0), [22.0 / 6.0, -2.0]);
        assert_eq!(pooled(&[Mode::First, Mode::Mean], true, 0), [1.0, -2.0, 3.0, -4.0 / 3.0]);
    }

    #[test]
    fn prompt_is_left_out_where_the_file_says_so() {
        assert_eq!(pooled(&[Mode::Mean], true, 1), [3.0, -4.0 / 3.0]);
        assert_eq!(pooled(&[Mode::Mean], false, 1), [4.0, -1.0]);
        assert_eq!(pooled(&[Mode::First], false, 1), [3.0, 4.0]);
        // Weights count from the first token, the prompt's included.
        assert_eq!(pooled(&[Mode::Weighted], false, 1), [21.0 / 5.0, -2.0]);
        assert_eq!(pooled(&[Mode::Max], false, 3), [5.0, 4.0]);
    }

    #[test]
    fn files_of_both_ages_are_read() {
        let old =
            json!({"word_embedding_dimension": 4, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true});
        let old = Pooling::read("1_Pooling/config.json", &old).expect("an old file");
        assert_eq!((old.modes, old.dim, old.include_prompt), (vec![Mode::First, Mode::Mean], Some(4), true));
        let new = json!({"embedding_dimension": 4, "pooling_mode": ["lasttoken", "max"], "include_prompt": false});
        let new = Pooling::read("1_Pooling/config.json", &new).expect("a new file");
        assert_eq!((new.modes, new.include_prompt), (vec![Mode::Last, Mode::Max], false));
        for bad in
            [json!({"pooling_mode": "median"}), json!({"pooling_mode_median": true}), json!({"include_prompt": 1})]
        {
            let error = Pooling::read("1_Pooling/config.json", &bad).expect_err("no such setting").to_string();
            let key = bad.as_object().and_then(|map| map.keys().next().cloned()).unwrap_or_default();
            assert!(error.contains("1_Pooling/config.json") && error.contains(&key), "{error}");
        }
    }
}
