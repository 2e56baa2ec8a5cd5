//! The files with which sentence-transformers describes how a model's hidden states become a vector.

use super::dense::Dense;
use super::pooling::{Mode, Pooling};
use crate::backend::Backend;
use crate::config::Pooled;
use crate::error::{Error, Result, one_line};
use crate::model::Model;
use serde_json::Value;
use std::collections::BTreeMap;

/// The steps from hidden states to a vector, and what is put in front of texts.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Recipe {
    /// From vectors of tokens to one.
    pub pooling: Pooling,
    /// The steps after pooling, in order.
    pub steps: Vec<Step>,
    /// Texts that are put in front of others, by their names.
    pub prompts: BTreeMap<String, String>,
    /// The name of the prompt that stands in front of texts without one of their own.
    pub default_prompt: Option<String>,
    /// Tokens of a text at most, those that the tokenizer puts around it included.
    pub max_tokens: Option<u32>,
    /// Texts are put in lower case first.
    pub lower_case: bool,
    /// How vectors are compared.
    pub similarity: Similarity,
}

/// A step behind the pooling.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Step {
    /// A product with an activation.
    Dense(Dense),
    /// Division by the length.
    Normalize,
}

/// How two vectors are compared: larger is nearer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Similarity {
    /// The cosine of the angle between them.
    #[default]
    Cosine,
    /// Their product.
    Dot,
    /// The negative length of their difference.
    Euclidean,
    /// The negative sum of the absolute differences.
    Manhattan,
}

impl Similarity {
    /// Compares two vectors of the same length.
    pub fn of(self, a: &[f32], b: &[f32]) -> f64 {
        let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let dot: f64 = pairs().map(|(a, b)| a * b).sum();
        match self {
            Self::Dot => dot,
            Self::Cosine => {
                let lengths: f64 = [a, b].map(|v| length(v).max(1e-12)).into_iter().product();
                dot / lengths
            }
            Self::Euclidean => -pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
            Self::Manhattan => -pairs().map(|(a, b)| (a - b).abs()).sum::<f64>(),
        }
    }
}

/// The length of a vector.
fn length(v: &[f32]) -> f64 {
    v.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
}

/// Divides a vector by its length.
pub(super) fn normalize(v: &mut [f32]) {
    let length = length(v).max(1e-12);
    v.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
}

fn config(reason: String) -> Error {
    Error::Config { reason }
}

