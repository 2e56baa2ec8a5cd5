//! Random numbers by their place.

use foveate_kernels::rng::Rng;

/// The step from one state of SplitMix64 to the next.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Random numbers of a seed and a sequence, by position: no state is kept, so a rollback, a fork and a replay see the same
/// numbers again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Draws {
    key: u64,
}

impl Draws {
    /// The numbers of sequence 0.
    pub fn new(seed: u64) -> Self {
        Self { key: seed }
    }

    /// The numbers of one of several answers to a prompt; sequence 0 has those of [`new`](Self::new).
    pub fn of_sequence(seed: u64, sequence: u64) -> Self {
        Self { key: if sequence == 0 { seed } else { Rng::new(seed ^ sequence.wrapping_mul(STEP)).next_u64() } }
    }

    /// The numbers of one of several trials that begin at an output position.
    pub(crate) fn of_trial(&self, position: u64, trial: u64) -> Self {
        Self::of_sequence(Rng::new(self.key ^ position.wrapping_mul(STEP)).next_u64(), trial + 1)
    }

    /// The number that chooses the token at an output position: that of a SplitMix64 generator after `position` others.
    pub fn choice(&self, position: u64) -> f32 {
        Rng::new(self.key.wrapping_add(position.wrapping_mul(STEP))).unit()
    }

    /// The number that decides whether XTC runs at an output position.
    pub(super) fn coin(&self, position: u64) -> f32 {
        let other = Rng::new(!self.key).next_u64();
        Self { key: other }.choice(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_by_position_are_those_of_the_generator_in_order() {
        let mut rng = Rng::new(42);
        let draws = Draws::new(42);
        assert!((0..100).all(|position| draws.choice(position) == rng.unit()));
        assert_eq!(Draws::of_sequence(42, 0), draws);
        assert_ne!(Draws::of_sequence(42, 1), Draws::of_sequence(42, 2));
    }
}
