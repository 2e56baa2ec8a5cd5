//! The place of a session that one step at a time takes.

use foveate_core::session::Buffered;
use foveate_core::{Any, Error};
use std::cell::RefCell;
use std::rc::Rc;

/// Holds a session. A step takes it out while it runs, so that a second step at the same time is refused.
pub(crate) type Slot = Rc<RefCell<Option<Buffered<Any>>>>;

/// The error of a second step at the same time.
pub(crate) fn busy() -> Error {
    Error::Config { reason: "the last step of the session has not ended".into() }
}
