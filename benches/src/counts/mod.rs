//! Instructions of the hot paths: fixed pieces of work, counted by callgrind, and the record that they are held against.

mod cases;
mod record;

pub use cases::{Case, Ready, cases};
pub use record::{Change, Count, Record, Unreadable, ids};
