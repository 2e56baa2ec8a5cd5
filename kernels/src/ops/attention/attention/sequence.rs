use super::Spec;
use crate::cpu::Args;

/// Rows and lengths of one sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sequence {
    /// First row of the sequence in `q` and `out`.
    pub(crate) first_query: usize,
    pub(crate) queries: usize,
    /// First row of the sequence in `k` and `v`, unless they are paged.
    pub(crate) first_key: usize,
    pub(crate) keys: usize,
}

impl Sequence {
    /// Returns the position of query `t`, which is negative if the query precedes the first key.
    pub(crate) fn position(&self, t: usize) -> i64 {
        t as i64 + self.keys as i64 - self.queries as i64
    }
}

/// Offsets and lengths of all sequences of a run.
#[derive(Clone, Copy)]
pub(crate) struct Sequences<'a> {
    spec: &'a Spec,
    cu_q: Option<&'a [u32]>,
    cu_k: Option<&'a [u32]>,
    lengths: Option<&'a [u32]>,
}

impl<'a> Sequences<'a> {
    pub(crate) fn new(spec: &'a Spec, args: &Args<'a>) -> Self {
        Self {
            spec,
            cu_q: spec.packed.map(|_| args.u32("cu_q")),
            cu_k: spec.packed_keys().map(|_| args.u32("cu_k")),
            lengths: spec.lengths.then(|| args.u32("lengths")),
        }
    }

    /// Builds the offsets from the argument vectors that exist; `vector` looks one up by name.
    pub(crate) fn of(spec: &'a Spec, vector: impl Fn(&str) -> Option<&'a [u32]>) -> Self {
        Self { spec, cu_q: vector("cu_q"), cu_k: vector("cu_k"), lengths: vector("lengths") }
    }

    pub(crate) fn get(&self, b: usize) -> Sequence {
        let spec = self.spec;
        let part = |offsets: Option<&[u32]>, rows: Option<u32>, most: u32| match (offsets, rows) {
            (Some(at), Some(rows)) => {
                let first = at[b].min(rows);
                (first as usize, at[b + 1].clamp(first, rows).saturating_sub(first).min(most) as usize)
            }
            _ => (b * most as usize, most as usize),
        };
        let (first_query, queries) = part(self.cu_q, spec.packed.map(|p| p.queries), spec.queries);
        let (first_key, keys) = part(self.cu_k, spec.packed_keys(), spec.keys);
        let keys = self.lengths.map_or(keys, |lengths| keys.min(lengths[b] as usize));
        Sequence { first_query, queries, first_key, keys }
    }

    /// Returns whether two sequences may share a row of `q`.
    pub(crate) fn overlap(&self) -> bool {
        self.cu_q.is_some_and(|offsets| !offsets.is_sorted())
    }

    /// Returns whether two sequences may share a row of `k`.
    pub(crate) fn overlap_in_keys(&self) -> bool {
        self.cu_k.is_some_and(|offsets| !offsets.is_sorted())
    }
}
