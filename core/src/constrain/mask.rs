//! Sets of tokens.

/// The tokens that may follow, one bit each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mask {
    /// Bit `id % 32` of word `id / 32`.
    words: Vec<u32>,
}

impl Mask {
    /// Takes packed words; ids beyond them are not allowed.
    pub fn from_words(words: Vec<u32>) -> Self {
        Self { words }
    }

    /// The packed words.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// True if the token may follow.
    pub fn allows(&self, id: u32) -> bool {
        self.words.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
    }

    /// Number of tokens that may follow.
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Takes the probability of the other tokens: their logits become negative infinity.
    pub fn apply(&self, logits: &mut [f32]) {
        let words = self.words.iter().copied().chain(std::iter::repeat(0));
        for (part, word) in logits.chunks_mut(32).zip(words).filter(|(_, word)| *word != u32::MAX) {
            for (_, logit) in part.iter_mut().enumerate().filter(|(bit, _)| word >> bit & 1 == 0) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mask_leaves_the_logits_of_allowed_tokens() {
        let mask = Mask::from_words(vec![u32::MAX, 0b101]);
        let mut logits = vec![1.0f32; 70];
        mask.apply(&mut logits);
        let left: Vec<u32> = (0..70).filter(|&id| logits[id as usize] == 1.0).collect();
        assert_eq!(left, (0..33).chain([34]).collect::<Vec<_>>());
        assert!((0..70).all(|id| mask.allows(id) == left.contains(&id)));
        assert_eq!(mask.count(), 34);
    }
}
