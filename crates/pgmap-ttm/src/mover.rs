//! The one thing that a manager asks of a device: move bytes, and say when they have moved.

use crate::bo::Bo;
use crate::error::{CopyError, FenceError};
use crate::piece::{Piece, Ticket};

/// Copies between pieces of memory, in order, on one timeline.
pub trait Mover {
    /// Starts copying `bytes` bytes from the pages of `from` to those of `to`, and says when it will be done.
    ///
    /// Both lists name equally many pages; the n-th piece of one is as long as the n-th piece of the other. Copies take effect
    /// as if in the order in which they were started: one that reads what an earlier one writes sees it.
    ///
    /// An error says that nothing was started: no page of `to` will be written, no page of `from` read.
    fn copy(&mut self, from: &[Piece], to: &[Piece], bytes: u64) -> Result<Ticket, CopyError>;

    /// Whether the copy of `ticket` has ended.
    ///
    /// An error says that it has ended without having copied, and that it touches none of its pages any more.
    fn is_signalled(&mut self, ticket: Ticket) -> Result<bool, FenceError>;

    /// Waits until the copy of `ticket` has ended; errors as in [`is_signalled`](Mover::is_signalled).
    fn wait(&mut self, ticket: Ticket) -> Result<(), FenceError>;

    /// From now on the object's pages stand here, each piece with the object's page that it starts at, or nowhere: whoever maps
    /// them has to map them anew before their next use. Called after each change, with copies perhaps still under way.
    ///
    /// Does nothing by default.
    fn move_notify(&mut self, bo: Bo, pieces: &mut dyn Iterator<Item = (u64, Piece)>) {
        let _ = (bo, pieces);
    }
}
