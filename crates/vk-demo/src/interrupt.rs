//! Ctrl-C: the first asks for a clean end with what is known so far, the second ends at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::INTERRUPTED;

static WANTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C asks first.
pub(crate) fn watch() {
    let asked = || {
        if WANTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(INTERRUPTED));
        }
    };
    // Where no handler can be set, Ctrl-C ends the program as it always did.
    let _ = ctrlc::set_handler(asked);
}

/// Whether the end has been asked for.
pub(crate) fn wanted() -> bool {
    WANTED.load(Ordering::Relaxed)
}
