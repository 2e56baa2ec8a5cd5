//! Random specs of every op, from the table of its settings.

use crate::dtype::DType;
use crate::ops::Op;
use crate::ops::attention::attention;
use crate::ops::routing::{centroids, route, selected_attention};
use crate::ops::settings::{Range, Request, SettingError, Source, Table, Type, Value};

/// Numbers to choose with.
pub trait Entropy {
    /// Returns a number up to `most`. When the numbers are used up, returns 0.
    fn up_to(&mut self, most: u32) -> u32;
}

/// A [`Source`] of values that are mostly small and in their range, and sometimes anything: specs that `validate` refuses
/// are among them.
pub struct Drawn<'a> {
    /// The source of random numbers.
    pub entropy: &'a mut dyn Entropy,
}

impl Drawn<'_> {
    /// `true` in `of - 1` of `of` cases, and when the numbers are used up.
    fn mostly(&mut self, of: u32) -> bool {
        self.entropy.up_to(of - 1) != of - 1
    }

    fn coin(&mut self) -> bool {
        self.entropy.up_to(1) == 1
    }

    /// Mostly small, sometimes anything.
    fn size(&mut self) -> u32 {
        match self.entropy.up_to(15) {
            15 => self.entropy.up_to(u32::MAX),
            14 => self.entropy.up_to(300),
            // Whole blocks of quantised formats.
            13 => 32 * self.entropy.up_to(8),
            _ => self.entropy.up_to(20),
        }
    }

    fn count(&mut self, request: &Request<'_>) -> u32 {
        let of = |name| match request.known(name) {
            Some(Value::Count(n)) => n,
            _ => 0,
        };
        let default = if let Value::Count(n) = request.default { n } else { 0 };
        let usual = match request.field.range {
            Range::Counts(least, most) if self.mostly(8) => Some(least + self.entropy.up_to((most - least).min(20))),
            Range::PowerOfTwo if self.mostly(8) => Some(1 << self.entropy.up_to(6)),
            Range::EvenUpTo(other) if self.coin() => Some(of(other) / 2 * 2),
            Range::MultipleOf(other) if self.mostly(4) => Some(of(other).saturating_mul(1 + self.entropy.up_to(2))),
            Range::Divides(other) if self.mostly(4) => {
                let parts = 1 + self.entropy.up_to(2);
                Some(of(other)).filter(|n| n.is_multiple_of(parts)).map(|n| n / parts)
            }
            Range::FromDefault if self.coin() => Some(default.saturating_add(self.entropy.up_to(5))),
            // As large as another field.
            Range::Any | Range::Counts(..) if request.table.field(request.field.default).is_some() && self.coin() => {
                Some(default)
            }
            _ => None,
        };
        usual.unwrap_or_else(|| self.size())
    }

    /// Mostly of the usual size, sometimes anything that has all of its digits.
    fn number(&mut self, range: Range) -> f32 {
        let hundredths = if let Range::Numbers(_, 1.0) = range { 100 } else { 200 };
        let usual = self.mostly(8);
        let x = if usual {
            self.entropy.up_to(hundredths) as f32 / 100.0
        } else {
            f32::from_bits(self.entropy.up_to(u32::MAX))
        };
        if x.is_subnormal() { 0.0 } else { x }
    }
}

impl Source for Drawn<'_> {
    fn value(&mut self, request: &Request<'_>) -> Result<Option<Value>, SettingError> {
        let field = request.field;
        if field.optional && !self.coin() {
            return Ok(Some(Value::None));
        }
        Ok(Some(match field.kind {
            Type::Count => Value::Count(self.count(request)),
            Type::Number => Value::Number(self.number(field.range)),
            Type::Flag => Value::Flag(self.coin()),
            // Types that hold no weights are refused.
            Type::Format if !self.mostly(16) => Value::format(DType::I32),
            Type::Word(_) | Type::Format => {
                let words = field.choices();
                Value::Word(words[self.entropy.up_to(words.len() as u32 - 1) as usize])
            }
        }))
    }
}

/// Draws a spec of an op, which may be one that `validate` refuses.
pub fn draw(table: &'static Table, entropy: &mut dyn Entropy) -> Op {
    let (op, _) = table.read(&mut Drawn { entropy }).expect("what is drawn has the types of the fields");
    comparable(op, entropy)
}

