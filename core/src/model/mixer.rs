//! The part of a layer that mixes tokens.

use super::attention::Attention;
use super::block::Block;
use super::delta::Delta;
use super::matrix::{Input, Matrix};
use super::record::Record;
use super::routing::Routing;
use super::scan::Scan;
use super::short_conv::ShortConv;
use super::time_mix::TimeMix;
use super::workspace::{Step, Workspace};
use crate::backend::Backend;
use crate::cache::Pool;
use crate::error::Result;

/// The weights of [`config::Mixer`](crate::config::Mixer).
#[allow(clippy::large_enum_variant, reason = "a model has tens of them, and each is used in place")]
pub(crate) enum Mixer<B: Backend> {
    Attention(Attention<B>),
    Delta(Delta<B>),
    Routing(Routing<B>),
    ShortConv(ShortConv<B>),
    Scan(Scan<B>),
    Both(Attention<B>, Scan<B>),
    Fed(Box<Block<B>>, Scan<B>),
    TimeMix(Box<TimeMix<B>>),
    None,
}

impl<B: Backend> Mixer<B> {
    /// Returns the matrix of the product that reads the normed residual stream.
    pub(super) fn input(&self) -> &Matrix<B> {
        match self {
            Mixer::Attention(attention) => &attention.input,
            Mixer::Delta(delta) => &delta.input,
            Mixer::Routing(routing) => &routing.input,
            Mixer::ShortConv(conv) => &conv.input,
            Mixer::Scan(scan) | Mixer::Fed(_, scan) => &scan.input,
            Mixer::Both(attention, _) => &attention.input,
            Mixer::TimeMix(mix) => &mix.receptance,
            Mixer::None => unreachable!("a layer without a mixer has no products of one"),
        }
    }

    /// Returns the matrix of the output product; where two kinds of heads stand beside each other, the second kind's.
    pub(super) fn output(&self) -> &Matrix<B> {
        match self {
            Mixer::Attention(attention) => &attention.output,
            Mixer::Delta(delta) => &delta.output,
            Mixer::Routing(routing) => &routing.output,
            Mixer::ShortConv(conv) => &conv.output,
            Mixer::Scan(scan) | Mixer::Both(_, scan) | Mixer::Fed(_, scan) => &scan.output,
            Mixer::TimeMix(mix) => &mix.output,
            Mixer::None => unreachable!("a layer without a mixer has no products of one"),
        }
    }

    /// Returns the attention heads that stand beside a scan or beside routing heads.
    pub(super) fn heads_beside(&self) -> Option<&Attention<B>> {
        match self {
            Mixer::Both(attention, _) => Some(attention),
            Mixer::Routing(routing) => routing.local.as_ref(),
            _ => None,
        }
    }

    /// Returns the block in front of a scan.
    pub(super) fn block(&self) -> Option<&Block<B>> {
        match self {
            Mixer::Fed(block, _) => Some(block),
            _ => None,
        }
    }

    /// Records the mixer, without [`heads_beside`](Self::heads_beside), up to its output product, whose input it writes
    /// into `w.mixed` from byte `behind` on.
    pub(super) fn record(
        &self,
        to: &mut Record<'_, B>,
        w: &Workspace<B>,
        pool: &Pool<B>,
        (step, index): (&Step<'_>, usize),
        input: Input<'_, B>,
        behind: u64,
    ) -> Result<()> {
        let states = || (pool.states().slots(), pool.states().layer(index));
        match self {
            Mixer::Attention(attention) => attention.record(to, w, pool, step, index, input),
            Mixer::Delta(delta) => delta.record(to, w, states(), step, input),
            Mixer::Routing(routing) => routing.record(to, w, pool, (step, index), input, behind),
            Mixer::ShortConv(conv) => conv.record(to, w, states(), step, input),
            Mixer::Scan(scan) | Mixer::Both(_, scan) | Mixer::Fed(_, scan) => {
                scan.record(to, w, states(), step, input, behind)
            }
            Mixer::TimeMix(mix) => mix.record(to, w, states(), step, input),
            Mixer::None => unreachable!("a layer without a mixer mixes nothing"),
        }
    }
}
