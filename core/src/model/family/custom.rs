//! Families that are defined outside of this crate.

use super::json::{bounded, layers};
use super::names::Naming;
use super::{Family, Place, Role, hub};
use crate::config::{Attention, Config, FeedForward, Latent, Layer, Mixer, NormOver};
use crate::error::{Error, Result};
use foveate_kernels::activation::Kind;

/// Most elements of a token's queries as wide as its latent's row.
const MOST_WIDE: u64 = 1 << 22;

/// Returns the place of a tensor, for the configuration, the role, the layer and `"weight"` or `"bias"`.
type PlaceFn = dyn Fn(&Config, Role, usize, &str) -> Place + Send + Sync;

/// The places of a family's tensors.
pub(super) enum Places {
    Known(Naming),
    Custom(Box<PlaceFn>),
}

impl Places {
    pub(super) fn place(&self, config: &Config, role: Role, layer: usize, kind: &str) -> Place {
        match self {
            Self::Known(naming) => naming.place(config, role, layer, kind),
            Self::Custom(place) => place(config, role, layer, kind),
        }
    }
}

impl Family {
    /// Defines a family: the plan of a model, and where its tensors lie in the files.
    ///
    /// `place` returns the place of a tensor. It gets the configuration, the role, the layer (ignored for roles outside of
    /// layers) and `"weight"` or `"bias"`, and may hold data such as names that were read from a file. Roles that the
    /// configuration does not have are never asked for. [`Place::llama`] gives the names of most models.
    ///
    /// ```
    /// use foveate_core::config::{Attention, Config, Layer, Mixer, Mlp, Norm, Rope};
    /// use foveate_core::kernels::activation;
    /// use foveate_core::model::{Family, Place, Role};
    ///
    /// # fn main() -> Result<(), foveate_core::Error> {
    /// let mut attention = Attention::new(4, 2, 16);
    /// attention.rope = Some(Rope::new(10000.0, 16));
    /// let mlp = Mlp::gated(96, activation::Kind::Silu);
    /// let layer = Layer::new(Norm::rms(1e-6), Mixer::Attention(attention), mlp);
    /// let config = Config::new("mine", 320, 64, 256, vec![layer; 3]);
    /// let family = Family::new(config, |config, role, layer, kind| match role {
    ///     Role::Down => Place::plain(format!("blocks.{layer}.mlp.out.{kind}")),
    ///     _ => Place::llama(config, role, layer, kind),
    /// })?;
    /// assert_eq!(family.weight(Role::Down, 2).name, "blocks.2.mlp.out.weight");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Config` for a size that is 0 or larger than any model's, naming it.
    pub fn new(
        config: Config,
        place: impl Fn(&Config, Role, usize, &str) -> Place + Send + Sync + 'static,
    ) -> Result<Self> {
        check(&config)?;
        let place = Places::Custom(Box::new(place));
        Ok(Self::with(config, place))
    }
}

impl Place {
    /// The place that Llama, and most models of the hub, give a role: `model.layers.0.self_attn.q_proj.weight`.
    pub fn llama(config: &Config, role: Role, layer: usize, kind: &str) -> Self {
        hub::llama(config, role, layer, kind)
    }
}

