//! Moves that are thought through and not made: what would be where, so that nobody has to go before it is known that it helps.

use alloc::vec::Vec;

use pgmap_alloc::Owner;

use crate::job::Shut;
use crate::place::{MemoryType, Place, Window};

/// An object that would leave a memory type.
#[derive(Clone, Copy)]
pub(crate) struct Out {
    pub(crate) key: usize,
    pub(crate) memory: MemoryType,
    pub(crate) owner: Owner,
    /// All its pages there.
    pub(crate) pages: u64,
}

/// Pages that would come.
#[derive(Clone, Copy)]
struct Come {
    memory: MemoryType,
    window: Window,
    owner: Owner,
    pages: u64,
}

/// A list of moves, in the order in which they would be made. What was added after a mark can be taken back.
#[derive(Default)]
pub(crate) struct Sketch {
    outs: Vec<Out>,
    ins: Vec<Come>,
    /// Objects that are being moved further up: they make no room for themselves.
    busy: Vec<usize>,
    /// Objects that turned out not to be able to go.
    stuck: Vec<usize>,
    /// What was found not to be had; what has been added to the sketch since has made no more room than it took.
    hopeless: Vec<Hopeless>,
}

/// So many pages of a place for this owner, while those memory types are shut.
#[derive(Clone, Copy)]
struct Hopeless {
    place: Place,
    owner: Owner,
    shut: Shut,
    pages: u64,
}

/// How much of a sketch there was.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    outs: usize,
    ins: usize,
}

impl Sketch {
    /// Nothing has been moved yet, and these objects are known not to be able to go.
    pub(crate) fn without(stuck: &[usize]) -> Sketch {
        Sketch { stuck: stuck.into(), ..Sketch::default() }
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { outs: self.outs.len(), ins: self.ins.len() }
    }

    pub(crate) fn back_to(&mut self, mark: Mark) {
        if (mark.outs, mark.ins) != (self.outs.len(), self.ins.len()) {
            // There was less room than there is now.
            self.hopeless.clear();
        }
        self.outs.truncate(mark.outs);
        self.ins.truncate(mark.ins);
    }

    pub(crate) fn leave(&mut self, out: Out) {
        self.outs.push(out);
    }

    pub(crate) fn come(&mut self, place: &Place, owner: Owner, pages: u64) {
        self.ins.push(Come { memory: place.memory, window: place.window, owner, pages });
    }

    /// Notes that so many pages of a place are not to be had.
    pub(crate) fn give_up(&mut self, place: &Place, owner: Owner, shut: Shut, pages: u64) {
        self.hopeless.push(Hopeless { place: *place, owner, shut, pages });
    }

    /// Whether no more than so many pages of a place were not to be had a moment ago.
    pub(crate) fn is_hopeless(&self, place: &Place, owner: Owner, shut: Shut, pages: u64) -> bool {
        let as_before = |gone: &Hopeless| (gone.place, gone.owner, gone.shut) == (*place, owner, shut) && gone.pages <= pages;
        self.hopeless.iter().any(as_before)
    }

    /// Moves an object while `work` looks for its place.
    pub(crate) fn moving<T>(&mut self, key: usize, work: impl FnOnce(&mut Sketch) -> T) -> T {
        self.busy.push(key);
        let done = work(self);
        self.busy.pop();
        done
    }

    /// Whether the object can no longer be asked to leave.
    pub(crate) fn is_bound(&self, key: usize, memory: MemoryType) -> bool {
        self.busy.contains(&key) || self.stuck.contains(&key) || self.leaves(key, memory)
    }

    pub(crate) fn leaves(&self, key: usize, memory: MemoryType) -> bool {
        self.outs_of(memory).any(|out| out.key == key)
    }

    pub(crate) fn outs_of(&self, memory: MemoryType) -> impl Iterator<Item = &Out> {
        self.outs.iter().filter(move |out| out.memory == memory)
    }

    /// Pages that would leave, of those owners.
    pub(crate) fn leaving(&self, memory: MemoryType, of: impl Fn(Owner) -> bool) -> u64 {
        self.outs_of(memory).filter(|out| of(out.owner)).map(|out| out.pages).sum()
    }

    /// Pages that would come, of those owners.
    pub(crate) fn coming(&self, memory: MemoryType, of: impl Fn(Owner) -> bool) -> u64 {
        self.ins.iter().filter(|come| come.memory == memory && of(come.owner)).map(|come| come.pages).sum()
    }

    /// Pages that would come into this window. Those that might go elsewhere do not count.
    pub(crate) fn coming_to(&self, place: &Place) -> u64 {
        let inside = |come: &&Come| come.memory == place.memory && place.window.encloses(&come.window);
        self.ins.iter().filter(inside).map(|come| come.pages).sum()
    }
}
