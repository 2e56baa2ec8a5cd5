//! The settings of [`conv`](super).

use super::{Part, WIDEST};
use crate::ops::settings::{named, spec};

named! {
    /// `f`
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    #[non_exhaustive]
    pub enum Activation {
        /// The sum itself.
        #[default]
        None = "none",
        /// `x` times its sigmoid.
        Silu = "silu",
        /// `max(x, 0)`
        Relu = "relu",
        /// `exp(x)` for negative `x`, otherwise `x + 1`.
        EluPlusOne = "elu_plus_one",
    }
}

spec! {
    /// A short causal convolution of each channel, with an activation.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub struct Spec {
        /// Sequences; 1 where packed.
        pub batch("B"): u32 = 1;
        /// Tokens of a sequence; packed, of all of them.
        pub tokens("T"): u32 = 256;
        /// Channels of the second part, behind those of the first.
        let channels2: u32 = 0;
        /// Channels of the third part.
        let channels3: u32 = 0;
        /// Channels of the first part.
        let channels: u32 = 6144;
        /// The activation of the first part.
        let activation: Activation = Activation::Silu;
        /// The activation of the second part.
        let activation2: Activation = Activation::None;
        /// The activation of the third part.
        let activation3: Activation = Activation::None;
        /// Channels with an activation of their own, one part behind the other.
        pub parts: [Part; 3] => [
            Part { channels, activation },
            Part { channels: channels2, activation: activation2 },
            Part { channels: channels3, activation: activation3 },
        ];
        /// Tokens that an output sees, its own among them; at least 2 with states.
        pub window("W"): u32 = 4, Counts(1, WIDEST);
        /// Adds a bias.
        pub bias: bool = false;
        /// Elements between the beginnings of two rows of `x`.
        pub stride: u32 = channels.saturating_add(channels2).saturating_add(channels3), FromDefault;
        /// Sequences that `cu` cuts the tokens into.
        pub packed: Option<u32> = None;
        /// Begins states as `state0` instead of zeros.
        pub initial: bool = false;
        /// Writes the last states to `state`.
        pub last: bool = false;
        /// Slots of a pool that states are kept in.
        pub pool: Option<u32> = None;
    }
    arguments {
        read x: f32 [batch, tokens, channels] | [batch, tokens, (channels of all parts)];
        read weight: f32 [channels, window] | [(channels of all parts), window];
        read bias: f32 [(channels of all parts)] if bias;
        read cu: u32 [(packed + 1)] if packed;
        read state0: f32 [(sequences), (window - 1), (channels of all parts)] if initial;
        read slots: u32 [(sequences)] if pool;
        both pool: f32 [pool, (window - 1), (channels of all parts)] if pool;
        write out: f32 [batch, tokens, (channels of all parts)];
        write state: f32 [(sequences), (window - 1), (channels of all parts)] if last;
    }
}