/// The checks that a `config.json` has gone through when it is a [`Config`].
pub(super) fn check(config: &Config) -> Result<()> {
    for (name, size) in [("vocab", config.vocab), ("dim", config.dim), ("context", config.context)] {
        bounded(name, size)?;
    }
    layers("layers", u32::try_from(config.layers.len()).unwrap_or(u32::MAX))?;
    for (index, layer) in config.layers.iter().enumerate() {
        if let Some(mlp) = layer.mlp.shared() {
            bounded(&format!("layer {index}: mlp.inner"), mlp.inner)?;
        }
        let whole = !matches!(layer.mixer, Mixer::None) && matches!(layer.mlp, FeedForward::Mlp(_));
        if layer.parallel && !whole {
            return Err(Error::Config { reason: format!("layer {index}: parallel needs a mixer and one MLP") });
        }
        if let Some(experts) = layer.mlp.experts() {
            bounded(&format!("layer {index}: experts.each.inner"), experts.each.inner)?;
            experts.check()?;
        }
        match &layer.mixer {
            Mixer::Attention(heads) => attention(index, heads)?,
            Mixer::Delta(delta) => delta.check()?,
            Mixer::ShortConv(conv) => conv.check()?,
            Mixer::Scan(scan) => scan.check()?,
            Mixer::Both(heads, scan) => {
                attention(index, heads)?;
                scan.check()?;
            }
            Mixer::Fed(block, scan) => {
                attention(index, &block.attention)?;
                bounded(&format!("layer {index}: block.mlp.inner"), block.mlp.inner)?;
                bounded(&format!("layer {index}: block.rank"), block.rank)?;
                scan.check()?;
                let whole = block.mlp.gated && block.mlp.cutoff.is_none() && layer.branch_norm.is_none();
                if !whole || layer.low_rank.is_some() || config.branch_scale != 1.0 {
                    let reason =
                        format!("layer {index}: a block needs an MLP with gates, and no branch_norm or low_rank");
                    return Err(Error::Config { reason });
                }
            }
            // Checked with those before it.
            Mixer::TimeMix(_) | Mixer::None => {}
            Mixer::Routing(routing) => {
                routing.check()?;
                routing.local.as_ref().map_or(Ok(()), |heads| attention(index, heads))?;
            }
        }
    }
    whole(config)
}

/// Settings of a whole model that the decoder cannot run together.
fn whole(config: &Config) -> Result<()> {
    let refused = |reason: &str| Err(Error::Config { reason: reason.into() });
    let positive = |x: f32| x > 0.0 && x.is_finite();
    if !(positive(config.embed_scale) && positive(config.branch_scale) && positive(config.logit_scale)) {
        return refused("embed_scale, branch_scale and logit_scale must be positive and finite");
    }
    if config.logit_cap.is_some_and(|cap| !positive(cap)) {
        return refused("logit_cap must be positive and finite");
    }
    if config.final_norm.is_none() && config.logit_scale != 1.0 {
        return refused("a logit_scale needs a final_norm, which takes it along");
    }
    let sums = config.layers.iter().any(|layer| layer.sum_norm.is_some());
    if config.branch_scale != 1.0 && (sums || config.embed_norm.is_some()) {
        return refused("a branch_scale with norms of sums or of embeddings is not supported");
    }
    let heads = |layer: &Layer| layer.mixer.attention().filter(|a| !a.causal).map(|a| a.heads);
    let first = config.layers.first().and_then(heads);
    if config.distance_bias && (first.is_none() || config.layers.iter().any(|layer| heads(layer) != first)) {
        return refused("distance_bias needs layers of attention that is not causal, all with as many heads");
    }
    if let Some(of) = &config.per_layer {
        bounded("per_layer.dim", of.dim)?;
        bounded("per_layer.vocab", of.vocab)?;
        let wide = config.layers.len() as u64 * u64::from(of.dim);
        if wide > 1 << 24 || of.kind == Kind::Xielu || config.branch_scale != 1.0 {
            return refused("per_layer: more than 2^24 elements, xIELU or a branch_scale are not supported");
        }
    }
    if config.branch_scale != 1.0 && config.layers.iter().any(|layer| layer.scaled || layer.low_rank.is_some()) {
        return refused("a branch_scale with factors of layers or a low_rank is not supported");
    }
    several(config)?;
    config.recursion.map_or(Ok(()), |of| of.check(config))?;
    let marked = |index: usize| config.layers[index].mixer.attention().is_some_and(|a| a.marked);
    if (0..config.layers.len()).any(|index| marked(index) && !config.recursion.is_some_and(|of| of.has(index))) {
        return refused("attention.marked needs a recursion that has the layer");
    }
    time_mixes(config)?;
    let warmed = config.layers.iter().any(|layer| layer.mixer.attention().is_some_and(|a| a.temperature.is_some()));
    if config.dynamic.is_some_and(|dynamic| dynamic.original == 0 || !positive(dynamic.factor as f32) || warmed) {
        return refused("dynamic needs an original length, a positive factor and layers without a temperature");
    }
    if config.stand_ins.iter().flatten().any(|id| *id >= config.vocab) {
        return refused("stand_ins must be tokens of the vocabulary");
    }
    shared_keys(config)?;
    match config.embed_dim {
        Some(width) if width == 0 || width > config.dim => refused("embed_dim must be 1 to dim"),
        _ => Ok(()),
    }
}

