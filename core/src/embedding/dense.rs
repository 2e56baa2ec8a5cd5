//! A product with an activation behind the pooling.

use crate::error::{Error, Result, one_line};
use crate::weights::{Checkpoint, Memory};
use foveate_kernels::quant;
use serde_json::Value;

/// A module `Dense`: `f(W x + b)`.
#[derive(Clone, PartialEq, Debug)]
pub struct Dense {
    /// Elements of what it reads.
    pub inputs: u32,
    /// Elements of what it gives.
    pub outputs: u32,
    /// `[outputs, inputs]`
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    activation: Activation,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Activation {
    Identity,
    Tanh,
    Relu,
    Sigmoid,
    Silu,
}

impl Activation {
    fn of(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match self {
            Self::Identity => x,
            Self::Tanh => x.tanh(),
            Self::Relu => x.max(0.0),
            Self::Sigmoid => sigmoid(x),
            Self::Silu => x * sigmoid(x),
        }
    }
}

impl Dense {
    /// Reads the module's `config.json` and its weights.
    ///
    /// # Errors
    /// `Config` that names the key and its value; `MissingTensor`, `TensorShape` and `UnsupportedTensorType` for weights.
    pub(super) async fn read(file: &str, config: &Value, weights: &str, bytes: Vec<u8>) -> Result<Self> {
        let wrong = |key: &str, expected: &str, value: &Value| Error::Config {
            reason: format!("{file}: {key} must be {expected}, got {}", one_line(&value.to_string())),
        };
        let get = |key: &str| config.get(key).unwrap_or(&Value::Null);
        let size = |key: &str| {
            let value = get(key);
            let size = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=1 << 24).contains(n));
            size.ok_or_else(|| wrong(key, "1 to 16777216", value))
        };
        let (inputs, outputs) = (size("in_features")?, size("out_features")?);
        let biased = match get("bias") {
            Value::Null => true,
            value => value.as_bool().ok_or_else(|| wrong("bias", "true or false", value))?,
        };
        let name = get("activation_function");
        let last = name.as_str().and_then(|name| name.rsplit('.').next());
        let activation = match last {
            None if name.is_null() => Activation::Tanh,
            Some("Identity") => Activation::Identity,
            Some("Tanh") => Activation::Tanh,
            Some("ReLU") => Activation::Relu,
            Some("Sigmoid") => Activation::Sigmoid,
            Some("SiLU") => Activation::Silu,
            _ => return Err(wrong("activation_function", "Identity, Tanh, ReLU, Sigmoid or SiLU of torch", name)),
        };
        for key in ["module_input_name", "module_output_name"] {
            let value = get(key);
            if !value.is_null() && value.as_str() != Some("sentence_embedding") {
                return Err(wrong(key, "sentence_embedding", value));
            }
        }
        let known =
            ["in_features", "out_features", "bias", "activation_function", "module_input_name", "module_output_name"];
        let map = config.as_object().ok_or_else(|| wrong("it", "an object", config))?;
        if let Some((key, value)) = map.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            return Err(wrong(key, "left out: it is not supported", value));
        }
        let checkpoint = Checkpoint::safetensors(vec![Box::new(Memory::new(weights, bytes))]).await?;
        let weight = values(&checkpoint, "linear.weight", &[outputs.into(), inputs.into()]).await?;
        let bias = match biased {
            true => Some(values(&checkpoint, "linear.bias", &[outputs.into()]).await?),
            false => None,
        };
        let used = ["linear.weight", "linear.bias"];
        let used = &used[..if biased { 2 } else { 1 }];
        if let Some(other) = checkpoint.names().find(|name| !used.contains(name)) {
            return Err(Error::format(weights, format!("tensor {} has no place in a Dense module", one_line(other))));
        }
        Ok(Self { inputs, outputs, weight, bias, activation })
    }

    /// A product without a bias or an activation.
    pub(super) fn plain([inputs, outputs]: [u32; 2], weight: &[f32]) -> Self {
        Self { inputs, outputs, weight: weight.into(), bias: None, activation: Activation::Identity }
    }

    /// The outputs for one vector.
    pub(super) fn apply(&self, x: &[f32]) -> Vec<f32> {
        let row = |(at, row): (usize, &[f32])| {
            let bias = self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[at]));
            let sum: f64 = row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            self.activation.of(sum + bias) as f32
        };
        self.weight.chunks_exact(self.inputs as usize).enumerate().map(row).collect()
    }
}

/// A tensor of floats in f32.
async fn values(file: &Checkpoint, name: &str, shape: &[u64]) -> Result<Vec<f32>> {
    let tensor = file.require(name, shape)?;
    let format = tensor.dtype()?;
    if !format.is_weight() || format.block_len() != 1 {
        return Err(Error::UnsupportedTensorType { tensor: name.into(), dtype: format.name().into() });
    }
    let data = file.read(tensor, 0, tensor.bytes).await?;
    let mut values = vec![0.0; data.len() / format.block_bytes() as usize];
    quant::decode(format, &data, &mut values);
    Ok(values)
}
