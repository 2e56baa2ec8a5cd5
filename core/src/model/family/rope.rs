//! Rope parameters of the hub's configurations.

use super::json::Json;
use crate::error::{Error, Result};
use foveate_kernels::rope::{Frequencies, Scaling};

/// How a family reads `partial_rotary_factor`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Partial {
    /// As Llama's class does: plain rotations turn whole heads whatever the key says, scaled ones fail if it is not 1.
    Ignored,
    /// This share of a head turns, unless the key says otherwise.
    Default(f64),
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
    let (newer, older) = (json.object("rope_parameters")?, json.object("rope_scaling")?);
    // The older key wins if both are there, as in transformers.
    let rope = older.as_ref().filter(|older| !older.is_empty()).or(newer.as_ref());
    let inside = |key: &str| rope.map(|rope| rope.f64(key)).transpose().map(Option::flatten);
    let [theta, share] = ["rope_theta", "partial_rotary_factor"].map(|key| match inside(key)? {
        Some(value) => Ok(Some(value)),
        None => json.f64(key),
    });
    let (theta, share) = (theta?.unwrap_or(10000.0), share?);
    // Asked for by some kinds of scaling alone.
    json.get("original_max_position_embeddings");
    rotation(head_dim, theta, partial, share, rope, json)
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
    let scaled = rope.map(kind).transpose()?.is_some_and(|kind| kind != "default");
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
    rope.finish_all()?;
    scaling(rope, json, plain)
}

fn kind(rope: &Json) -> Result<&str> {
    Ok(match rope.str("rope_type")? {
        Some(kind) => kind,
        None => rope.str("type")?.unwrap_or("default"),
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
        "linear" => Frequencies { scaling: Scaling::Linear { factor: need("factor")? }, ..plain },
        "llama3" => {
            let original = original()?;
            let (low, high) = (need("low_freq_factor")?, need("high_freq_factor")?);
            if high <= low {
                return Err(refused("high_freq_factor must be above low_freq_factor"));
            }
            Frequencies { scaling: Scaling::Llama3 { factor: need("factor")?, low, high, original }, ..plain }
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
            Frequencies { scaling: Scaling::Yarn { factor, fast, slow, original, whole }, magnitude, ..plain }
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
            let scaling = Scaling::Long { short: short?.into(), long: long?.into(), original: original as u32 };
            Frequencies { scaling, magnitude, ..plain }
        }
        "dynamic" => {
            return Err(refused(
                "rope type dynamic is not supported: its frequencies change with every token of a long text, and with them \
                 all keys that are cached",
            ));
        }
        other => {
            let other = crate::error::one_line(other);
            return Err(Error::Config {
                reason: format!("rope type {other} is not supported (default, linear, llama3, yarn, longrope are)"),
            });
        }
    })
}

/// Returns the factor by which YaRN multiplies cosines and sines.
pub(super) fn yarn_magnitude(factor: f64, scale: f64) -> f64 {
    if factor > 1.0 { 0.1 * scale * factor.ln() + 1.0 } else { 1.0 }
}
