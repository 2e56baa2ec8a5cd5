//! Speculation: tokens are drafted cheaply and checked by the model in one step.
//!
//! The model chooses a token behind each token of the draft, with the draws that plain decoding would use there, and the
//! draft counts up to the first difference. So the text is that of plain decoding, whatever the draft is and however tokens
//! are chosen ("sample and compare"); only the rounding of a step over several tokens may differ from that of single steps.

use super::draft::Draft;
use super::lookup::Lookup;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A way to draft tokens, for [`Generation::speculate`](super::Generation::speculate).
#[derive(Clone)]
pub struct Speculation(Kind);

#[derive(Clone)]
enum Kind {
    Lookup,
    /// Taken while a generation runs, so that the next one finds what was read of the text.
    Shared(Arc<Mutex<Option<Box<dyn Draft>>>>),
}

impl fmt::Debug for Speculation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Lookup => "Speculation::lookup",
            Kind::Shared(_) => "Speculation::with",
        })
    }
}

impl Speculation {
    /// Drafts what followed the longest earlier place of the text's last tokens (prompt lookup decoding).
    pub fn lookup() -> Self {
        Self(Kind::Lookup)
    }

    /// Drafts by `draft`. Of several generations at the same time, one uses it.
    pub fn with(draft: impl Draft + 'static) -> Self {
        Self(Kind::Shared(Arc::new(Mutex::new(Some(Box::new(draft))))))
    }

    pub(super) fn begin(&self) -> Option<Box<dyn Draft>> {
        match &self.0 {
            Kind::Lookup => Some(Box::new(Lookup)),
            Kind::Shared(slot) => slot.lock().unwrap_or_else(PoisonError::into_inner).take(),
        }
    }

    pub(super) fn end(&self, draft: Box<dyn Draft>) {
        if let Kind::Shared(slot) = &self.0 {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(draft);
        }
    }
}

/// Tokens that were drafted for a generation, and how many of them the model chose as well.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Drafts {
    /// Tokens that were drafted.
    pub drafted: u64,
    /// Drafted tokens that were accepted.
    pub accepted: u64,
}
