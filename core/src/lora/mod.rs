//! Low-rank adapters (LoRA, 2106.09685): fine-tuned changes of a model's products, kept as products beside them.
//!
//! A product with an adapter gives `W x + s B (A x)`, where `A` is `[rank, inputs]`, `B` is `[outputs, rank]` and
//! `s = alpha / rank`, or `alpha / sqrt(rank)` with `use_rslora`. `W` stays as it is, also where it is quantised: merging
//! would decode it and either store it in two to seven times the memory or round it again. The cost is
//! `4 rank (inputs + outputs)` bytes for each product, and as many multiplications a token as `A` and `B` have elements.
//!
//! Adapters are read from PEFT's folders (`adapter_config.json`, `adapter_model.safetensors`) and from GGUF files. Either kind
//! fits either kind of model: names are translated, and rows of queries and keys brought into the model's order.

mod order;
mod peft;

use crate::error::{Error, Result, one_line};
use crate::model::Files;
use crate::weights::Checkpoint;
use crate::weights::adapters::{Pair, key};
use foveate_kernels::quant;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use crate::weights::adapters::Adapter;

impl Adapter {
    /// Reads an adapter in PEFT's form: `config` is `adapter_config.json`, `weights` its safetensors file.
    ///
    /// # Errors
    /// `Config` for settings that are not supported (DoRA, biases, further trained modules) or not known, by their names;
    /// `Format` and `TensorShape` for tensors that are no pairs.
    pub async fn from_peft(config: &[u8], weights: &Checkpoint) -> Result<Self> {
        let config = peft::Config::parse(config)?;
        let mut halves = BTreeMap::new();
        for tensor in weights.tensors() {
            let module = tensor.name.strip_prefix("base_model.model.").unwrap_or(&tensor.name);
            let half = ["A", "B"].into_iter().find_map(|half| {
                let ends = [format!(".lora_{half}.weight"), format!(".lora_{half}.default.weight")];
                ends.iter().find_map(|end| module.strip_suffix(end.as_str())).map(|module| (module, half))
            });
            let Some((module, half)) = half else {
                let reason = "only lora_A.weight and lora_B.weight of products are supported";
                return Err(Error::format(one_line(&tensor.name), reason));
            };
            halves.insert((key(&format!("{module}.weight")), half), (tensor.name.clone(), module.to_owned()));
        }
        let scale = |module: &str, rank: u32| config.scale(module, rank);
        let pairs = pairs(weights, &halves, &scale).await?;
        Ok(Self { name: "the adapter".into(), gguf: None, pairs })
    }

    /// Reads an adapter from a GGUF file.
    ///
    /// # Errors
    /// `Config` for a file that holds no LoRA adapter; `Format` and `TensorShape` for tensors that are no pairs.
    pub async fn from_gguf(weights: &Checkpoint) -> Result<Self> {
        let refused = |reason: String| Err(Error::Config { reason });
        let Some(metadata) = weights.gguf_metadata() else { return refused("a GGUF file has no metadata".into()) };
        let text = |key: &str| metadata.str(key).map(one_line).unwrap_or_default();
        let kinds = [("general.type", "adapter"), ("adapter.type", "lora")];
        if let Some((key, expected)) = kinds.into_iter().find(|(key, expected)| text(key) != *expected) {
            return refused(format!("{key} is {:?}, and a LoRA adapter has {expected:?}", text(key)));
        }
        const KNOWN: [&str; 4] =
            ["adapter.type", "adapter.lora.alpha", "adapter.lora.task_name", "adapter.lora.prompt_prefix"];
        let unknown = metadata.iter().map(|(key, _)| key).find(|k| k.starts_with("adapter.") && !KNOWN.contains(k));
        if let Some(key) = unknown {
            return refused(format!("{} of the adapter is not supported", one_line(key)));
        }
        let alpha = metadata.f64("adapter.lora.alpha").unwrap_or(0.0);
        let mut halves = BTreeMap::new();
        for tensor in weights.tensors() {
            let half = [(".lora_a", "A"), (".lora_b", "B")];
            let half = half.into_iter().find_map(|(end, half)| Some((tensor.name.strip_suffix(end)?, half)));
            let Some((module, half)) = half else {
                return Err(Error::format(
                    one_line(&tensor.name),
                    "only .lora_a and .lora_b of products are supported",
                ));
            };
            halves.insert((key(module), half), (tensor.name.clone(), module.to_owned()));
        }
        // Without alpha, the product is taken as it is.
        let scale = |_: &str, rank: u32| Ok(if alpha == 0.0 { 1.0 } else { alpha / f64::from(rank) });
        let pairs = pairs(weights, &halves, &scale).await?;
        Ok(Self { name: "the adapter".into(), gguf: Some(text("general.architecture")), pairs })
    }

