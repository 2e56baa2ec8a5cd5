//! Values of settings as text, and the pairs that give them.

use crate::error::{Error, Result};
use foveate_kernels::dtype::DType;
use foveate_kernels::{activation, centroids, conv, delta, norm, rope, route};

/// A value of a setting, as text.
pub(super) trait Value: Sized {
    /// What the text must be.
    fn expected() -> String;
    fn parse(text: &str) -> Option<Self>;
}

impl Value for u32 {
    fn expected() -> String {
        "a whole number below 2^32".into()
    }
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for f32 {
    fn expected() -> String {
        "a number".into()
    }
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl<T: Value> Value for Option<T> {
    fn expected() -> String {
        format!("{} or none", T::expected())
    }
    fn parse(text: &str) -> Option<Self> {
        if text == "none" { Some(None) } else { T::parse(text).map(Some) }
    }
}

/// A value with names.
macro_rules! named {
    ($type:ty: $($name:literal => $value:expr),* $(,)?) => {
        impl Value for $type {
            fn expected() -> String {
                [$($name),*].join(" or ")
            }
            fn parse(text: &str) -> Option<Self> {
                match text { $($name => Some($value),)* _ => None }
            }
        }
    };
}

named!(bool: "true" => true, "false" => false);
named!(norm::Kind: "rms" => norm::Kind::Rms, "layer" => norm::Kind::Layer);
named!(route::Norm: "none" => route::Norm::None, "l2" => route::Norm::L2, "layer" => route::Norm::Layer);
named!(route::Selection:
    "balanced" => route::Selection::Balanced, "prefix" => route::Selection::Prefix,
    "nearest" => route::Selection::Nearest);
named!(centroids::Update:
    "counted" => centroids::Update::Counted, "sums" => centroids::Update::Sums,
    "unit" => centroids::Update::Unit, "smoothed" => centroids::Update::Smoothed);
named!(rope::Pairing: "half" => rope::Pairing::Half, "interleaved" => rope::Pairing::Interleaved);
named!(delta::Gate:
    "none" => delta::Gate::None, "head" => delta::Gate::Head,
    "channel" => delta::Gate::Channel, "erase_write" => delta::Gate::EraseWrite);
named!(conv::Activation:
    "none" => conv::Activation::None, "silu" => conv::Activation::Silu,
    "relu" => conv::Activation::Relu, "elu_plus_one" => conv::Activation::EluPlusOne);
named!(activation::Kind:
    "silu" => activation::Kind::Silu, "gelu" => activation::Kind::Gelu,
    "gelu_tanh" => activation::Kind::GeluTanh, "relu" => activation::Kind::Relu,
    "sigmoid" => activation::Kind::Sigmoid);

impl Value for DType {
    fn expected() -> String {
        DType::WEIGHTS.map(DType::name).join(" or ")
    }
    fn parse(text: &str) -> Option<Self> {
        DType::WEIGHTS.into_iter().find(|format| format.name() == text)
    }
}

/// Pairs as they were given, and which names an op knows.
pub(super) struct Values<'a> {
    pub(super) op: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
    pub(super) known: Vec<&'static str>,
}

impl<'a> Values<'a> {
    pub(super) fn new(op: &'a str, settings: &'a str) -> Result<Self> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for setting in settings.split(',').map(str::trim).filter(|setting| !setting.is_empty()) {
            let reason = format!("a setting must be NAME=VALUE, got {setting}");
            let (name, value) = setting.split_once('=').ok_or(Error::Config { reason })?;
            pairs.push((name.trim(), value.trim()));
        }
        Ok(Self { op, pairs, known: Vec::new() })
    }

    /// The value of a setting that goes by any of `names`, separated by bars.
    pub(super) fn get<T: Value>(&mut self, names: &'static str, otherwise: T) -> Result<T> {
        self.known.push(names);
        let mut given = self.pairs.iter().filter(|(name, _)| names.split('|').any(|n| n == *name));
        let Some((name, value)) = given.next() else { return Ok(otherwise) };
        let wrong = |expected: String, got: &str| {
            let reason = format!("{}: {name} must be {expected}, got {got}", self.op);
            Error::Config { reason }
        };
        if let Some((again, value)) = given.next() {
            return Err(wrong("given once".into(), &format!("{again}={value} besides")));
        }
        T::parse(value).ok_or_else(|| wrong(T::expected(), value))
    }

    pub(super) fn given(&self, names: &str) -> bool {
        self.pairs.iter().any(|(name, _)| names.split('|').any(|n| n == *name))
    }

    /// Refuses what no setting was asked for.
    pub(super) fn finish(&self) -> Result<()> {
        let known = |name: &str| self.known.iter().any(|names| names.split('|').any(|n| n == name));
        match self.pairs.iter().find(|(name, _)| !known(name)) {
            None => Ok(()),
            Some((name, _)) => Err(Error::Config {
                reason: format!("{} has no setting {name}; it has {}", self.op, self.known.join(", ")),
            }),
        }
    }
}
