//! What a validation would cost others, told beforehand.

use pgmap_alloc::PgmapOps;

use crate::bo::{Bo, Keeping};
use crate::error::ValidateError;
use crate::failure::Failure;
use crate::job::{Job, Part, Shut};
use crate::manager::Manager;
use crate::mover::Mover;
use crate::place::Placement;
use crate::sketch::Sketch;

/// What would have to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Objects that would be pushed out, or lose what they hold.
    pub objects: u64,
    /// Their pages where room is needed.
    pub pages: u64,
    /// Objects that would be purged: they are not among the others.
    pub purged: u64,
}

impl<M: Mover, O: PgmapOps<Data = usize>> Manager<'_, M, O> {
    /// How many objects, and pages of them, would have to leave if the object were validated now; moves nothing. All zero if none
    /// would.
    ///
    /// Whole objects leave: together they have less than one object more than is missing. What those push out further down is not
    /// counted. The answer holds until something changes, and as far as a plan can tell: the mover may still refuse. The errors are
    /// those of [`validate`](Manager::validate), but for its copies. O(objects that leave); a run, or a refusal, costs
    /// O(n log n) in the objects and free gaps of the memory type.
    pub fn cost_of(&mut self, bo: Bo, placement: &Placement) -> Result<Cost, ValidateError> {
        // What others held and have put is free for a validation.
        self.reap();
        let key = self.find(bo)?;
        self.check_placement(key, placement)?;
        let job = Job { key, part: Part::Misplaced, places: placement.places(), shut: Shut::default() };
        if placement.places().is_empty() || self.stands_well(&job, false) {
            return Ok(Cost::default());
        }
        if self.objects[key].pins > 0 {
            return if self.stands_well(&job, true) { Ok(Cost::default()) } else { Err(ValidateError::Pinned) };
        }
        let mut cost = Cost::default();
        let mut sketch = Sketch::default();
        let going =
            sketch.moving(key, |sketch| self.could_settle(sketch, &job)).map_err(|why: Failure| ValidateError::from(why))?;
        for victim in going.victims {
            let object = &self.objects[victim];
            if object.keeping == Keeping::Needed {
                cost.objects += 1;
                cost.pages += object.resident_in(going.memory);
            } else {
                cost.purged += 1;
            }
        }
        Ok(cost)
    }
}
