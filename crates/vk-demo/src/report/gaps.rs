//! Idle memory: how much there is, and how much of it is of use for something large.

use std::ops::Range;

/// What the gaps of a memory add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gaps {
    /// All of them.
    pub(crate) idle: u64,
    /// Whole and aligned units in them.
    usable: u64,
    /// The largest of them.
    pub(crate) largest: u64,
}

impl Gaps {
    /// Adds gaps up, in units of this length.
    pub(crate) fn of(gaps: impl Iterator<Item = Range<u64>>, unit: u64) -> Gaps {
        gaps.fold(Gaps::default(), |sum, gap| {
            let length = gap.end - gap.start;
            let usable = (gap.end / unit * unit).saturating_sub(gap.start.next_multiple_of(unit));
            Gaps { idle: sum.idle + length, usable: sum.usable + usable, largest: sum.largest.max(length) }
        })
    }

    /// Those between these spans of a memory of this length, which is made of blocks: no gap reaches from one into the next.
    pub(crate) fn between(mut spans: Vec<Range<u64>>, length: u64, block: u64, unit: u64) -> Gaps {
        spans.extend((1..=length / block.max(1)).map(|border| border * block..border * block));
        spans.push(length..length);
        spans.sort_unstable_by_key(|span| span.start);
        let mut end = 0;
        let gaps = spans.into_iter().map(|span| {
            let gap = end..span.start.max(end);
            end = span.end.max(end);
            gap
        });
        Gaps::of(gaps, unit)
    }

    /// Share of the idle memory that is not in its longest gap: 0 is best.
    pub(crate) fn scattered_percent(self) -> f64 {
        if self.idle == 0 { 0.0 } else { 100.0 * (self.idle - self.largest) as f64 / self.idle as f64 }
    }

    /// Share of the idle memory that no unit could use: 0 is best.
    pub(crate) fn fragmentation_percent(self) -> f64 {
        if self.idle == 0 { 0.0 } else { 100.0 * (self.idle - self.usable) as f64 / self.idle as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_lies_between() {
        let gaps = Gaps::between(vec![30..40, 5..10], 100, 100, 10);
        assert_eq!(gaps, Gaps { idle: 85, usable: 20 + 60, largest: 60 });
        assert_eq!(gaps.fragmentation_percent(), 500.0 / 85.0);
        assert_eq!(gaps.scattered_percent(), 2500.0 / 85.0);
        assert_eq!(Gaps::between(vec![], 100, 100, 10), Gaps { idle: 100, usable: 100, largest: 100 });
        assert_eq!(Gaps::between(vec![0..100, 20..30], 100, 100, 10).fragmentation_percent(), 0.0);
        let blocks = Gaps::between(vec![10..20, 20..20], 100, 50, 10);
        assert_eq!(blocks, Gaps { idle: 90, usable: 90, largest: 50 }, "no gap reaches into the next block");
    }
}
