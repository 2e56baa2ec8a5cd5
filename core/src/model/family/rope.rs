//! Rope parameters of the hub's configurations.

use super::json::Json;
use crate::config::Dynamic;
use crate::error::{Error, Result};
use foveate_kernels::rope::{Frequencies, Scaling};
use std::sync::Arc;

/// How a family reads `partial_rotary_factor`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Partial {
    /// Ignores the key for plain rotations, which turn whole heads, and refuses values other than 1 for scaled rotations,
    /// as Llama's class in transformers does.
    Ignored,
    /// This share of a head turns, unless the key says otherwise.
    Default(f64),
}

/// How a family reads its rotation.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    /// The base if its key is missing.
    pub(super) theta: f64,
    pub(super) partial: Partial,
    /// The older names of `rope_theta` and `partial_rotary_factor`.
    pub(super) older: [&'static str; 2],
    /// `alpha` multiplies the base of the type dynamic.
    pub(super) alpha: bool,
    /// Further keys of the rope parameters, which others read.
    pub(super) others: &'static [&'static str],
    /// The rope parameters, as JSON, of files that have none.
    pub(super) absent: Option<&'static str>,
}

impl Rule {
    /// Llama's.
    pub(super) const LLAMA: Self = Self::theta(10000.0);

    /// Llama's with another base.
    pub(super) const fn theta(theta: f64) -> Self {
        Self {
            theta,
            partial: Partial::Ignored,
            older: ["rope_theta", "partial_rotary_factor"],
            alpha: false,
            others: &[],
            absent: None,
        }
    }

    /// The rope parameters, the older key's if both are there, as in transformers.
    pub(super) fn parameters(&self, json: &Json) -> Result<Option<Json>> {
        let (newer, older) = (json.object("rope_parameters")?, json.object("rope_scaling")?);
        match older.filter(|older| !older.is_empty()).or(newer) {
            Some(rope) => Ok(Some(rope)),
            None => self.absent.map(|text| Json::parse(text.as_bytes())).transpose(),
        }
    }

    /// A share of a head is rotated.
    pub(super) const fn partial(theta: f64, share: f64) -> Self {
        Self { partial: Partial::Default(share), ..Self::theta(theta) }
    }
}

/// Keys that describe, and those of positions of images, all of which are a text's own here.
const UNDERSTOOD: &[&str] = &[
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "factor",
    "finetuned",
    "high_freq_factor",
    "long_factor",
    "low_freq_factor",
    "mrope_interleaved",
    "mrope_section",
    "mscale",
    "mscale_all_dim",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "rope_theta",
    "rope_type",
    "short_factor",
    "truncate",
    "type",
];

/// Rope parameters in the hub's older form (`rope_theta`, `rope_scaling`) or its newer one (`rope_parameters`).
pub(super) fn frequencies(json: &Json, head_dim: u32, partial: Partial) -> Result<Frequencies> {
    frequencies_of(json, head_dim, &Rule { partial, ..Rule::LLAMA })
}

/// As [`frequencies`], by the rule of a family.
pub(super) fn frequencies_of(json: &Json, head_dim: u32, rule: &Rule) -> Result<Frequencies> {
    let rope = rule.parameters(json)?;
    let rope = rope.as_ref();
    let inside = |key: &str| rope.map(|rope| rope.f64(key)).transpose().map(Option::flatten);
    let [theta, share] = [0, 1].map(|at| {
        let key = ["rope_theta", "partial_rotary_factor"][at];
        match (inside(key)?, json.f64(key)?) {
            (Some(value), _) | (None, Some(value)) => Ok(Some(value)),
            (None, None) => json.f64(rule.older[at]),
        }
    });
    let (mut theta, share) = (theta?.unwrap_or(rule.theta), share?);
    // Asked for by some kinds of scaling alone.
    json.get("original_max_position_embeddings");
    if let Some(rope) = rope {
        rope.understands(rule.others);
    }
    if let Some(rope) = rope.filter(|_| rule.alpha) {
        let alpha = rope.f64("alpha")?.filter(|alpha| *alpha != 0.0);
        if let (Some(alpha), "dynamic") = (alpha, kind(rope)?) {
            if !(alpha > 0.0 && head_dim > 2) {
                let reason = format!("rope alpha {alpha} with heads of {head_dim} is out of range");
                return Err(Error::Config { reason });
            }
            rope.understands(UNDERSTOOD);
            rope.finish_all()?;
            theta *= alpha.powf(f64::from(head_dim) / f64::from(head_dim - 2));
            return rotation(head_dim, theta, rule.partial, share, None, json);
        }
    }
    rotation(head_dim, theta, rule.partial, share, rope, json)
}

