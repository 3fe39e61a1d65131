//! Who pays for a folio: its charge against its end, its split and another who hands it over.

use pgmap_alloc::{Charging, Folio, Offset, Owner, Owners, Params, Pgmap, RechargeError, Urgency};

use super::{at, order, race, range};

type Paying = Pgmap<'static, Charging<(), Owners<3>>, 1>;

/// A folio of two pages that owner 0 pays for, with one reference.
fn paid() -> Paying {
    let pgmap = Paying::boxed(&Params::new(&[range(0, 2)]), Charging::new((), Owners::new(), 0, 2)).unwrap();
    pgmap.alloc_folio_for(order(1), Owner(0), Urgency::Normal, ()).unwrap().into_raw();
    pgmap
}

fn pages(pgmap: &Paying) -> [u64; 3] {
    [0, 1, 2].map(|owner| pgmap.ops().charge().usage(Owner(owner)).unwrap().pages)
}

/// What owners are charged is what stands beside the folios, and nothing is charged when those have ended.
fn check(pgmap: &Paying, heads: &[Offset]) {
    let mut beside = [0; 3];
    for &head in heads {
        let folio = Folio::from_raw(pgmap, head).unwrap();
        beside[folio.payer().unwrap().0 as usize] += folio.order().pages();
        drop(folio);
    }
    assert_eq!(pages(pgmap), [0; 3], "beside the folios stood {beside:?}");
    assert_eq!((pgmap.account().used, beside.iter().sum::<u64>()), (0, 2));
}

/// With a reference of its own: the split finds one too many, or comes first and the first part alone is handed over.
#[test]
fn charge_handed_over_against_a_split() {
    race(
        paid,
        |pgmap| pgmap.recharge_raw([at(0)], Owner(0), Owner(1)),
        |pgmap| pgmap.split_raw(at(0), order(0), 1),
        |pgmap, handed, split| {
            let now = pages(pgmap);
            match (handed, split.is_ok()) {
                (Ok(()), false) => assert_eq!(now, [0, 2, 0]),
                // Before the split the parts are the new owner's, too.
                (Ok(()), true) => assert!(now == [1, 1, 0] || now == [0, 2, 0], "{now:?}"),
                (Err(_), _) => assert_eq!(now, [2, 0, 0]),
            }
            check(pgmap, &[at(0), at(1)][..1 + usize::from(split.is_ok())]);
        },
    );
}

/// By a reference that the other counts as its own, which is a mistake: no charge is lost or paid twice all the same.
#[test]
fn charge_handed_over_by_a_reference_of_another_against_a_split() {
    race(
        paid,
        |pgmap| {
            let folio = Folio::from_raw(pgmap, at(0)).unwrap();
            let handed = folio.recharge(Owner(0), Owner(1));
            folio.into_raw();
            handed
        },
        |pgmap| pgmap.split_raw(at(0), order(0), 1).unwrap(),
        |pgmap, handed, ()| {
            let now = pages(pgmap);
            match handed {
                Ok(()) => assert!(now == [1, 1, 0] || now == [0, 2, 0], "{now:?}"),
                Err(RechargeError::NotCharged { .. } | RechargeError::Changed) => assert!(now.iter().sum::<u64>() == 2, "{now:?}"),
                Err(error) => panic!("{error}"),
            }
            check(pgmap, &[at(0), at(1)]);
        },
    );
}

#[test]
fn charge_handed_over_by_two() {
    race(
        paid,
        |pgmap| pgmap.recharge_raw([at(0)], Owner(0), Owner(1)),
        |pgmap| pgmap.recharge_raw([at(0)], Owner(0), Owner(2)),
        |pgmap, one, other| {
            assert!(one.is_ok() != other.is_ok(), "it is there once: {one:?} {other:?}");
            assert_eq!(pages(pgmap), if one.is_ok() { [0, 2, 0] } else { [0, 0, 2] });
            check(pgmap, &[at(0)]);
        },
    );
}

#[test]
fn charge_handed_over_against_the_last_put() {
    race(
        paid,
        |pgmap| pgmap.recharge_raw([at(0)], Owner(0), Owner(1)),
        |pgmap| pgmap.put_raw(at(0), 1).unwrap(),
        |pgmap, handed, _| {
            assert!(matches!(handed, Ok(()) | Err(RechargeError::NotInService { .. })), "{handed:?}");
            assert_eq!((pages(pgmap), pgmap.account().used), ([0; 3], 0));
            // The next folio there is nobody's.
            let next = pgmap.request_folio(at(0), order(0)).unwrap();
            assert_eq!(next.payer(), None);
            drop(next);
        },
    );
}