/// The spec without what two correct executors may disagree on.
fn comparable(op: Op, entropy: &mut dyn Entropy) -> Op {
    match op {
        // Weights are taken from saved logarithms, which must have digits behind the point. Now and then pages and rounded
        // keys are left in: they are refused.
        Op::AttentionBackward(mut spec) => {
            spec.forward.scale = spec.forward.scale.clamp(-1.0, 1.0);
            // Where a soft-cap saturates, `1 - tanh^2` has no digits in f32.
            spec.forward.softcap = spec.forward.softcap.map(|cap| cap.max(20.0));
            if entropy.up_to(7) != 7 {
                spec.forward = attention::Spec { paged: None, kv: DType::F32, ..spec.forward };
            }
            spec.into()
        }
        // Weights are exponentials of the logits: the rounding of large logits decides them, and the largest leave f32.
        Op::Attention(mut spec) => {
            spec.scale = spec.scale.clamp(-4.0, 4.0);
            spec.into()
        }
        Op::SelectedAttention(spec) => selected(spec, entropy).into(),
        Op::SelectedAttentionBackward(mut spec) => {
            spec.forward = selected(spec.forward, entropy);
            // As above.
            spec.forward.paged = spec.forward.paged.filter(|_| spec.forward.scale < 0.1);
            spec.forward.scale = spec.forward.scale.clamp(-1.0, 1.0);
            spec.into()
        }
        Op::Centroids(mut spec) => {
            // Sums of few channels cancel, and the direction of what is left is that of the rounding.
            if spec.update == centroids::Update::Unit && spec.dim < 8 {
                spec.update = centroids::Update::Sums;
            }
            // The gradient is proportional to it, and its differences cancel: the absolute tolerance is for values near 1.
            spec.commitment = spec.commitment.map(|commitment| commitment.clamp(-100.0, 100.0));
            // One normalised channel, or two of a layer norm, are signs: their gradient is a difference of equal numbers.
            let least = match spec.norm {
                route::Norm::None => 1,
                route::Norm::L2 => 2,
                route::Norm::Layer => 3,
            };
            spec.commitment = spec.commitment.filter(|_| spec.dim >= least);
            spec.into()
        }
        // Results are proportional to the scale, and their sums cancel: the absolute tolerance is for values near 1.
        Op::Delta(mut spec) => {
            spec.scale = spec.scale.clamp(-100.0, 100.0);
            spec.into()
        }
        Op::DeltaBackward(mut spec) => {
            spec.forward.scale = spec.forward.scale.clamp(-100.0, 100.0);
            // A normalised vector of one channel is its sign: its gradient is a difference of equal numbers.
            spec.forward.normalize &= spec.forward.key_dim > 1;
            spec.into()
        }
        // Weights are proportional to it: the absolute tolerance is for values near 1.
        Op::ExpertChoice(mut spec) => {
            spec.scale = spec.scale.min(100.0);
            spec.into()
        }
        // Beyond these bounds the product of both inputs leaves f32.
        Op::ClampedSwiglu(mut spec) => {
            (spec.alpha, spec.limit) = (spec.alpha.min(100.0), spec.limit.min(100.0));
            spec.into()
        }
        // Beyond these bounds the product of what multiplies leaves f32.
        Op::Gate(mut spec) => {
            spec.scale = spec.scale.clamp(-100.0, 100.0);
            spec.gate.iter_mut().for_each(|gate| gate.factor = gate.factor.clamp(-100.0, 100.0));
            spec.into()
        }
        // A decay is proportional to a step, and a step to the factor.
        Op::ScanGates(mut spec) => {
            spec.factor = spec.factor.clamp(-10.0, 10.0);
            spec.least = spec.least.min(10.0);
            spec.into()
        }
        // Draws near a boundary may differ by rounding and are left to cases: those of the likeliest token have none.
        Op::Sample(mut spec) => {
            spec.draw =
                spec.draw.filter(|_| entropy.up_to(7) == 7).map(|draw| crate::sample::Draw { top_k: 1, ..draw });
            if entropy.up_to(1) == 1 {
                spec.penalty = 1.0;
            }
            spec.into()
        }
        other => other,
    }
}

/// Mostly combinations of options that there are. A last resort must lie below the logits: where it ties with them, rounding
/// decides.
fn selected(spec: selected_attention::Spec, entropy: &mut dyn Entropy) -> selected_attention::Spec {
    use selected_attention::{Keys, Own};
    let own = if let Own::LastResort(_) = spec.own { Own::LastResort(-5e4) } else { spec.own };
    let spec = selected_attention::Spec { own, scale: spec.scale.clamp(-4.0, 4.0), ..spec };
    if entropy.up_to(7) == 7 {
        return spec;
    }
    let separate = matches!(spec.keys, Keys::Separate { .. });
    let paged = spec.paged.filter(|_| separate);
    let memory = if paged.is_some() { 0 } else { spec.memory };
    selected_attention::Spec { offset: spec.offset && separate, paged, memory, ..spec }
}

#[cfg(feature = "testing")]
mod strategies {
    use super::*;
    use crate::ops::settings;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Words in their order, then 0.
    struct Words<'a>(core::slice::Iter<'a, u32>);

    impl Entropy for Words<'_> {
        fn up_to(&mut self, most: u32) -> u32 {
            let word = self.0.next().copied().unwrap_or(0);
            // Small words stay what they are, so that a spec shrinks with them.
            most.checked_add(1).map_or(word, |count| word % count)
        }
    }

    /// Returns a proptest strategy for valid specs of the op with this name, of sizes that can be run: at most a mebibyte
    /// of arguments.
    ///
    /// # Panics
    /// If there is no op of this name.
    pub fn strategy(name: &str) -> impl Strategy<Value = Op> + use<> {
        let table = settings::table(name).unwrap_or_else(|error| panic!("{error}"));
        let read = |words: Vec<u32>| {
            let mut entropy = Words(words.iter());
            let known = table.read(&mut Drawn { entropy: &mut entropy }).expect("what is drawn has its types").1;
            let small = known.iter().all(|(_, value)| !matches!(value, Value::Count(n) if *n > MOST));
            small.then(|| draw(table, &mut Words(words.iter())))
        };
        let drawn = prop::collection::vec(any::<u32>(), 0..160).prop_map(read);
        drawn.prop_filter_map("a valid spec that can be run", |op| op.filter(runs))
    }

    /// Largest size: loops over empty tensors take time, too.
    const MOST: u32 = 1 << 12;

    /// Returns `true` for a spec that is valid and small.
    fn runs(op: &Op) -> bool {
        let kernel = op.kernel();
        kernel.validate().is_ok() && {
            let bytes: Vec<u64> = kernel.args().iter().map(|arg| arg.bytes()).collect();
            bytes.iter().fold(0u64, |sum, &bytes| sum.saturating_add(bytes)) <= 1 << 20 && kernel.flop() <= 4_000_000
        }
    }
}
#[cfg(feature = "testing")]
pub use strategies::strategy;