/// A rotation at the base `theta` of `share` of a head, stretched as `rope` says.
pub(super) fn rotation(
    head_dim: u32,
    theta: f64,
    partial: Partial,
    share: Option<f64>,
    rope: Option<&Json>,
    json: &Json,
) -> Result<Frequencies> {
    let refused = |reason: String| Err(Error::Config { reason });
    let kind = rope.map(kind).transpose()?;
    if let (Some(rope), Some("proportional")) = (rope, kind) {
        let share = rope.f64("partial_rotary_factor")?.or(share).unwrap_or(1.0);
        let factor = rope.f64("factor")?.unwrap_or(1.0);
        rope.understands(&["rope_theta", "rope_type", "type"]);
        rope.finish_all()?;
        return proportional(head_dim, theta, share, factor);
    }
    let scaled = kind.is_some_and(|kind| kind != "default");
    let share = match (partial, share) {
        (Partial::Default(default), share) => share.unwrap_or(default),
        (Partial::Ignored, Some(share)) if scaled && share != 1.0 => {
            return refused(format!("partial_rotary_factor {share} with a scaled rope is not supported"));
        }
        (Partial::Ignored, _) => 1.0,
    };
    if !(theta > 0.0 && (0.0..=1.0).contains(&share)) {
        return refused(format!("rope_theta {theta} or partial_rotary_factor {share} is out of range"));
    }
    let rotary = (f64::from(head_dim) * share) as u32;
    if !rotary.is_multiple_of(2) {
        return refused(format!(
            "{rotary} of the {head_dim} elements of a head are rotated (head_dim, partial_rotary_factor): an odd number is \
             not supported"
        ));
    }
    let plain = Frequencies::new(theta, rotary);
    let Some(rope) = rope else { return Ok(plain) };
    rope.understands(UNDERSTOOD);
    if json.str("model_type")? == Some("phimoe") {
        rope.understands(&["short_mscale", "long_mscale"]);
        // Its class multiplies the cosines of all other kinds by these, too.
        if let Some(kind) = kind.filter(|kind| !matches!(*kind, "default" | "longrope" | "su")) {
            return refused(format!(
                "rope type {} is not supported for phimoe: longrope is",
                crate::error::one_line(kind)
            ));
        }
    }
    rope.finish_all()?;
    scaling(rope, json, plain)
}

/// The rotations of layers that see all and of those with a window: `rope_parameters` by the kind of layer, or in older
/// files `rope_theta` with `rope_scaling`, and `rope_local_base_freq`. Layers with a window have the base `local`, or the
/// others' without one, and are not scaled in older files.
pub(super) fn by_kind(
    json: &Json,
    head_dim: u32,
    rule: &Rule,
    local: Option<f64>,
) -> Result<(Frequencies, Frequencies)> {
    let theta = json.f64("rope_theta")?.unwrap_or(rule.theta);
    let older = json.f64("rope_local_base_freq")?;
    let local = local.map_or(theta, |local| older.unwrap_or(local));
    let share = json.f64("partial_rotary_factor")?;
    let kinds = json.object("rope_parameters")?;
    let scaling = json.object("rope_scaling")?;
    let flat = kinds.as_ref().filter(|kinds| !kinds.has("full_attention") && !kinds.has("sliding_attention"));
    let of = |kind: &str, theta: f64, scaling: Option<&Json>, plain: bool| {
        let inside = kinds.as_ref().map(|kinds| kinds.object(kind)).transpose()?.flatten();
        let rope = scaling.filter(|scaling| !scaling.is_empty()).or(inside.as_ref()).or(flat.filter(|_| !plain));
        let own = |key: &str| inside.as_ref().or(flat).map(|rope| rope.f64(key)).transpose().map(Option::flatten);
        json.get("original_max_position_embeddings");
        let (theta, share) = (own("rope_theta")?.unwrap_or(theta), own("partial_rotary_factor")?.or(share));
        rotation(head_dim, theta, rule.partial, share, rope, json)
    };
    let both = (of("full_attention", theta, scaling.as_ref(), false)?, of("sliding_attention", local, None, true)?);
    if let Some(kinds) = kinds.as_ref().filter(|_| flat.is_none()) {
        kinds.finish_all()?;
    }
    Ok(both)
}

/// How the rotation grows with the length of a text beyond the `original` tokens, if it has the type dynamic.
pub(super) fn dynamic(json: &Json, original: u32) -> Result<Option<Dynamic>> {
    let (newer, older) = (json.object("rope_parameters")?, json.object("rope_scaling")?);
    let Some(rope) = older.filter(|older| !older.is_empty()).or(newer) else { return Ok(None) };
    // With an alpha, the base is the same for all lengths.
    let grows = kind(&rope)? == "dynamic" && rope.f64("alpha")?.is_none_or(|alpha| alpha == 0.0);
    let factor = rope.f64("factor")?.filter(|factor| *factor > 0.0);
    Ok(factor.filter(|_| grows).map(|factor| Dynamic { factor, original }))
}

fn kind(rope: &Json) -> Result<&str> {
    let kind = match rope.str("rope_type")? {
        Some(kind) => kind,
        None => rope.str("type")?.unwrap_or("default"),
    };
    Ok(match kind {
        // Positions in several dimensions, which are one for texts.
        "mrope" => "default",
        "deepseek_yarn" => "yarn",
        kind => kind,
    })
}

