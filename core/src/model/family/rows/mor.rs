//! Mixture-of-Recursions: Llama whose layers run several times. The keys are those of the authors' released settings.

use crate::config::{DepthRouter, Recursion};
use crate::error::{Error, Result, one_line};
use crate::model::family::json::Json;
use crate::model::family::like::{LLAMA, Like, each};

pub(super) const ALL: &[&Like] = &[&MOR];

const MOR: Like = Like {
    name: "mor",
    more: |json, config| {
        let (steps, ends) = recursive(json)?;
        let router = mor(json)?;
        let shared = kv_sharing(json, steps, ends)?;
        let count = config.layers.len() as u32;
        let inner = count.saturating_sub(2 * ends);
        if inner == 0 || !inner.is_multiple_of(steps) {
            return Err(Error::Config {
                reason: format!("recursive: {count} layers with {ends} of their own at each end are no {steps} steps"),
            });
        }
        let recursion = Recursion { first: ends, depth: inner / steps, steps, ..router };
        each(config, |index, attention| {
            let source = recursion.source(index as usize) as u32;
            attention.shared = Some(source).filter(|source| shared && *source != index);
            attention.marked = !shared && recursion.has(index as usize);
        });
        config.recursion = Some(recursion);
        Ok(())
    },
    ..LLAMA
};

fn object(json: &Json, key: &str) -> Result<Json> {
    json.object(key)?.ok_or_else(|| Error::Config { reason: format!("{key} is missing: it is an object of settings") })
}

fn refused<T>(key: &str, value: &str, supported: &str) -> Result<T> {
    let value = one_line(value);
    Err(Error::Config { reason: format!("{key} {value} is not supported: {supported}") })
}

/// The number of steps, and of layers in front of them and behind them.
fn recursive(json: &Json) -> Result<(u32, u32)> {
    let of = object(json, "recursive")?;
    let ends = match of.str("sharing")?.unwrap_or("middle_cycle") {
        "cycle" => 0,
        "middle_cycle" => 1,
        other => return refused("recursive.sharing", other, "cycle and middle_cycle are"),
    };
    of.only(&[("enable", "true"), ("ln_share", "true")])?;
    // The key says how training set the first weights.
    of.understands(&["initialization"]);
    let steps = of.size("num_recursion")?;
    of.finish_all().map(|()| (steps, ends))
}

/// The router, without the layers that it stands in front of.
fn mor(json: &Json) -> Result<Recursion> {
    let of = object(json, "mor")?;
    of.only(&[("enable", "true"), ("rand_router", "false"), ("router_type", "linear")])?;
    // Training uses these keys. Here a token decides alone, whatever share of a text goes on.
    of.understands(&["capacity", "z_coeff", "z_loss"]);
    let kind = of.str("type")?.unwrap_or("expert");
    let (alpha, funcs): (_, [(&str, DepthRouter); 2]) = match kind {
        "expert" => (0.1, [("sigmoid", DepthRouter::EachSigmoid), ("tanh", DepthRouter::EachTanh)]),
        "token" => (1.0, [("softmax", DepthRouter::OnceSoftmax), ("sigmoid", DepthRouter::OnceSigmoid)]),
        other => return refused("mor.type", other, "expert and token are"),
    };
    let (mut router, mut scale) = (funcs[0].1, alpha);
    if let Some(own) = of.object(kind)? {
        if let Some(func) = own.str("router_func")? {
            let Some((_, found)) = funcs.iter().find(|(name, _)| *name == func) else {
                let supported = format!("{} and {} are", funcs[0].0, funcs[1].0);
                return refused(&format!("mor.{kind}.router_func"), func, &supported);
            };
            router = *found;
        }
        scale = own.f64("alpha")?.unwrap_or(alpha);
        own.only(&[("gating", "weighted"), ("sampling", "aux_loss"), ("balancing", "loss")])?;
        // Training uses these keys.
        own.understands(&["bal_warmup_step", "cap_warmup_step", "coeff"]);
        own.finish_all()?;
    }
    let temperature = of.f64("temp")?.unwrap_or(1.0);
    of.finish_all()?;
    Ok(Recursion { first: 0, depth: 0, steps: 0, router, scale: scale as f32, temperature: temperature as f32 })
}

/// Returns whether all steps read the keys and values of the first one. Otherwise each step has those of its own tokens.
fn kv_sharing(json: &Json, steps: u32, ends: u32) -> Result<bool> {
    let Some(of) = json.object("kv_sharing")? else { return Ok(false) };
    of.only(&[
        ("num_recursion", &*steps.to_string()),
        ("sharing", if ends == 0 { "cycle" } else { "middle_cycle" }),
        ("update_cache", "false"),
    ])?;
    let shared = of.bool("enable")?.unwrap_or(false);
    of.finish_all().map(|()| shared)
}
