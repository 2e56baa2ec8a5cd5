//! The part of a layer that lets tokens see each other.

use super::{Attention, Block, Delta, Routing, Scan, ShortConv, TimeMix};

/// The sequence mixer of a layer.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Mixer {
    /// Softmax attention.
    Attention(Attention),
    /// The delta rule.
    Delta(Delta),
    /// Routing attention.
    Routing(Routing),
    /// A short convolution between two gates.
    ShortConv(ShortConv),
    /// The scan of Mamba-2.
    Scan(Scan),
    /// Attention and a scan that read the same; both are added.
    Both(Attention, Scan),
    /// A scan behind a block of attention and an MLP.
    Fed(Box<Block>, Scan),
    /// The time mix of RWKV-7.
    TimeMix(TimeMix),
    /// Nothing: the layer is its MLP.
    None,
}

impl Mixer {
    /// The heads of attention, which keep every key.
    pub fn attention(&self) -> Option<&Attention> {
        match self {
            Mixer::Attention(attention) => Some(attention),
            Mixer::Routing(routing) => routing.local.as_ref(),
            Mixer::Both(attention, _) => Some(attention),
            Mixer::Fed(block, _) => Some(&block.attention),
            Mixer::Delta(_) | Mixer::ShortConv(_) | Mixer::Scan(_) | Mixer::TimeMix(_) | Mixer::None => None,
        }
    }

    /// True if the mixer has a recurrent state, which cannot be rolled back.
    pub(crate) fn has_states(&self) -> bool {
        match self {
            Mixer::Attention(_) | Mixer::None => false,
            Mixer::ShortConv(conv) => conv.window > 1,
            Mixer::Delta(_) | Mixer::Routing(_) | Mixer::Scan(_) => true,
            Mixer::Both(..) | Mixer::Fed(..) | Mixer::TimeMix(_) => true,
        }
    }

    /// As [`attention`](Self::attention), to be changed; without those beside routing heads.
    pub(crate) fn attention_mut(&mut self) -> Option<&mut Attention> {
        match self {
            Mixer::Attention(attention) | Mixer::Both(attention, _) => Some(attention),
            Mixer::Fed(block, _) => Some(&mut block.attention),
            _ => None,
        }
    }

    /// The block in front of a scan, if there is one.
    pub fn block(&self) -> Option<&Block> {
        match self {
            Mixer::Fed(block, _) => Some(block),
            _ => None,
        }
    }

    /// The scan of Mamba-2, if there is one.
    pub fn scan(&self) -> Option<&Scan> {
        match self {
            Mixer::Scan(scan) | Mixer::Both(_, scan) | Mixer::Fed(_, scan) => Some(scan),
            _ => None,
        }
    }

    /// The time mix of RWKV-7, if it is one.
    pub fn time_mix(&self) -> Option<&TimeMix> {
        match self {
            Mixer::TimeMix(mix) => Some(mix),
            _ => None,
        }
    }

    /// Elements of what a token's input is turned into.
    pub(crate) fn width(&self) -> u32 {
        match self {
            Mixer::Attention(a) => a.width(),
            Mixer::Delta(d) => d.width(),
            Mixer::Routing(r) => r.local.as_ref().map_or(0, |a| a.width()).max(2 * r.width()),
            Mixer::ShortConv(conv) => 3 * conv.channels,
            Mixer::Scan(scan) => scan.width(),
            Mixer::Both(a, scan) => a.width().max(scan.width()),
            Mixer::Fed(block, scan) => block.attention.width().max(scan.width()),
            // It has buffers of its own.
            Mixer::TimeMix(_) | Mixer::None => 0,
        }
    }

    /// Elements of what a token's output product reads.
    pub(crate) fn outputs(&self) -> u32 {
        // The second output begins at a whole vector.
        let behind = |first: u32, second: u32| if first == 0 { second } else { first + second + 4 };
        match self {
            Mixer::Attention(a) => a.outputs(),
            Mixer::Delta(d) => d.values(),
            Mixer::Routing(r) => behind(r.local.as_ref().map_or(0, Attention::outputs), r.width()),
            Mixer::ShortConv(conv) => conv.channels,
            Mixer::Scan(scan) => scan.inner(),
            Mixer::Both(a, scan) => behind(a.outputs(), scan.inner()),
            Mixer::Fed(block, scan) => block.attention.outputs().max(scan.inner()),
            Mixer::TimeMix(mix) => mix.values(),
            Mixer::None => 0,
        }
    }

    /// Elements of what a token's convolution leaves, and numbers of its strengths of writing and of its decays.
    pub(crate) fn convolved(&self) -> [u32; 3] {
        match self {
            Mixer::Delta(d) => [d.channels(), d.value_heads, d.decays()],
            Mixer::ShortConv(conv) => [conv.channels, 0, 0],
            Mixer::Scan(scan) | Mixer::Both(_, scan) | Mixer::Fed(_, scan) => [scan.channels(), scan.heads, scan.heads],
            Mixer::Attention(_) | Mixer::Routing(_) | Mixer::TimeMix(_) | Mixer::None => [0; 3],
        }
    }

    /// Elements of what a token's products of products give; see [`Attention`] with a latent and [`Delta`] with ranks.
    pub(crate) fn expanded(&self) -> [u32; 3] {
        match self {
            Mixer::Attention(a) | Mixer::Both(a, _) => a.expanded(),
            Mixer::Delta(d) => d.expanded(),
            Mixer::Routing(_) | Mixer::ShortConv(_) | Mixer::Scan(_) => [0; 3],
            Mixer::Fed(..) | Mixer::TimeMix(_) | Mixer::None => [0; 3],
        }
    }
}
