//! The whole state of a pgmap against the model's.

use pgmap_alloc::{Offset, Pgmap, RunState};

use crate::model::{Model, Owner};
use crate::recorder::Recorder;

/// The validator's proof, its counts, and the snapshot run by run.
pub fn compare_all<const WORDS: usize>(pgmap: &Pgmap<'_, Recorder, WORDS>, model: &Model) {
    assert_eq!(pgmap.validate(), Ok(model.census()));
    let mut pages = 0;
    let mut next = 0;
    for run in pgmap.snapshot() {
        let (start, end) = (run.start.get(), run.start.get() + run.pages);
        assert!(start >= next, "the snapshot goes back to {start}");
        assert!(run.pages > 0 && model.has(start) && model.has(end - 1));
        match run.state {
            RunState::Idle => assert!(model.is_untaken(start..end), "{start}..{end} is not idle"),
            RunState::Block => assert!(model.is_block(start..end), "{start}..{end} is no block"),
            RunState::Folio { order, refs } => {
                let folio = model.folio(start).unwrap_or_else(|| panic!("no folio starts at {start}"));
                assert_eq!((order, refs, run.pages), (folio.order, folio.refs, order.pages()), "the folio at {start}");
            }
            other => panic!("{other:?} at {start}"),
        }
        assert_eq!(pgmap.is_idle(Offset::new(start)), !matches!(model.owner(start), Some(Owner::Folio(_))));
        pages += run.pages;
        next = end;
    }
    assert_eq!(pages, pgmap.pages(), "the snapshot leaves out pages");
}
