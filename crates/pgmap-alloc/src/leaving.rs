//! The ranges that are on their way out: no new request is served there.
//!
//! Whoever closes a range counts it as a mark (`lifetime`), so that requests and last puts look here. They may look a moment too
//! early; that only costs another round, because a range is gone when all its pages have been taken, and not before.

use crate::offset::{Offset, Run};
use crate::queue::WaitQueue;
use crate::sync::{AtomicU64, Ordering, in_models};

/// How many ranges may be leaving at a time; each costs every request a look while a range is leaving.
pub(crate) const LEAVING: usize = in_models(1, 8);

/// From which page to which, and who waits for the last of them.
struct Span {
    /// The first page plus one; 0 = no range.
    first: AtomicU64,
    end: AtomicU64,
    waiting: WaitQueue,
}

/// Why a range is not leaving now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotLeaving {
    /// It was before.
    Already,
    /// As many as can be are leaving.
    TooMany,
    /// Somebody else is closing a range at this moment.
    Changing,
}

/// All ranges that are leaving.
pub(crate) struct Leaving {
    spans: [Span; LEAVING],
    /// 1 while somebody adds one.
    changing: AtomicU64,
}

impl Leaving {
    pub(crate) fn new() -> Leaving {
        let span = |_| Span { first: AtomicU64::new(0), end: AtomicU64::new(0), waiting: WaitQueue::new() };
        Leaving { spans: core::array::from_fn(span), changing: AtomicU64::new(0) }
    }

    /// Says that a range is leaving.
    pub(crate) fn set(&self, first: Offset, end: Offset) -> Result<(), NotLeaving> {
        // Acquire: pairs with the Release at the end. Relaxed on failure: nothing is read.
        self.changing.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).map_err(|_| NotLeaving::Changing)?;
        let result = self.set_alone(first, end);
        self.changing.store(0, Ordering::Release);
        result
    }

    fn set_alone(&self, first: Offset, end: Offset) -> Result<(), NotLeaving> {
        if self.span(first).is_some() {
            return Err(NotLeaving::Already);
        }
        // Acquire: pairs with `clear`.
        let free = self.spans.iter().find(|span| span.first.load(Ordering::Acquire) == 0).ok_or(NotLeaving::TooMany)?;
        // Release, both: pairs with `bounds`, which finds nothing until it sees an end.
        free.first.store(first.get() + 1, Ordering::Release);
        free.end.store(end.get(), Ordering::Release);
        Ok(())
    }

    /// Says that the range that starts at `first` is leaving no more. The caller set it.
    pub(crate) fn clear(&self, first: Offset) {
        if let Some(span) = self.span(first) {
            // Release, both: pairs with `set_alone`.
            span.end.store(0, Ordering::Release);
            span.first.store(0, Ordering::Release);
        }
    }

    fn span(&self, first: Offset) -> Option<&Span> {
        // Acquire: pairs with `set_alone`.
        self.spans.iter().find(|span| span.first.load(Ordering::Acquire) == first.get() + 1)
    }

    /// Whether any range is leaving.
    pub(crate) fn is_any(&self) -> bool {
        self.all().next().is_some()
    }

    /// All ranges that are leaving, as the first page and the one after the last.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Offset, Offset)> {
        self.spans.iter().filter_map(Span::bounds)
    }

    /// The pages of `run` that are leaving, as the first and the one after the last.
    pub(crate) fn within(&self, run: Run) -> Option<(Offset, Offset)> {
        self.all().find_map(|bounds| meet(bounds, run))
    }

    /// Whoever waits for the last page of the range that starts at `first`.
    pub(crate) fn waiting(&self, first: Offset) -> Option<&WaitQueue> {
        self.span(first).map(|span| &span.waiting)
    }

    /// Calls whoever waits for pages of `run`.
    pub(crate) fn call(&self, run: Run) {
        let met = self.spans.iter().filter(|span| span.bounds().is_some_and(|bounds| meet(bounds, run).is_some()));
        met.for_each(|span| span.waiting.call());
    }

    /// Calls everyone.
    pub(crate) fn call_all(&self) {
        self.spans.iter().for_each(|span| span.waiting.call());
    }
}

impl Span {
    fn bounds(&self) -> Option<(Offset, Offset)> {
        // Acquire, both: pairs with `set_alone`.
        let end = self.end.load(Ordering::Acquire);
        let first = self.first.load(Ordering::Acquire).checked_sub(1)?;
        (first < end).then(|| (Offset::new(first), Offset::new(end)))
    }
}

/// What is both between two pages and in a run.
fn meet((first, end): (Offset, Offset), run: Run) -> Option<(Offset, Offset)> {
    let (first, end) = (first.max(run.start()), end.min(run.end()));
    (first < end).then_some((first, end))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::order::Order;

    #[test]
    fn several_ranges_leave_at_a_time_and_each_once() {
        let leaving = Leaving::new();
        let at = Offset::new;
        for range in 0..LEAVING as u64 {
            assert_eq!(leaving.set(at(range * 1024), at(range * 1024 + 600)), Ok(()));
        }
        assert_eq!(leaving.set(at(1024), at(1624)), Err(NotLeaving::Already));
        assert_eq!(leaving.set(at(1 << 20), at(2 << 20)), Err(NotLeaving::TooMany));
        assert_eq!(leaving.within(Run::around(0, Order::PMD)), Some((at(0), at(512))));
        assert_eq!(leaving.within(Run::around(512, Order::PMD)), Some((at(512), at(600))));
        assert_eq!(leaving.within(Run::around(700, Order::ZERO)), None);
        leaving.clear(at(0));
        assert_eq!((leaving.within(Run::around(0, Order::PMD)), leaving.all().count()), (None, LEAVING - 1));
        assert_eq!(leaving.set(at(1 << 20), at(2 << 20)), Ok(()));
        assert!(leaving.is_any() && leaving.waiting(at(1 << 20)).is_some() && leaving.waiting(at(0)).is_none());
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::sync::models::race;

    /// Two that close ranges at the same time do not take the same place for them.
    #[test]
    fn two_ranges_against_each_other() {
        fn closes<const FIRST: u64>(leaving: &Leaving) {
            let (first, end) = (Offset::new(FIRST), Offset::new(FIRST + 10));
            if leaving.set(first, end) == Ok(()) {
                assert!(leaving.all().any(|bounds| bounds == (first, end)));
            }
        }
        race(Leaving::new, closes::<0>, closes::<100>);
    }

    /// Nothing is ever leaving but what was said to be.
    #[test]
    fn look_against_a_range_that_takes_the_place_of_another() {
        fn set_up() -> Leaving {
            let leaving = Leaving::new();
            assert_eq!(leaving.set(Offset::new(0), Offset::new(200)), Ok(()));
            leaving.clear(Offset::new(0));
            leaving
        }
        fn closes(leaving: &Leaving) {
            assert_eq!(leaving.set(Offset::new(10), Offset::new(20)), Ok(()));
        }
        fn looks(leaving: &Leaving) {
            assert!(leaving.all().all(|bounds| bounds == (Offset::new(10), Offset::new(20))));
        }
        race(set_up, closes, looks);
    }
}
