//! Gates, waits to freeze, and ranges that grow.

use std::time::Duration;

use pgmap_alloc::{Expect, Phys, PhysRange};

use crate::map::{Map, closed, dying, frozen, lived_in, private};
use crate::support::{at, range};
use crate::{Case, cases, said, said_and};

/// As many gates as there is room for stay closed.
fn no_gate() -> Map {
    let world = lived_in();
    while let Ok(gate) = world.pgmap.gate(at(64)) {
        std::mem::forget(gate);
    }
    world
}

/// The folio at 16 is closed to finders.
fn gated() -> Map {
    let world = lived_in();
    std::mem::forget(world.pgmap.gate(at(16)).unwrap());
    world
}

pub(crate) fn cases() -> Vec<Case<Map>> {
    let mut list = vec![];
    finders(&mut list);
    freezing(&mut list);
    growing(&mut list);
    list
}

fn finders(list: &mut Vec<Case<Map>>) {
    cases! { list, lived_in;
        "Pgmap::gate" "OutOfRange" |w| said(w.pgmap.gate(at(1 << 40)));
    }
    cases! { list, no_gate;
        "Pgmap::gate" "NoSlot" |w| said(w.pgmap.gate(at(64)));
        "Folio::gate" "NoSlot" |w| said(w.folios[4].gate());
    }
    cases! { list, gated;
        "Pgmap::pin" "Closed" |w| said(w.pgmap.pin(at(16)));
    }
    cases! { list, closed;
        "Pgmap::pin" "Leaving" |w| said(w.pgmap.pin(at(16)));
    }
    cases! { list, dying;
        "Pgmap::pin" "Dying" |w| said(w.pgmap.pin(at(16)));
    }
    cases! { list, frozen;
        "Pgmap::pin" "Frozen" |w| said(w.pgmap.pin(at(16)));
        "Pgmap::put_and_wait" "Frozen" |w| {
            let (folio, folios) = (w.folios.remove(2), &mut w.folios);
            said_and(w.pgmap.put_and_wait(folio), |folio| folios.insert(2, folio))
        };
    }
}

fn freezing(list: &mut Vec<Case<Map>>) {
    cases! { list, private;
        "Pgmap::until_frozen" "OutOfRange" |w| said(w.pgmap.until_frozen(at(1 << 40), Expect::Refs(1)).map(drop));
        "Pgmap::wait_frozen" "OutOfRange" |w| said(w.pgmap.wait_frozen(at(1 << 40), Expect::Refs(1)));
        "Pgmap::wait_frozen" "NotInService" |w| said(w.pgmap.wait_frozen(at(128), Expect::Refs(1)));
        "Pgmap::wait_frozen" "StrayReferences" |w| said(w.pgmap.wait_frozen(at(16), Expect::Refs(2)));
        "Folio::wait_frozen" "StrayReferences" |w| said(w.folios[2].wait_frozen(Expect::Refs(2)));
        "Pgmap::wait_frozen_unless" "OutOfRange" |w| said(w.pgmap.wait_frozen_unless(at(1 << 40), Expect::Refs(1), || true));
        "Pgmap::wait_frozen_unless" "NotInService" |w| said(w.pgmap.wait_frozen_unless(at(128), Expect::Refs(1), || true));
        "Pgmap::wait_frozen_unless" "StrayReferences" |w| said(w.pgmap.wait_frozen_unless(at(16), Expect::Refs(2), || true));
        "Pgmap::wait_frozen_unless" "Interrupted" |w| said(w.pgmap.wait_frozen_unless(at(0), Expect::Refs(1), || true));
        "Pgmap::wait_frozen_timeout" "OutOfRange" |w| said(w.pgmap.wait_frozen_timeout(at(1 << 40), Expect::Refs(1), Duration::ZERO));
        "Pgmap::wait_frozen_timeout" "NotInService" |w| said(w.pgmap.wait_frozen_timeout(at(128), Expect::Refs(1), Duration::ZERO));
        "Pgmap::wait_frozen_timeout" "StrayReferences" |w| said(w.pgmap.wait_frozen_timeout(at(16), Expect::Refs(2), Duration::ZERO));
        "Pgmap::wait_frozen_timeout" "TimedOut" |w| said(w.pgmap.wait_frozen_timeout(at(0), Expect::Refs(1), Duration::ZERO));
    }
    cases! { list, lived_in;
        "Pgmap::until_frozen" "NotAllowed" |w| said(w.pgmap.until_frozen(at(0), Expect::NoPins).map(drop));
        "Folio::until_frozen" "NotAllowed" |w| said(w.folios[0].until_frozen(Expect::NoPins).map(drop));
        "Pgmap::wait_frozen" "NotAllowed" |w| said(w.pgmap.wait_frozen(at(0), Expect::NoPins));
        "Folio::wait_frozen" "NotAllowed" |w| said(w.folios[0].wait_frozen(Expect::NoPins));
        "Pgmap::wait_frozen_unless" "NotAllowed" |w| said(w.pgmap.wait_frozen_unless(at(0), Expect::NoPins, || true));
        "Pgmap::wait_frozen_timeout" "NotAllowed" |w| said(w.pgmap.wait_frozen_timeout(at(0), Expect::NoPins, Duration::ZERO));
    }
}

fn growing(list: &mut Vec<Case<Map>>) {
    cases! { list, lived_in;
        "Pgmap::grow_range" "Empty" |w| said(w.pgmap.grow_range(at(0), range(2048, 0)));
        "Pgmap::grow_range" "Misaligned" |w| said(w.pgmap.grow_range(at(0), PhysRange { start: Phys(7), pages: 1 }));
        "Pgmap::grow_range" "TooLarge" |w| said(w.pgmap.grow_range(at(0), range(2048, u64::MAX / 2)));
        "Pgmap::grow_range" "Unknown" |w| said(w.pgmap.grow_range(at(1), range(2048, 1)));
        "Pgmap::grow_range" "NotAdjacent" |w| said(w.pgmap.grow_range(at(0), range(4096, 1)));
        "Pgmap::grow_range" "NoRoom" |w| said(w.pgmap.grow_range(at(0), range(2048, 1 << 14)));
    }
    cases! { list, closed;
        "Pgmap::grow_range" "Leaving" |w| said(w.pgmap.grow_range(at(0), range(2048, 1)));
    }
}
