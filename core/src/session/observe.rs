//! Looking on while a session reads.

use super::Session;
use crate::backend::Backend;
use crate::send::{MaybeSend, MaybeSync};

/// Reads along, behind layers of its choice. It changes nothing: what a session says is the same to the bit with it and
/// without.
pub trait Observer<B: Backend>: MaybeSend + MaybeSync {
    /// The layers, counted from 0; those that the model does not have are never seen.
    fn layers(&self) -> &[usize];

    /// Called as a step is recorded, behind each of the layers in turn. What it records on `backend` (a copy, an op) runs
    /// in the same submission, where the rows are what the layer left; later ops write over them.
    fn observe(&mut self, backend: &B, seen: Observed<'_, B>);
}

/// The residual stream behind a layer.
pub struct Observed<'a, B: Backend> {
    /// The layer, counted from 0.
    pub layer: usize,
    /// The index in the sequence of the first row's token.
    pub first: u32,
    /// The number of rows.
    pub tokens: u32,
    /// `[tokens, dim]` f32, to be read only: the stream divided by [`branch_scale`](crate::config::Config::branch_scale).
    pub rows: &'a B::Buffer,
}

impl<B: Backend> Session<B> {
    /// Lets `observer` look on from now on, or nobody. Forks have none, nor do steps of a [`Batch`](super::Batch).
    pub fn observe(&mut self, observer: Option<Box<dyn Observer<B>>>) {
        self.observer = observer;
    }
}
