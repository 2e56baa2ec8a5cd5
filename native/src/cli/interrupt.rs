//! Ctrl-C: the first one ends what is being answered, one at rest ends the program.

use foveate::Cancel;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The generation that the next Ctrl-C ends.
static ANSWERING: Mutex<Option<Cancel>> = Mutex::new(None);

/// The exit code of a program that ended by SIGINT.
pub(super) const CODE: u8 = 130;

fn answering() -> MutexGuard<'static, Option<Cancel>> {
    ANSWERING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on Ctrl-C is ours.
pub(super) fn watch() {
    // A system without signals leaves Ctrl-C what it was.
    let _ = ctrlc::set_handler(|| match answering().take() {
        Some(cancel) => cancel.cancel(),
        None => {
            eprintln!();
            std::process::exit(CODE.into());
        }
    });
}

/// While this lives, the first Ctrl-C cancels.
pub(super) struct Answering(());

impl Answering {
    pub(super) fn begin(cancel: &Cancel) -> Self {
        *answering() = Some(cancel.clone());
        Self(())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        *answering() = None;
    }
}
