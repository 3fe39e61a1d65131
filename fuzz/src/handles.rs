//! The per-CPU handles of a run. What they have at hand looks taken to everyone else, and the model cannot know which pages
//! that is: so where a handle may be the reason, a refusal is right as well.

use pgmap_alloc::{AllocError, Folio, Local, Order, Pgmap, Put};

use crate::recorder::Recorder;

/// Two handles, or none.
pub(crate) struct Handles<'p, const WORDS: usize> {
    locals: Vec<Local<'p, Recorder, WORDS>>,
}

impl<'p, const WORDS: usize> Handles<'p, WORDS> {
    /// No handle: every answer is exact.
    pub(crate) fn none() -> Self {
        Handles { locals: Vec::new() }
    }

    /// Two of them.
    pub(crate) fn two(pgmap: &'p Pgmap<'p, Recorder, WORDS>) -> Self {
        Handles { locals: [pgmap.local(), pgmap.local()].into_iter().flatten().collect() }
    }

    /// How many idle pages they have at hand.
    pub(crate) fn cached(&self) -> u64 {
        self.locals.iter().map(Local::cached).sum()
    }

    /// Whether there are any.
    pub(crate) fn exist(&self) -> bool {
        !self.locals.is_empty()
    }

    /// A folio in service through one of them, as a raw head; `None` without handles.
    pub(crate) fn alloc(&mut self, second: bool, order: Order, data: u64) -> Option<Result<pgmap_alloc::Offset, AllocError>> {
        let local = self.locals.get_mut(usize::from(second))?;
        Some(local.alloc_folio_with(order, data).map(Folio::into_raw))
    }

    /// One reference less through one of them; `None` without handles.
    pub(crate) fn put(&mut self, second: bool, folio: Folio<'p, Recorder, WORDS>) -> Option<Put> {
        let local = self.locals.get_mut(usize::from(second))?;
        Some(local.put(folio).expect("the folio is this pgmap's own"))
    }

    /// Both give back what they have, one of them, or the other.
    pub(crate) fn drain(&mut self, which: impl Fn(bool) -> bool) {
        for (index, local) in self.locals.iter_mut().enumerate() {
            if which(index == 1) {
                local.drain();
                assert_eq!(local.cached(), 0);
            }
        }
    }
}
