//! The books of a pool, and owners by themselves.

use pgmap_alloc::{Account, Accounted, Charge, Extent, GenPool, Limits, Offset, Order, Owner, Owners, Params, Urgency, Usage};

use crate::support::{at, order, range};
use crate::{Case, Next, World, answer, cases, next_of, said};

/// A pool with an account in the middle of its life.
pub struct Books {
    pool: &'static GenPool<'static>,
    books: Accounted<'static, &'static Owners<4>>,
    owners: &'static Owners<4>,
    runs: Vec<Offset>,
}

impl World for Books {
    fn dump(&self) -> Vec<String> {
        let account = Account { refusals: Default::default(), ..self.books.account() };
        let usage = |owner| Usage { refused: 0, ..self.owners.usage(Owner(owner)).unwrap() };
        let mut lines = vec![format!("{account:?}"), format!("idle {} {:?}", self.pool.avail(), self.pool.idle_runs())];
        lines.extend(
            [0, 1, 2, 3].map(|owner| format!("owner {owner}: {:?} {:?}", usage(owner), self.owners.protection(Owner(owner)))),
        );
        lines.extend(self.pool.gaps_in(Extent::ALL).map(|gap| format!("gap {gap:?}")));
        lines
    }

    fn next(&mut self) -> Next {
        let plainly = |(o, owner): &(u32, u32)| {
            let taken = self.books.alloc(order(*o), Owner(*owner), Urgency::Normal);
            answer(taken, |_| format!("order {o}"), |at| format!("{at}"))
        };
        let mut answers: Vec<_> = [(0, 0), (4, 1), (9, 1), (2, 2), (0, 3), (12, 0)].iter().map(plainly).collect();
        // Whose limit is near, and what is left for the critical.
        let more = |owner: u32| self.owners.try_charge(Owner(owner), 4);
        answers.push((format!("{:?} {:?}", more(3), more(3)), String::new()));
        next_of(&answers)
    }
}

/// Owner 0 is the parent of 1 and 2 and has so much that all three have stocks; 3 is poor.
fn lived_in() -> Books {
    let pool: &'static GenPool<'static> = Box::leak(Box::new(GenPool::new(&Params::new(&[range(0, 1 << 18)])).unwrap()));
    let owners = Owners::with_parents([None, Some(Owner(0)), Some(Owner(0)), None]).unwrap();
    let owners: &'static Owners<4> = Box::leak(Box::new(owners));
    owners.set_limits(Owner(0), Limits { min: 10, low: 20, max: 100_000 }).unwrap();
    owners.set_limits(Owner(3), Limits { max: 24, ..Limits::NONE }).unwrap();
    let books = Accounted::new(pool, owners, (), 1 << 15);
    let taken = [(4, 1), (14, 1), (14, 1), (13, 2), (4, 2), (4, 1), (4, 3)];
    let runs: Vec<_> = taken.iter().map(|(o, owner)| books.alloc(order(*o), Owner(*owner), Urgency::Normal).unwrap()).collect();
    books.free(runs[4], order(4), Owner(2)).unwrap();
    Books { pool, books, owners, runs }
}

/// Nothing is left in one piece: all pages are taken from the bare pool, or every other is.
fn scattered() -> Books {
    let world = lived_in();
    let gaps: Vec<_> = world.pool.gaps_in(Extent::ALL).collect();
    for run in gaps.iter().flat_map(|gap| gap.runs(Order::MAX)) {
        world.pool.alloc_at(run.start(), run.order()).unwrap();
    }
    let last = gaps.last().unwrap().end().get();
    (last - 8192..last).step_by(2).for_each(|page| world.pool.free(at(page), order(0)).unwrap());
    world
}

/// Normal users have all but the reserve.
fn low() -> Books {
    let world = lived_in();
    world.owners.set_limits(Owner(0), Limits::NONE).unwrap();
    for o in (0..17).rev() {
        while world.books.alloc(order(o), Owner(0), Urgency::Normal).is_ok() {}
    }
    world
}

fn ask(w: &Books, o: u32, owner: u32, urgency: Urgency) -> String {
    said(w.books.alloc(order(o), Owner(owner), urgency))
}

fn ask_run(w: &Books, o: u32, owner: u32, urgency: Urgency) -> String {
    said(w.books.alloc_run(order(o), Owner(owner), urgency).map(drop))
}

pub fn cases() -> Vec<Case<Books>> {
    let mut list = vec![];
    let list_mut = &mut list;
    cases! { list_mut, lived_in;
        "Accounted::alloc" "Owner" |w| ask(w, 17, 1, Urgency::Normal);
        "Accounted::alloc" "Owner" |w| ask(w, 4, 3, Urgency::Critical);
        "Accounted::alloc" "Owner" |w| ask(w, 0, 9, Urgency::Normal);
        "Accounted::alloc_run" "Owner" |w| ask_run(w, 16, 2, Urgency::Normal);
        "Accounted::free" "Owner" |w| said(w.books.free(w.runs[1], order(14), Owner(3)));
        "Accounted::free" "Refused" |w| said(w.books.free(at((1 << 18) - 16), order(4), Owner(1)));
        "Accounted::free" "Refused" |w| said(w.books.free(w.runs[4], order(4), Owner(2)));
        "Accounted::free" "Refused" |w| said(w.books.free(at(1), order(4), Owner(1)));
        "Accounted::free" "Refused" |w| said(w.books.free(at(1 << 40), order(4), Owner(1)));
        "Owners::set_limits" "UnknownOwner" |w| said(w.owners.set_limits(Owner(9), Limits::NONE));
        "Owners::set_limits" "LimitsCross" |w| said(w.owners.set_limits(Owner(1), Limits { min: 3, low: 2, max: 9 }));
        "Owners::try_charge" "UnknownOwner" |w| said(w.owners.try_charge(Owner(9), 1));
        "Owners::try_charge" "OverLimit" |w| said(w.owners.try_charge(Owner(1), 100_000));
        "Owners::try_charge" "OverLimit" |w| said(w.owners.try_charge(Owner(3), 9));
        "Owners::try_charge" "OverLimit" |w| said(w.owners.try_charge(Owner(3), u64::MAX));
        "Owners::uncharge" "UnknownOwner" |w| said(w.owners.uncharge(Owner(9), 1));
        "Owners::uncharge" "NotCharged" |w| said(w.owners.uncharge(Owner(3), 17));
        "Owners::uncharge" "NotCharged" |w| said(w.owners.uncharge(Owner(2), 9000));
    }
    cases! { list_mut, scattered;
        "Accounted::alloc" "Fragmented" |w| ask(w, 3, 1, Urgency::Normal);
        "Accounted::alloc" "Fragmented" |w| ask(w, 9, 0, Urgency::Critical);
        "Accounted::alloc_run" "Fragmented" |w| ask_run(w, 12, 1, Urgency::Critical);
    }
    cases! { list_mut, low;
           "Accounted::alloc" "Watermark" |w| ask(w, 0, 1, Urgency::Normal);
           "Accounted::alloc" "Watermark" |w| ask(w, 9, 1, Urgency::Normal);
    "Accounted::alloc" "Pool" |w| ask(w, 30, 1, Urgency::Normal);
           "Accounted::alloc_run" "Pool" |w| ask_run(w, 30, 1, Urgency::Critical);
           "Accounted::alloc_run" "Watermark" |w| ask_run(w, 0, 2, Urgency::Normal);
       }
    list
}
