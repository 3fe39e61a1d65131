//! Random operations on a pgmap, each checked against a slow model: what the fuzz targets share, and what can be tested without them.
//!
//! [`op`] says what a fuzzer may ask for, [`model`] is the pgmap as a few maps, [`driver`] does each operation on both and
//! compares. A difference panics: that is what a fuzzer looks for. [`bulk`] is the same for a bare pool and many pages in one call,
//! [`per_cpu`] for handles that all share.

pub mod bulk;
pub mod compare;
pub mod driver;
mod handles;
pub mod model;
pub mod op;
pub mod per_cpu;
pub mod recorder;
mod subject;
