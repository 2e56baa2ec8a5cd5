//! A block in front of a scan.

use super::{Attention, Mlp, Norm};

/// A block of attention and an MLP in front of a scan, whose weights several layers share. With `x` the residual stream and
/// `e` the embedding,
///
/// ```text
/// t = W mlp(norm(attention(norm([x, e]))))
/// x += scan(norm(x + t))
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// Its input is twice as wide as the residual stream.
    pub attention: Attention,
    /// The norm of `[x, e]`, and of the MLP's input.
    pub norm: Norm,
    /// The MLP, with gates.
    pub mlp: Mlp,
    /// The layer under whose name the weights lie that are shared.
    pub source: u32,
    /// The number of the layer among those with blocks, by which files name what is its own.
    pub index: u32,
    /// Elements between the products of adapters, which each layer has of its own: of the MLP's first product.
    pub rank: u32,
    /// Queries, keys and values have such adapters, too.
    pub adapts_attention: bool,
}