/// # Errors
/// `Config` for a layer that takes shares of values that no layer before it has, or of another width.
fn time_mixes(config: &Config) -> Result<()> {
    let mut first = None;
    for (index, layer) in config.layers.iter().enumerate() {
        let refused = |reason: &str| Err(Error::Config { reason: format!("layer {index}: {reason}") });
        let Mixer::TimeMix(mix) = &layer.mixer else {
            if layer.shifted {
                return refused("shifted needs a time mix, whose states hold the token before");
            }
            continue;
        };
        mix.check()?;
        if layer.parallel || layer.low_rank.is_some() || layer.mlp.experts().is_some() && layer.shifted {
            return refused("a time mix stands in front of one MLP");
        }
        match (mix.value_rank, first) {
            (None, _) => first = Some(mix.values()),
            (Some(_), Some(width)) if width == mix.values() => {}
            (Some(_), _) => return refused("time_mix.value_rank needs a time mix before it with as wide values"),
        }
    }
    Ok(())
}

/// Several streams, what stands beside their mixers, and gates that are cut off.
fn several(config: &Config) -> Result<()> {
    let refused = |reason: &str| Err(Error::Config { reason: reason.into() });
    for layer in &config.layers {
        let normed = layer.input_norm.is_some() && layer.branch_norm.is_some() && !layer.parallel;
        if let Some(of) = layer.low_rank {
            bounded("low_rank.rank", of.rank)?;
            if !normed || matches!(layer.mixer, Mixer::None) {
                return refused("low_rank needs a mixer with norms in front of it and behind it");
            }
        }
        if config.streams.is_some() && (!normed || layer.scaled) {
            return refused("streams need layers with norms on both sides of their parts and without a factor");
        }
        let cut =
            layer.mlp.shared().is_some_and(|mlp| mlp.cutoff.is_some_and(|cutoff| !cutoff.is_finite() || !mlp.gated));
        if cut || layer.mlp.experts().is_some_and(|experts| experts.each.cutoff.is_some()) {
            return refused("mlp.cutoff must be finite, and belong to an MLP with gates");
        }
    }
    match &config.streams {
        Some(of) if !(2..=16).contains(&of.count) || of.active >= of.count => {
            refused("streams.count must be 2 to 16, and streams.active below it")
        }
        Some(of) if u64::from(of.count) * u64::from(config.dim) > 1 << 24 => refused("streams are too large"),
        _ => Ok(()),
    }
}

/// Layers that read the keys and values of another one: that one comes before them and has keys of the same shape.
fn shared_keys(config: &Config) -> Result<()> {
    for (index, layer) in config.layers.iter().enumerate() {
        let Some((a, shared)) = layer.mixer.attention().and_then(|a| Some((a, a.shared?))) else { continue };
        let before = config.layers[..index].get(shared as usize).and_then(|layer| layer.mixer.attention());
        let shape = |a: &Attention| (a.kv_heads, a.dim, a.value_dim, a.causal, a.window);
        let own = |other: &Attention| other.shared.is_none() && other.latent.is_none();
        if !before.is_some_and(|other| own(other) && shape(other) == shape(a)) {
            let reason = format!(
                "layer {index}: attention.shared must be a layer before it with own keys of as many heads, as wide, and with \
                 the same window, got {shared}"
            );
            return Err(Error::Config { reason });
        }
    }
    Ok(())
}

