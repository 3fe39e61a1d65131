//! Measures `pgmap-alloc` beside its peers: the same work, the same traces, the same run.
//!
//! A [`peer`] is driven through two small traits, one per shape (used by one thread, shared by several). A [`works`] module
//! is one line of work, generic over the trait; [`trace`] precomputes what is done, so that every peer does the same. An
//! [`entry::Entry`] ties a peer to all works; [`check`] proves each peer's answers before anything is timed.

pub mod check;
pub mod counts;
pub mod entry;
pub mod machine;
pub mod peer;
pub mod peers;
pub mod picture;
pub mod report;
pub mod run;
pub mod sample;
pub mod targets;
pub mod trace;
pub mod works;
