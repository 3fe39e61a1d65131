//! The folio word: everything about the folio that starts at a page, in one atomic word.
//!
//! # The word
//!
//! ```text
//! bits  0..32  references
//! bits 32..52  mappings: how many of the references are mappings (Special: the reason)
//! bits 52..58  order
//! bits 58..61  state
//! bit   61     the page is bad, to be retired as soon as it is idle (rule 8)
//! bits 62..64  always 0
//! ```
//!
//! | state | meaning | references | who may write the word |
//! |---|---|---|---|
//! | `Idle` | no folio starts here; the whole word is 0, but for a bad page | 0 | whoever owns the page in the tables |
//! | `Building` | a request owns the pages and is setting them up | 0 | that request |
//! | `InService` | a folio of `order` starts here | 1.. | anyone who holds a reference; [`Word::try_get`] |
//! | `Freeing` | the last reference is gone, the driver's `folio_free` is running | 0 | that put |
//! | `Frozen` | in service, but no lookup gets a reference | 1.. | whoever froze it; who holds a reference counts on, but the last put is refused |
//! | `Retired` | bad memory, until it is pardoned | 0 | the pardon |
//! | `Special` | a run of `order` without a folio, and why | 0 | whoever declared it, to take it back |
//! | 7 | never written | | |
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
//! 5. A count that would overflow stays at the largest number: the folio is never freed, which is the safe way to be wrong.
//! 6. Mappings are references too: mappings <= references, and a put never takes what is a mapping.
//! 7. A split freezes the whole, writes the words of the parts (`Frozen`, one reference each), and only then makes the whole
//!    smaller. So a page of it is under a word with a count at every moment. A lookup looks at the smallest order first, and again
//!    if there was a split meanwhile (`folios`).
//! 8. That a page is bad stands in its own word, whatever covers it, and every change of that word keeps it. Anyone may say so
//!    ([`Word::condemn`]), but not while the word is `Building` or `Freeing`, which end in a plain store. It is unsaid where the
//!    page is retired, or by [`Word::pardon`]: one says it, one unsays it, so bad pages can be counted (`marks`). No folio begins with a bad page: `begin`
//!    finds the first page's, and who looks into `lifetime` afterwards the others'.
//! 9. Where the driver hears nothing of the end of a folio and keeps nothing with it ([`PgmapOps::HEARS_FREES`](crate::PgmapOps)),
//!    there is nothing between the last reference and the idle word: both are one read-modify-write, and there is no `Freeing`.

#[cfg(all(test, not(loom)))]
mod tests;
mod snapshot;
mod word;

pub use snapshot::Expect;
pub(crate) use snapshot::{AfterPut, Condemned, Ending, FreezeFault, Pardoned, PutFault, Snapshot, State};
pub use word::Word;