impl Recipe {
    /// Reads `modules.json` and the files that it names through `file`, which returns the contents of a file of the model's
    /// folder, or `None` if there is no such file. Without `modules.json` there is no recipe.
    ///
    /// # Errors
    /// Any error that `file` returns; `Config` that names the file, the key and its value; as [`Checkpoint::safetensors`] for weights.
    ///
    /// [`Checkpoint::safetensors`]: crate::weights::Checkpoint::safetensors
    pub async fn read<E: From<Error>>(
        mut file: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Option<Self>, E> {
        let Some(modules) = json(&mut file, "modules.json")? else { return Ok(None) };
        let mut recipe = Self { pooling: Pooling::default(), ..Self::default() };
        let mut pooled = false;
        for (at, module) in modules.as_array().into_iter().flatten().enumerate() {
            let text = |key: &str| module.get(key).and_then(Value::as_str);
            let kind = text("type").and_then(|kind| kind.rsplit('.').next()).unwrap_or("without a type");
            let path = text("path").unwrap_or_default();
            let name = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            if path.split(['/', '\\']).any(|part| part == "..") || path.starts_with(['/', '\\']) {
                let path = one_line(path);
                return Err(config(format!("modules.json: path {path} leads out of the folder")).into());
            }
            match kind {
                "Transformer" if at == 0 && path.is_empty() => {}
                "Transformer" => {
                    let path = one_line(path);
                    return Err(config(format!(
                        "modules.json: a Transformer at path {path:?} is not supported: the first module, at \"\", is"
                    ))
                    .into());
                }
                "Pooling" if !pooled && recipe.steps.is_empty() => {
                    let file_name = name("config.json");
                    let missing = || config(format!("{file_name} is missing, and modules.json names it"));
                    let found = json(&mut file, &file_name)?.ok_or_else(missing)?;
                    recipe.pooling = Pooling::read(&file_name, &found)?;
                    pooled = true;
                }
                "Dense" if pooled => {
                    let file_name = name("config.json");
                    let missing = |name: &str| config(format!("{name} is missing, and modules.json names its folder"));
                    let found = json(&mut file, &file_name)?.ok_or_else(|| missing(&file_name))?;
                    let weights = name("model.safetensors");
                    let bytes = file(&weights)?.ok_or_else(|| missing(&weights))?;
                    recipe.steps.push(Step::Dense(Dense::read(&file_name, &found, &weights, bytes).await?));
                }
                "Normalize" if pooled => recipe.steps.push(Step::Normalize),
                // Of training.
                "Dropout" => {}
                other => {
                    let other = one_line(other);
                    let reason = format!(
                        "modules.json: module {at} of type {other} is not supported here: Transformer, Pooling, then Dense, \
                         Normalize and Dropout are"
                    );
                    return Err(config(reason).into());
                }
            }
        }
        if !pooled {
            return Err(config("modules.json names no module of type Pooling".into()).into());
        }
        recipe.settings(&mut file)?;
        Ok(Some(recipe))
    }

    /// Returns the recipe that files of sentence-transformers gave, or without one that of the model's own file, or the mean
    /// of all tokens.
    pub fn of<B: Backend>(files: Option<Self>, model: &Model<B>) -> Self {
        files.or_else(|| Self::of_model(model)).unwrap_or_default()
    }

    /// Returns what a GGUF file says of the vectors of texts: a pooling and the products behind it. Vectors have the length
    /// 1, as those of llama.cpp. `None` for other models, and for files that name no pooling.
    pub fn of_model<B: Backend>(model: &Model<B>) -> Option<Self> {
        let config = model.config();
        let mode = match config.pooled? {
            Pooled::First => Mode::First,
            Pooled::Mean => Mode::Mean,
            Pooled::Last => Mode::Last,
        };
        let pooling = Pooling { modes: vec![mode], ..Pooling::default() };
        let sizes = config.pooled_dense.iter();
        let dense = sizes.zip(&model.decoder().pooled_dense).map(|(size, of)| Dense::plain(*size, &of.weight));
        let steps = dense.map(Step::Dense).chain([Step::Normalize]).collect();
        Some(Self { pooling, steps, ..Self::default() })
    }

    /// Reads the settings of the whole, and of its tokenizer.
    fn settings<E: From<Error>>(&mut self, file: &mut impl FnMut(&str) -> Result<Option<Vec<u8>>, E>) -> Result<(), E> {
        const WHOLE: &str = "config_sentence_transformers.json";
        const TEXTS: &str = "sentence_bert_config.json";
        let wrong = |file: &str, key: &str, expected: &str, value: &Value| {
            config(format!("{file}: {key} must be {expected}, got {}", one_line(&value.to_string())))
        };
        let there = |value: &Value, key: &str| value.get(key).filter(|value| !value.is_null()).cloned();
        if let Some(whole) = json(file, WHOLE)? {
            if let Some(prompts) = there(&whole, "prompts") {
                let map = prompts.as_object().ok_or_else(|| wrong(WHOLE, "prompts", "an object of texts", &prompts))?;
                for (name, prompt) in map {
                    let text =
                        prompt.as_str().ok_or_else(|| wrong(WHOLE, &format!("prompts.{name}"), "a text", prompt))?;
                    self.prompts.insert(name.clone(), text.into());
                }
            }
            if let Some(name) = there(&whole, "default_prompt_name") {
                let known = name.as_str().filter(|name| self.prompts.contains_key(*name));
                let known = known.ok_or_else(|| wrong(WHOLE, "default_prompt_name", "the name of a prompt", &name))?;
                self.default_prompt = Some(known.into());
            }
            if let Some(name) = there(&whole, "similarity_fn_name") {
                self.similarity = match name.as_str() {
                    Some("cosine") => Similarity::Cosine,
                    Some("dot" | "dot_product") => Similarity::Dot,
                    Some("euclidean") => Similarity::Euclidean,
                    Some("manhattan") => Similarity::Manhattan,
                    _ => {
                        let expected = "cosine, dot, euclidean or manhattan";
                        return Err(wrong(WHOLE, "similarity_fn_name", expected, &name).into());
                    }
                };
            }
        }
        if let Some(texts) = json(file, TEXTS)? {
            if let Some(most) = there(&texts, "max_seq_length") {
                let tokens = most.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
                self.max_tokens = Some(tokens.ok_or_else(|| wrong(TEXTS, "max_seq_length", "1 or more", &most))?);
            }
            if let Some(lower) = there(&texts, "do_lower_case") {
                let on = lower.as_bool();
                self.lower_case = on.ok_or_else(|| wrong(TEXTS, "do_lower_case", "true or false", &lower))?;
            }
        }
        Ok(())
    }

    /// Returns the elements of a vector, given those of a hidden state.
    ///
    /// # Errors
    /// `Config` if a step reads another number than the one before it gives.
    pub(super) fn dim(&self, hidden: u32) -> Result<u32> {
        if let Some(dim) = self.pooling.dim.filter(|dim| *dim != hidden) {
            return Err(config(format!("the pooling is of vectors of {dim} elements, the model's have {hidden}")));
        }
        let pooled = hidden.saturating_mul(self.pooling.modes.len() as u32);
        self.steps.iter().try_fold(pooled, |dim, step| match step {
            Step::Dense(dense) if dense.inputs != dim => {
                Err(config(format!("a Dense module reads {} elements, the step before it gives {dim}", dense.inputs)))
            }
            Step::Dense(dense) => Ok(dense.outputs),
            Step::Normalize => Ok(dim),
        })
    }

    /// Takes the steps from the hidden states of a text to its vector.
    pub(super) fn finish(&self, rows: &[f32], dim: usize, prompt: usize) -> Vec<f32> {
        let mut vector = self.pooling.pool(rows, dim, prompt);
        for step in &self.steps {
            match step {
                Step::Dense(dense) => vector = dense.apply(&vector),
                Step::Normalize => normalize(&mut vector),
            }
        }
        vector
    }
}

/// A file of JSON that may be missing.
fn json<E: From<Error>>(
    file: &mut impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
    name: &str,
) -> Result<Option<Value>, E> {
    let Some(bytes) = file(name)? else { return Ok(None) };
    Ok(Some(serde_json::from_slice(&bytes).map_err(|error| config(format!("{name}: {error}")))?))
}
