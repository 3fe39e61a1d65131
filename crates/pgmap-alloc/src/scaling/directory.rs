//! Which CPU has which line: the rules of a coherent cache, with caches that never run out of room.

extern crate std;

use std::collections::HashMap;

use crate::sync::recorded::{Access, Kind};

/// Who has a copy of each line, one bit per CPU. A line with one holder can be written by it at once.
#[derive(Default)]
pub(super) struct Directory {
    holders: HashMap<usize, u128>,
    /// What has been seen since [`Directory::forget`].
    pub(super) seen: Seen,
}

/// Events that grow with the number of CPUs where something does not scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// Locked instructions and full fences.
    pub(super) locked: u64,
    /// Times that a line came from another CPU, or was taken away from others in order to be written.
    pub(super) transfers: u64,
}

impl Directory {
    /// `cpu` does all of this.
    pub(super) fn apply(&mut self, cpu: usize, accesses: &[Access]) {
        for access in accesses {
            self.seen.locked += u64::from(matches!(access.kind, Kind::Locked | Kind::Fence));
            if access.kind != Kind::Fence {
                self.touch(1 << cpu, access);
            }
        }
    }

    fn touch(&mut self, me: u128, access: &Access) {
        let holders = self.holders.entry(access.line).or_default();
        let others = *holders & !me;
        if access.kind == Kind::Read {
            // Whoever has it already reads for nothing. The first of all gets it from memory: no transfer.
            self.seen.transfers += u64::from(*holders & me == 0 && others != 0);
            *holders |= me;
        } else {
            self.seen.transfers += u64::from(others != 0);
            *holders = me;
        }
    }

    /// Starts to count anew, with the lines where they are.
    pub(super) fn forget(&mut self) {
        self.seen = Seen::default();
    }
}

#[test]
fn a_line_travels_only_when_another_has_it() {
    let mut directory = Directory::default();
    let mut transfers = |cpu, kind| {
        let before = directory.seen.transfers;
        directory.apply(cpu, &[Access { line: 7, kind }]);
        directory.seen.transfers - before
    };
    assert_eq!([transfers(0, Kind::Write), transfers(0, Kind::Read), transfers(0, Kind::Locked)], [0, 0, 0]);
    assert_eq!([transfers(1, Kind::Read), transfers(1, Kind::Read), transfers(0, Kind::Read)], [1, 0, 0]);
    assert_eq!([transfers(0, Kind::Write), transfers(1, Kind::Write), transfers(1, Kind::Write)], [1, 1, 0]);
    assert_eq!(directory.seen.locked, 1);
}
