//! The folio word: everything about the folio that starts at a page, in one atomic word.
//!
//! # The word
//!
//! ```text
//! bits  0..3   state
//! bit   3      awaited: the next put tells those who wait to freeze the folio (rule 10)
//! bit   4      the page is bad, to be retired as soon as it is idle (rule 8)
//! bits  5..11  order
//! bits 11..39  mappings: references that are entries of page tables (Special: the reason)
//! bits 39..64  pins: all other references
//! ```
//!
//! | state | value | meaning | references | who may write the word |
//! |---|---|---|---|---|
//! | `Idle` | 0 | no folio starts here; the whole word is 0, but for a bad page | 0 | whoever owns the page in the tables |
//! | `Building` | 1 | a request owns the pages and is setting them up | 0 | that request |
//! | `InService` | 2 | a folio of `order` starts here | 1.. | anyone who holds a reference; [`Word::try_get`] |
//! | `Freeing` | 3 | the last reference is gone, the driver's `folio_free` is running | 0 | that put |
//! | `Frozen` | 4 | in service, but no lookup gets a reference | 0.. | whoever froze it; holders go on counting (rule 11) |
//! | `Retired` | 5 | bad memory, until it is pardoned | 0 | the pardon |
//! | `Special` | 6 | a run of `order` without a folio, and why | 0 | whoever declared it, to take it back |
//! | | 7 | never written | | |
//!
//! # Rules
//!
//! 1. Only the word of the folio's first page is ever written; the words of its other pages are 0, but for bad pages. So a request
//!    and a last put cost the same at every order.
//! 2. A word leaves `Idle` only by [`Word::begin`], [`Word::begin_part`], [`Word::retire`] or [`Word::declare`], whose caller owns
//!    the run in the tables, and comes back only by [`Word::abandon`], [`Word::finish_free`], [`Word::finish_free_chained`],
//!    [`Word::undeclare`], [`Word::unretire`] or a last put that nobody hears (rule 9), after which the caller gives the run back to the tables. The tables' claim (Acquire) and release (Release) hand the word from one owner
//!    to the next.
//! 3. A reference is taken only where one exists: the count goes 0 -> 1 in [`Word::publish`] and nowhere else. (A part that is
//!    split off begins with one too, but its pages were in service already.)
//! 4. A request writes `Building` and then looks whether the pgmap is dying; a kill writes "dying", and only then does a drain
//!    look at words. One of the two sees the other (`lifetime`).
//! 5. Counts end. Mappings end at 2^28 - 1, and one more is refused. Verbs that can refuse go up to 2^24 pins; a clone cannot
//!    refuse and goes on. At 2^25 - 1 pins the count is *saturated*: it is neither raised nor lowered any more, the folio is never
//!    freed, which is the safe way to be wrong, and the clone that got there says so.
//! 6. Pins and mappings are counted apart; references are both. A put takes pins only, an unmap mappings only.
//! 7. A split freezes the whole, writes the words of the parts (`Frozen`, one reference each), and only then makes the whole
//!    smaller. So a page of it is under a word with a count at every moment. A lookup looks at the smallest order first, and again
//!    if there was a split meanwhile (`folios`).
//! 8. That a page is bad stands in its own word, whatever covers it, and every change of that word keeps it. Anyone may say so
//!    ([`Word::condemn`]), but not while the word is `Building` or `Freeing`, which end in a plain store. It is unsaid where the
//!    page is retired, or by [`Word::pardon`]: one says it, one unsays it, so bad pages can be counted (`marks`). No folio begins with a bad page: `begin`
//!    finds the first page's, and who looks into `lifetime` afterwards the others'.
//! 9. Where the driver hears nothing of the end of a folio and keeps nothing with it ([`PgmapOps::HEARS_FREES`](crate::PgmapOps)),
//!    there is nothing between the last reference and the idle word: both are one read-modify-write, and there is no `Freeing`.
//! 10. A caller that waits until it can freeze a folio tries to freeze it, and marks it *awaited* in the same read-modify-write if it
//!     cannot ([`Word::freeze_or_wait`]). The next put, unmap or thaw takes the mark away in its own read-modify-write and then
//!     wakes all who wait at that folio (`waiters`, rule 7). So a change is either seen by the attempt or wakes the waiter. The mark is
//!     a hint that errs on one side: it may outlive its waiter, and then costs one put one look.
//! 11. A frozen folio does not end under whoever froze it. A last put that can be refused is refused, and its caller keeps the
//!     reference. The drop of the last [`Folio`](crate::Folio) cannot be refused: it leaves the word `Frozen` without references, and
//!     the thaw is the last put in its stead. Nobody takes a reference from such a word.

#[cfg(all(test, not(loom)))]
mod tests;
mod snapshot;
mod word;

pub use snapshot::Expect;
pub(crate) use snapshot::{
    AfterPut, Cloned, Condemned, Ending, FreezeFault, FreezeOrWait, GetFault, IfFrozen, Pardoned, PutFault, Snapshot, State,
};
pub use word::Word;
