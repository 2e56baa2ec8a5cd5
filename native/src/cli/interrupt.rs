//! Ctrl-C: the first one ends what is being answered, one at rest ends the program.

use std::sync::atomic::{AtomicBool, Ordering};

static ANSWERING: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);

/// What shells report of a program that ended by this signal.
pub(super) const CODE: u8 = 130;

/// From here on Ctrl-C is ours.
pub(super) fn watch() {
    // A system without signals leaves Ctrl-C what it was.
    let _ = ctrlc::set_handler(|| {
        if !ANSWERING.load(Ordering::SeqCst) || ASKED.swap(true, Ordering::SeqCst) {
            eprintln!();
            std::process::exit(CODE.into());
        }
    });
}

/// While this lives, the first Ctrl-C is a request.
pub(super) struct Answering(());

impl Answering {
    pub(super) fn begin() -> Self {
        ASKED.store(false, Ordering::SeqCst);
        ANSWERING.store(true, Ordering::SeqCst);
        Self(())
    }

    /// Whether Ctrl-C was pressed since.
    pub(super) fn interrupted(&self) -> bool {
        ASKED.load(Ordering::SeqCst)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        ANSWERING.store(false, Ordering::SeqCst);
    }
}
