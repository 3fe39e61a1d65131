//! Views of objects: the scattered folios of each object behind contiguous addresses, bound anew when the object has moved.
//!
//! The manager tells of each move ([`Views::moved`]); that is noted, and bound in one call before a view is next used. Until then
//! a view may show folios that are no longer its object's, and nobody looks.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use pgmap_ttm::Bo;
use serde::Serialize;

use crate::device::{Bind, Device, DeviceError, DeviceInfo, Sparse, View};
use crate::failure::Failure;
use crate::pieces::{Memory, Piece};

/// Whether objects are to have views.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wanted {
    /// Where the device has sparse binding
    Auto,
    /// A device without it is refused
    On,
    /// Never
    Off,
}

/// The granule of the views there will be, or why there will be none.
pub(crate) type Choice = Result<u64, String>;

/// Decides on views before anything is done.
pub(crate) fn choose(wanted: Wanted, info: &DeviceInfo) -> Result<Choice, Failure> {
    match (wanted, &info.sparse) {
        (Wanted::Off, _) => Ok(Err("not wanted (--sparse off)".into())),
        (_, Sparse::Granule { granule_bytes, .. }) => Ok(Ok(*granule_bytes)),
        (Wanted::Auto, Sparse::Missing { missing }) => Ok(Err(missing.clone())),
        (Wanted::On, Sparse::Missing { missing }) => {
            Err(Failure::Usage(format!("--sparse on: {} has no sparse binding: {missing}", info.name)))
        }
    }
}

/// What was done with views, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Times that an object in the heap was written, read or summed through its view, and piece by piece.
    pub(crate) through_views: u64,
    pub(crate) in_pieces: u64,
    /// Runs of folios that were bound, views that were emptied, and the calls it took.
    pub(crate) binds: u64,
    pub(crate) unbinds: u64,
    pub(crate) bind_calls: u64,
    /// The most scattered view: so many runs of folios behind it.
    pub(crate) most_runs: usize,
}

/// The views of all objects.
pub(crate) struct Views {
    granule: u64,
    list: BTreeMap<Bo, Followed>,
    /// Those that stand elsewhere than what was last bound.
    moved: BTreeSet<Bo>,
    pub(crate) counts: Counts,
}

struct Followed {
    view: View,
    bytes: u64,
    stands: Vec<Run>,
    bound: Vec<Run>,
}

/// A part of an object, and where in the memory objects it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    at: u64,
    bytes: u64,
    object: usize,
    start: u64,
}

impl Views {
    /// None yet.
    pub(crate) fn new(granule: u64) -> Views {
        Views { granule, list: BTreeMap::new(), moved: BTreeSet::new(), counts: Counts::default() }
    }

    /// Makes a view for an object that stands nowhere yet; one that finds no addresses is met piece by piece.
    pub(crate) fn make(&mut self, device: &mut dyn Device, bo: Bo, bytes: u64) -> Result<(), DeviceError> {
        if let Some(view) = device.make_view(bytes)? {
            self.list.insert(bo, Followed { view, bytes, stands: Vec::new(), bound: Vec::new() });
        }
        Ok(())
    }

    /// Gives the view of an object up.
    pub(crate) fn give_up(&mut self, device: &mut dyn Device, bo: Bo) -> Result<(), DeviceError> {
        self.moved.remove(&bo);
        self.list.remove(&bo).map_or(Ok(()), |followed| device.drop_view(followed.view))
    }

    /// Notes where an object stands from now on: those of its parts that stand in memory objects, by their first byte.
    pub(crate) fn moved(&mut self, bo: Bo, parts: impl Iterator<Item = (u64, Piece)>) {
        let Some(followed) = self.list.get_mut(&bo) else { return };
        followed.stands.clear();
        for (at, piece) in parts {
            let Memory::Object(object) = piece.memory else { continue };
            let run = Run { at, bytes: piece.bytes, object, start: piece.start };
            match followed.stands.last_mut() {
                Some(last) if last.goes_on_with(&run) => last.bytes += run.bytes,
                _ => followed.stands.push(run),
            }
        }
        self.moved.insert(bo);
    }

    /// All of an object through its view, once everything that has moved is bound; none where the object is not wholly in memory
    /// objects, in whole granules.
    pub(crate) fn piece(&mut self, device: &mut dyn Device, bo: Bo) -> Result<Option<Piece>, DeviceError> {
        self.bind(device)?;
        let shown = self.list.get(&bo).filter(|followed| !followed.bound.is_empty());
        match shown {
            Some(_) => self.counts.through_views += 1,
            None => self.counts.in_pieces += 1,
        }
        Ok(shown.map(|followed| followed.view.piece(followed.bytes)))
    }

    fn bind(&mut self, device: &mut dyn Device) -> Result<(), DeviceError> {
        let mut binds = Vec::new();
        for bo in std::mem::take(&mut self.moved) {
            let Some(followed) = self.list.get_mut(&bo) else { continue };
            let wanted = if followed.can_be_shown(self.granule) { followed.stands.clone() } else { Vec::new() };
            let (view, bytes) = (followed.view, followed.bytes);
            if wanted.is_empty() && !followed.bound.is_empty() {
                binds.push(Bind { view, at: 0, bytes, to: None });
                self.counts.unbinds += 1;
            }
            let fresh = wanted.iter().filter(|run| !followed.bound.contains(run));
            let before = binds.len();
            binds.extend(fresh.map(|run| Bind { view, at: run.at, bytes: run.bytes, to: Some((run.object, run.start)) }));
            self.counts.binds += (binds.len() - before) as u64;
            self.counts.most_runs = self.counts.most_runs.max(wanted.len());
            followed.bound = wanted;
        }
        if binds.is_empty() {
            return Ok(());
        }
        self.counts.bind_calls += 1;
        device.bind(&binds)
    }
}

impl Followed {
    /// Whether all of it stands in memory objects, and every border between runs is one between granules, on both sides.
    fn can_be_shown(&self, granule: u64) -> bool {
        let whole = |run: &Run| [run.at, run.bytes, run.start].iter().all(|number| number.is_multiple_of(granule));
        self.stands.iter().map(|run| run.bytes).sum::<u64>() == self.bytes && self.stands.iter().all(whole)
    }
}

impl Run {
    fn goes_on_with(&self, next: &Run) -> bool {
        self.object == next.object && self.at + self.bytes == next.at && self.start + self.bytes == next.start
    }
}