    /// Gives the adapter a name for messages, usually its path.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }
}

/// The names of both halves of each pair, and of the product that it is added to.
type Halves = BTreeMap<(String, &'static str), (String, String)>;

/// Reads the pairs. `scale` gives the factor of a product by its name and rank.
async fn pairs(
    weights: &Checkpoint,
    halves: &Halves,
    scale: &(dyn Fn(&str, u32) -> Result<f64> + Sync),
) -> Result<BTreeMap<String, Pair>> {
    let mut pairs = BTreeMap::new();
    let products: BTreeSet<&String> = halves.keys().map(|(key, _)| key).collect();
    if products.is_empty() {
        return Err(Error::Config { reason: "the adapter has no tensors".into() });
    }
    for product in products {
        let half = |half| halves.get(&(product.clone(), half));
        let (Some((a_name, module)), Some((b_name, _))) = (half("A"), half("B")) else {
            let one = half("A").or(half("B")).map_or(product, |(name, _)| name);
            return Err(Error::format(one_line(one), "its other half, A or B, is missing"));
        };
        let (a, [rank, inputs]) = matrix(weights, a_name).await?;
        let (mut b, [outputs, of]) = matrix(weights, b_name).await?;
        if of != rank || rank == 0 {
            let expected = vec![outputs.into(), rank.into()];
            return Err(Error::TensorShape { name: b_name.clone(), expected, got: vec![outputs.into(), of.into()] });
        }
        let factor = scale(module, rank)?;
        b.iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
        if let Some(at) = a.iter().chain(&b).position(|x| !x.is_finite()) {
            return Err(Error::format(one_line(b_name), format!("element {at} of A and s B is not finite")));
        }
        pairs.insert(product.clone(), Pair { rank, inputs, outputs, a, b, name: b_name.clone() });
    }
    Ok(pairs)
}

/// The values of a matrix, and its numbers of rows and columns.
async fn matrix(weights: &Checkpoint, name: &str) -> Result<(Vec<f32>, [u32; 2])> {
    let missing = || Error::MissingTensor { name: name.into(), shape: Vec::new() };
    let tensor = weights.get(name).ok_or_else(missing)?;
    let format = tensor.dtype()?;
    let sizes = tensor.shape.iter().map(|n| u32::try_from(*n).ok()).collect::<Option<Vec<_>>>();
    let Some(&[rows, cols]) = sizes.as_deref() else {
        return Err(Error::format(one_line(name), format!("it must have two dimensions, got {:?}", tensor.shape)));
    };
    if !format.is_weight() {
        let dtype = format.name().into();
        return Err(Error::UnsupportedTensorType { tensor: name.into(), dtype });
    }
    let data = weights.read(tensor, 0, tensor.bytes).await?;
    let mut values = vec![0.0; tensor.elements() as usize];
    quant::decode(format, &data, &mut values);
    Ok((values, [rows, cols]))
}

impl Files {
    /// Adds `scale` times an adapter to the model. Several may be added, one after the other.
    ///
    /// # Errors
    /// `Setting` for a scale that is not finite; `Config` for an adapter whose rows can't be brought into the model's order.
    /// Loading the model tells whether the adapter's products are there.
    pub fn with_adapter(mut self, adapter: Adapter, scale: f32) -> Result<Self> {
        if !scale.is_finite() {
            return Err(Error::Setting { reason: format!("the scale of an adapter must be finite, got {scale}") });
        }
        let mut adapter = order::reordered(adapter, &self.family.config, self.weights.gguf_metadata().is_some())?;
        for pair in adapter.pairs.values_mut() {
            pair.b.iter_mut().for_each(|x| *x *= scale);
        }
        self.weights.adapters.0.push(Arc::new(adapter));
        Ok(self)
    }
}
