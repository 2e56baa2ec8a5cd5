//! A session's cache as bytes, and back.

use super::Session;
use crate::backend::Backend;
use crate::cache::{Layer, Saved, Sequence, Slots};
use crate::error::{Error, Result};
use foveate_kernels::rope::{Frequencies, Scaling};

impl<B: Backend> Session<B> {
    /// The cache as a file; see [`Saved`].
    ///
    /// # Errors
    /// `Config` for a model that has no [fingerprint](crate::model::Model::fingerprint).
    pub async fn save(&self) -> Result<Vec<u8>> {
        let layers = self.snapshot().rows(self.model.backend()).await?;
        let saved = Saved {
            model: self.fingerprint()?,
            kv: self.pool.format().name().into(),
            rope: self.rope(self.sequence.stretched()),
            tokens: self.tokens().to_vec(),
            segments: self.segments().iter().map(|s| (s.kind, s.len, s.position)).collect(),
            layers,
            states: self.states().await?,
        };
        saved.write()
    }

    /// Takes a saved cache in the place of what the session holds.
    ///
    /// # Errors
    /// `Format` for a damaged file; `WrongBase` and `CacheMismatch` for one of another model or kind; `ContextFull` and
    /// `OutOfPages` if it does not fit beside what is held now. Then the session is as it was.
    pub async fn restore(&mut self, bytes: Vec<u8>) -> Result<()> {
        let saved = Saved::read(bytes).await?;
        self.admit_saved(&saved)?;
        let sequence = Sequence::restored(self.pool.holders(), &saved.tokens, &saved.segments)?;
        let backend = self.model.backend();
        for (layer, (keys, values)) in self.pool.layers().zip(&saved.layers) {
            let needed = sequence.needed(layer.windowed);
            for ((buffer, row), mut bytes) in layer.sides().zip([&keys[..], &values[..]]) {
                for &(at, rows) in &needed {
                    let (page, rest) = bytes.split_at(rows as usize * row as usize);
                    backend.upload(buffer, u64::from(at) * row, page)?;
                    bytes = rest;
                }
            }
        }
        for (slots, state) in self.pool.states().buffers().zip(&saved.states) {
            let slot = sequence.slot().unwrap_or(0);
            backend.upload(&slots.buffer, u64::from(slot) * slots.bytes, state)?;
        }
        self.sequence = sequence;
        self.changed();
        Ok(())
    }

    /// Returns the recurrent state of a layer, as its op reads it: `[HV, K, V]` for the delta rule, `[H, C, N]` for
    /// [`route_step`](foveate_kernels::route_step). Before the first token it is zero; layers without one return
    /// `None`.
    ///
    /// # Errors
    /// Errors of the device.
    pub async fn state(&self, layer: usize) -> Result<Option<Vec<u8>>> {
        let Some(states) = self.pool.states().layer(layer) else { return Ok(None) };
        match self.sequence.slot() {
            Some(slot) => self.part(&states.memory, slot).await.map(Some),
            None => Ok(Some(vec![0; states.memory.bytes as usize])),
        }
    }

    /// The states of layers that have any; none before the first token.
    async fn states(&self) -> Result<Vec<Vec<u8>>> {
        let mut states = Vec::new();
        if let Some(slot) = self.sequence.slot() {
            for slots in self.pool.states().buffers() {
                states.push(self.part(slots, slot).await?);
            }
        }
        Ok(states)
    }

    async fn part(&self, slots: &Slots<B>, slot: u32) -> Result<Vec<u8>> {
        self.model.backend().download(&slots.buffer, u64::from(slot) * slots.bytes, slots.bytes).await
    }

    fn admit_saved(&self, saved: &Saved) -> Result<()> {
        let (expected, got) = (self.fingerprint()?, saved.model.clone());
        if expected != got {
            return Err(Error::WrongBase { expected, got });
        }
        let mismatch = |what, expected: &str, got: &str| match expected == got {
            true => Ok(()),
            false => Err(Error::CacheMismatch { what, expected: expected.into(), got: crate::error::one_line(got) }),
        };
        mismatch("keys and values", self.pool.format().name(), &saved.kv)?;
        mismatch("rope", &self.rope(0), &saved.rope)?;
        let end = saved.segments.last().map_or(0, |(_, len, at)| u64::from(*len) + u64::from(*at));
        if end > self.context().into() {
            return Err(Error::ContextFull { tokens: end, context: self.context().into() });
        }
        let ids: Vec<u32> = saved.tokens.iter().copied().filter(|id| *id != crate::cache::NO_TOKEN).collect();
        self.admit_ids(&ids)?;
        let tokens = saved.tokens.len() as u64;
        let sees = self.pool.holders().windows.as_ref().map_or(u64::MAX, |(_, window)| u64::from(window.sees) - 1);
        let rows = |l: &Layer<B>| l.rows.map(|row| row * if l.windowed { tokens.min(sees) } else { tokens });
        let rows: Vec<[u64; 2]> = self.pool.layers().map(rows).collect();
        let sizes = |(keys, values): &(Vec<u8>, Vec<u8>)| [keys.len() as u64, values.len() as u64];
        let states = self.pool.states().buffers().map(|s| s.bytes).filter(|_| !saved.tokens.is_empty());
        let whole = saved.states.iter().map(|s| s.len() as u64).eq(states);
        match whole && saved.layers.iter().map(sizes).eq(rows) {
            true => Ok(()),
            false => Err(Error::format("the saved cache", "its layers are not the model's")),
        }
    }

    fn fingerprint(&self) -> Result<String> {
        let unknown = || Error::Config { reason: "a model that was streamed in parts has no fingerprint".into() };
        self.model.fingerprint().map(String::from).ok_or_else(unknown)
    }

    /// The rope parameters of every layer, as text, for keys that are rotated for a text of some length.
    fn rope(&self, stretched: u32) -> String {
        let rope = self.model.config().layers.iter().map(|layer| {
            let rope = layer.mixer.attention().and_then(|a| a.rope.as_ref());
            // Frequencies of LongRoPE depend on the room of a session.
            let room =
                |f: &Frequencies| matches!(f.scaling, Scaling::Long { original, .. } if self.context() > original);
            rope.map_or("none".into(), |r| format!("{:?} {:?} {}", r.pairing, r.frequencies, room(&r.frequencies)))
        });
        let mut rope: Vec<String> = rope.collect();
        rope.dedup();
        rope.extend((stretched > 0).then(|| format!("for {stretched} tokens")));
        rope.join("; ")
    }
}
