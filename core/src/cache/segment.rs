//! Segments and versions of a sequence.
//!
//! A version number is given out once and stands for the tokens that it was given for. A splice compares versions, and
//! a rollback can restore one.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The kind of a segment's tokens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// Tokens of the vocabulary.
    Text,
    /// Embeddings that a coprocessor made.
    Latent,
    /// Embeddings that stand for a task, in front of a text.
    Prefix,
    /// Embeddings that stand for a text which is no longer there.
    Summary,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Text, Kind::Latent, Kind::Prefix, Kind::Summary];

    /// Returns the name of the kind.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Latent => "latent",
            Kind::Prefix => "prefix",
            Kind::Summary => "summary",
        }
    }
}

/// A state of a sequence. Of two sequences of one pool, equal versions hold equal tokens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Version(pub(super) u64);

impl Version {
    /// The number that messages call it by.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The name of a segment, unique in its pool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SegmentId(pub(super) u64);

/// Consecutive tokens of a sequence. A segment is never changed but for its end: text grows at the tail, and a rollback
/// cuts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Segment {
    /// The id of the segment, which no other one has.
    pub id: SegmentId,
    /// The kind of its tokens.
    pub kind: Kind,
    /// Index of the segment's first token in the sequence.
    pub start: u32,
    /// Its number of tokens.
    pub len: u32,
    /// The position of its first token; the others follow one by one.
    pub position: u32,
}

impl Segment {
    /// The token behind its last.
    pub fn end(&self) -> u32 {
        self.start + self.len
    }

    /// Returns the parts of the segment that remain when the tokens in `gone` are removed: none, one or two. The first
    /// keeps the segment's id.
    pub(super) fn without(self, gone: &Range<u32>) -> impl Iterator<Item = Segment> + use<> {
        let (end, count) = (self.end(), gone.end - gone.start);
        let front = Segment { len: end.min(gone.start).saturating_sub(self.start), ..self };
        let from = self.start.max(gone.end);
        let back = Segment { position: self.position + (from - self.start), len: end.saturating_sub(from), ..self };
        let id = if front.len == 0 { self.id } else { SegmentId(fresh()) };
        let back = Segment { id, start: from - count, ..back };
        [front, back].into_iter().filter(|s| s.len > 0)
    }
}

/// How much of a text a sequence holds already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    /// Tokens that are the same.
    pub same: u32,
    /// The length to roll back to, at most `same`.
    pub len: u32,
}

impl Prefix {
    /// Tokens that are the same and must be read again all the same, since the sequence can't go back to their end.
    pub fn replay(&self) -> u32 {
        self.same - self.len
    }
}

/// Numbers that are given out once: of versions and of segments.
static NEXT: AtomicU64 = AtomicU64::new(0);

pub(super) fn fresh() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}