/// The frequencies, stretched.
fn scaling(rope: &Json, json: &Json, plain: Frequencies) -> Result<Frequencies> {
    let need = |key: &str| {
        let value = rope.f64(key)?.filter(|v| *v > 0.0);
        value.ok_or_else(|| Error::Config { reason: format!("the rope scaling needs a positive {key}") })
    };
    let refused = |reason: &str| Error::Config { reason: reason.into() };
    let longest = || json.size("max_position_embeddings").map(f64::from);
    let original = || {
        let original = match json.f64("original_max_position_embeddings")? {
            Some(original) => Some(original),
            None => rope.f64("original_max_position_embeddings")?,
        };
        match original {
            Some(original) if original >= 1.0 => Ok(original),
            Some(_) => Err(refused("original_max_position_embeddings must be at least 1")),
            None => longest(),
        }
    };
    let factor_or_ratio = |original: f64| match rope.f64("factor")? {
        Some(_) => need("factor"),
        None => Ok(longest()? / original),
    };
    let rotary = plain.rotary;
    Ok(match kind(rope)? {
        "default" => plain,
        "linear" => plain.with_scaling(Scaling::Linear { factor: need("factor")? }),
        "llama3" => {
            let original = original()?;
            let (low, high) = (need("low_freq_factor")?, need("high_freq_factor")?);
            if high <= low {
                return Err(refused("high_freq_factor must be above low_freq_factor"));
            }
            plain.with_scaling(Scaling::Llama3 { factor: need("factor")?, low, high, original })
        }
        "yarn" => {
            let original = original()?;
            let factor = factor_or_ratio(original)?;
            let or = |key: &str, default| rope.f64(key).map(|v| v.filter(|v| *v > 0.0).unwrap_or(default));
            let (fast, slow) = (or("beta_fast", 32.0)?, or("beta_slow", 1.0)?);
            if fast < slow {
                return Err(refused("beta_fast must not be below beta_slow"));
            }
            let magnitude = match (rope.f64("attention_factor")?, rope.f64("mscale")?, rope.f64("mscale_all_dim")?) {
                (Some(magnitude), ..) => magnitude,
                (None, Some(one), Some(all)) if one != 0.0 && all != 0.0 => {
                    yarn_magnitude(factor, one) / yarn_magnitude(factor, all)
                }
                _ => yarn_magnitude(factor, 1.0),
            };
            let whole = rope.bool("truncate")?.unwrap_or(true);
            plain.with_scaling(Scaling::Yarn { factor, fast, slow, original, whole }).with_magnitude(magnitude)
        }
        "longrope" | "su" => {
            let original = original()?;
            let factor = factor_or_ratio(original)?;
            let magnitude = match rope.f64("attention_factor")? {
                Some(magnitude) => magnitude,
                None if factor <= 1.0 || original <= 1.0 => 1.0,
                None => (1.0 + factor.ln() / original.ln()).sqrt(),
            };
            let [short, long] = ["short_factor", "long_factor"].map(|key| rope.divisors(key, rotary / 2));
            let (short, long): (Arc<[f32]>, Arc<[f32]>) = (short?.into(), long?.into());
            if json.str("model_type")? == Some("phimoe") {
                // Its class has magnitudes of both lengths, and the divisors of short ones for both.
                let [magnitude, more] = [need("short_mscale")?, need("long_mscale")?];
                let scaling = Scaling::Long { short: short.clone(), long: short, original: original as u32 };
                return Ok(plain.with_scaling(scaling).with_magnitude(magnitude).with_long_magnitude(Some(more)));
            }
            let scaling = Scaling::Long { short, long, original: original as u32 };
            plain.with_scaling(scaling).with_magnitude(magnitude)
        }
        "dynamic" => {
            // Up to that many tokens it is no scaling; see `dynamic`.
            need("factor")?;
            longest()?;
            plain
        }
        other => {
            let other = crate::error::one_line(other);
            return Err(Error::Config {
                reason: format!(
                    "rope type {other} is not supported (default, linear, dynamic, llama3, yarn, longrope, proportional are)"
                ),
            });
        }
    })
}

/// A rotation of whole heads of which only the first pairs, `share` of them, turn; their angles are those of whole heads,
/// divided by `factor`.
pub(super) fn proportional(head_dim: u32, theta: f64, share: f64, factor: f64) -> Result<Frequencies> {
    let shared = (0.0..=1.0).contains(&share) && head_dim.is_multiple_of(2);
    if !(theta > 0.0 && factor > 0.0 && shared) {
        let reason = format!(
            "rope type proportional with rope_theta {theta}, partial_rotary_factor {share}, factor {factor} and heads of \
             {head_dim} is out of range"
        );
        return Err(Error::Config { reason });
    }
    let turning = (share * f64::from(head_dim) / 2.0) as usize;
    let divisor = |pair| if pair < turning { factor as f32 } else { f32::INFINITY };
    let divisors: Vec<f32> = (0..head_dim as usize / 2).map(divisor).collect();
    Ok(Frequencies::new(theta, head_dim).with_divisors(Some(divisors.into())))
}

/// Returns the factor by which YaRN multiplies cosines and sines.
pub(super) fn yarn_magnitude(factor: f64, scale: f64) -> f64 {
    if factor > 1.0 { 0.1 * scale * factor.ln() + 1.0 } else { 1.0 }
}