fn attention(layer: usize, a: &Attention) -> Result<()> {
    for (name, size) in [("heads", a.heads), ("kv_heads", a.kv_heads), ("dim", a.dim), ("value_dim", a.value_dim)] {
        bounded(&format!("layer {layer}: attention.{name}"), size)?;
    }
    if !a.heads.is_multiple_of(a.kv_heads) {
        let reason =
            format!("layer {layer}: attention.heads must be a multiple of kv_heads {}, got {}", a.kv_heads, a.heads);
        return Err(Error::Config { reason });
    }
    let width = (2 * u64::from(a.heads) + 2 * u64::from(a.kv_heads)) * u64::from(a.dim.max(a.value_dim));
    if width > 1 << 26 {
        let reason = format!("layer {layer}: attention of {} heads of {} is too large", a.heads, a.dim);
        return Err(Error::Config { reason });
    }
    let refused = |reason: &str| Err(Error::Config { reason: format!("layer {layer}: {reason}") });
    if a.alibi.as_ref().is_some_and(|slopes| slopes.len() != a.heads as usize) {
        return refused("attention.alibi must have a slope for each head");
    }
    if a.clip.is_some_and(|clip| !(clip > 0.0 && clip.is_finite())) {
        return refused("attention.clip must be positive and finite");
    }
    if let Some(latent) = &a.latent {
        shared(layer, a, latent)?;
    }
    let end = a.latent.map_or(a.dim, |latent| latent.shared);
    let rotated = a.rope.as_ref().is_some_and(|rope| rope.frequencies.rotary == end);
    if a.temperature.is_some() && !rotated {
        return refused("attention.temperature needs a rotation of whole heads");
    }
    if a.norm_over == NormOver::OwnHead && a.head_norm.is_some_and(|norm| norm.bias || !norm.weight) {
        return refused("norms of each head's own have weights and no bias");
    }
    if a.tied_values && (a.value_norm.is_none() || a.value_dim != a.dim) {
        return refused("attention.tied_values needs a value_norm, and values as wide as keys");
    }
    if a.marked && a.shared.is_some() {
        return refused("attention.marked with the keys of another layer is not supported");
    }
    if a.latent.is_some() && (a.tied_values || a.value_norm.is_some() || a.shared.is_some()) {
        return refused(
            "attention.latent with values that are normed, tied or those of another layer is not supported",
        );
    }
    Ok(())
}

/// Checks of attention whose keys and values come from a latent.
fn shared(layer: usize, a: &Attention, latent: &Latent) -> Result<()> {
    for (name, size) in [
        ("rank", latent.rank),
        ("shared", latent.shared),
        ("query_rank", latent.query_rank.unwrap_or(1)),
        ("dim without its shared part", a.dim.saturating_sub(latent.shared)),
    ] {
        bounded(&format!("layer {layer}: attention.latent.{name}"), size)?;
    }
    let refused = |reason: &str| Err(Error::Config { reason: format!("layer {layer}: {reason}") });
    if a.kv_heads != a.heads {
        return refused("attention.latent needs as many kv_heads as heads");
    }
    let [most, most_values] = foveate_kernels::attention::WIDEST;
    if latent.rank > most_values || latent.row() > most {
        let (rank, shared) = (latent.rank, latent.shared);
        return refused(&format!(
            "latents of {rank} elements with {shared} shared ones of keys are not supported: at most {most_values}, and {most} \
             together, are"
        ));
    }
    if u64::from(a.heads) * u64::from(latent.row()) > MOST_WIDE {
        let (heads, row) = (a.heads, latent.row());
        return refused(&format!(
            "{heads} heads with latents of {row} elements are not supported: {MOST_WIDE} elements are"
        ));
    }
    let more = a.head_norm.is_some() || a.clip.is_some() || a.gated || a.head_gates;
    if more {
        return refused("attention.latent with norms of heads, a clip or gates is not supported");
    }
    if a.rope.as_ref().is_some_and(|rope| rope.frequencies.rotary != latent.shared) {
        return refused("attention.latent needs a rotation of the whole shared part of keys");
    }
    if a.temperature.is_some() && !(a.dim - latent.shared).is_multiple_of(2) {
        return refused("attention.temperature needs an even number of elements that are not rotated");
    }
    // Devices load four elements at a time from a part of a row if the lengths of both are multiples of four.
    let whole = |width: u32| width.is_multiple_of(4);
    if !whole(latent.rank) && whole(latent.shared) && whole(a.width()) {
        return refused("attention.latent.rank must be a multiple of 4");
    }
    Ok(())
}
