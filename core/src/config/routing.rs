//! Layers of routing attention.

use super::{Attention, Norm};
use crate::error::{Error, Result};
use foveate_kernels::ops::Kernel;
use foveate_kernels::{route, route_step};

/// Heads whose tokens attend to those that the same centroids have taken in, beside others that see a window; the outputs
/// of both are added.
#[derive(Clone, PartialEq, Debug)]
pub struct Routing {
    /// The heads that see a window.
    pub local: Option<Attention>,
    /// The heads that are routed.
    pub heads: u32,
    /// The width of a head: of its queries, which are its keys too, and of its values.
    pub dim: u32,
    /// Centroids of a head.
    pub clusters: u32,
    /// Tokens of a centroid.
    pub window: u32,
    /// How centroids choose tokens.
    pub selection: route::Selection,
    /// Scores are multiplied by it.
    pub scale: f32,
}

impl Routing {
    /// The layer norm, without weights, of each routed head.
    pub(crate) const NORM: Norm = Norm { bias: false, weight: false, ..Norm::layer(route::EPS) };

    /// Elements of a token's queries, and of its values.
    pub fn width(&self) -> u32 {
        self.heads * self.dim
    }

    /// Returns the spec of `route_step` for a step of `tokens` tokens.
    pub(crate) fn step(&self, tokens: u32) -> route_step::Spec {
        route_step::Spec::new(
            route::Spec::new(1, tokens, self.heads, self.dim, self.clusters, self.window)
                // Done before, since what is routed is also what is attended to.
                .with_norm(route::Norm::None)
                .with_selection(self.selection),
        )
    }

    /// # Errors
    /// `Config` for heads larger than the ops are made for, or a selection that later tokens change.
    pub(crate) fn check(&self) -> Result<()> {
        let refused = |e: foveate_kernels::error::Error| Error::Config { reason: e.to_string() };
        self.step(1).validate().map_err(refused)?;
        let width = u64::from(self.heads) * u64::from(self.dim);
        if self.heads == 0 || width > 1 << 24 {
            return Err(Error::Config { reason: format!("{} routing heads of {}", self.heads, self.dim) });
        }
        Ok(())
    }
}
