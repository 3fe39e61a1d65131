//! Requirements 62 and 81: pages are charged from their first taker to their last put, whoever holds them; a charge can be handed to another
//! owner, all or nothing, and can be neither copied nor lost.

#![cfg(feature = "alloc")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{
    Charge, ChargeError, Charging, Expect, Folio, Limits, Offset, Owner, Owners, Params, Pgmap, RechargeError, Shared, Urgency,
};
use support::{at, order, range};

type Paying<'p> = Pgmap<'p, Charging<Keeps, &'p Owners<5>>>;

/// A driver whose data has 64 bits.
struct Keeps;

impl pgmap_alloc::PgmapOps for Keeps {
    type Data = usize;
}

/// 0 is the root, 1 and 2 are its children, 3 is a child of 1; 4 stands alone.
fn owners() -> Owners<5> {
    Owners::with_parents([None, Some(Owner(0)), Some(Owner(0)), Some(Owner(1)), None]).unwrap()
}

fn pgmap(owners: &Owners<5>) -> Paying<'_> {
    Pgmap::new(&Params::new(&[range(0, 1024)]), Charging::new(Keeps, owners, 0, 1024)).unwrap()
}

fn pages(owners: &Owners<5>) -> [u64; 5] {
    [0, 1, 2, 3, 4].map(|owner| owners.usage(Owner(owner)).unwrap().pages)
}

fn paid<'p>(pgmap: &'p Paying<'p>, o: u32, owner: u32) -> Folio<'p, Charging<Keeps, &'p Owners<5>>> {
    pgmap.alloc_folio_for(order(o), Owner(owner), Urgency::Normal, usize::MAX).unwrap()
}

#[test]
fn req_81_what_its_first_taker_paid_for_is_charged_until_the_last_put_whoever_holds_it() {
    let owners = owners();
    owners.set_limits(Owner(4), Limits { max: 16, ..Limits::NONE }).unwrap();
    let pgmap = pgmap(&owners);
    let first = paid(&pgmap, 4, 4);
    assert_eq!((first.data(), first.payer()), (usize::MAX, Some(Owner(4))), "all 64 bits are the driver's");
    let other = pgmap.try_get(first.offset()).unwrap();
    drop(first);
    let over = ChargeError::OverLimit { owner: 4, has: 16, max: 16 };
    let refused = pgmap.alloc_folio_for(order(4), Owner(4), Urgency::Normal, 0).unwrap_err();
    assert_eq!(refused, pgmap_alloc::AccountedError::Owner { error: over });
    assert_eq!((pages(&owners)[4], pgmap.account().used), (16, 16));
    let head = other.offset();
    drop(other);
    assert_eq!((pages(&owners)[4], pgmap.account().used, pgmap.payer(head)), (0, 0, None));
    // Whatever is written into the driver's data, the charge stays what it was.
    let folio = paid(&pgmap, 2, 4);
    folio.freeze(Expect::Refs(1)).unwrap().set_data(0);
    let copy = pgmap.alloc_folio_with(order(2), folio.data()).unwrap();
    assert_eq!((copy.payer(), pages(&owners)[4]), (None, 4));
    drop(copy);
    assert_eq!((folio.payer(), pages(&owners)[4]), (Some(Owner(4)), 4));
    // And nobody's folio at the same place later is nobody's.
    let head = folio.offset();
    drop(folio);
    assert_eq!(pgmap.request_folio_with(head, order(0), 1).unwrap().payer(), None);
    // Mapped, frozen and freed.
    let folio = paid(&pgmap, 0, 4);
    pgmap.map_raw(folio.offset()).unwrap();
    let head = folio.into_raw();
    pgmap.put_raw(head, 1).unwrap();
    pgmap.freeze_raw(head, Expect::NoPins).unwrap().free().map_err(drop).unwrap();
    assert_eq!(pages(&owners), [0; 5]);
    // Taken as a block, ended as a block.
    let block = paid(&pgmap, 3, 4).into_block().unwrap();
    assert_eq!((pages(&owners)[4], pgmap.account().used), (0, 8), "a block that is nobody's");
    drop(block);
    assert_eq!(pgmap.account().used, 0);
}

#[test]
fn req_81_a_charge_is_handed_to_another_owner_while_others_hold_the_folio() {
    let owners = owners();
    let pgmap = pgmap(&owners);
    let folio = paid(&pgmap, 3, 1);
    let other = folio.clone();
    assert_eq!(pages(&owners), [8, 8, 0, 0, 0]);
    folio.recharge(Owner(1), Owner(2)).unwrap();
    assert_eq!((pages(&owners), folio.payer()), ([8, 0, 8, 0, 0], Some(Owner(2))));
    folio.recharge(Owner(2), Owner(3)).unwrap();
    assert_eq!(pages(&owners), [8, 8, 0, 8, 0]);
    // To the parent, to oneself, out of the family.
    folio.recharge(Owner(3), Owner(1)).unwrap();
    folio.recharge(Owner(1), Owner(1)).unwrap();
    assert_eq!(pages(&owners), [8, 8, 0, 0, 0]);
    folio.recharge(Owner(1), Owner(0)).unwrap();
    folio.recharge(Owner(0), Owner(3)).unwrap();
    assert_eq!(pages(&owners), [8, 8, 0, 8, 0]);
    folio.recharge(Owner(3), Owner(4)).unwrap();
    assert_eq!(pages(&owners), [0, 0, 0, 0, 8]);
    // Its parts are the new owner's.
    drop(other);
    let mut parts = folio.split(order(1), 1).unwrap();
    parts.next().unwrap().recharge(Owner(4), Owner(2)).unwrap();
    assert_eq!(pages(&owners), [0, 0, 0, 0, 6], "that part has been dropped by its new owner");
    drop(parts);
    assert_eq!((pages(&owners), pgmap.account().used), ([0; 5], 0));
}

/// Children of one parent that is full exchange what they have: the parent has no more for it at any moment.
#[test]
fn req_81_a_parent_of_both_is_not_charged_twice() {
    let owners = owners();
    owners.set_limits(Owner(0), Limits { max: 16, ..Limits::NONE }).unwrap();
    let pgmap = pgmap(&owners);
    let folio = paid(&pgmap, 4, 3);
    folio.recharge(Owner(3), Owner(2)).unwrap();
    assert_eq!(pages(&owners), [16, 0, 16, 0, 0]);
    assert_eq!(owners.usage(Owner(0)).unwrap().high_water, 16);
    owners.set_limits(Owner(1), Limits { max: 15, ..Limits::NONE }).unwrap();
    let over = RechargeError::Owner { error: ChargeError::OverLimit { owner: 1, has: 0, max: 15 } };
    assert_eq!(folio.recharge(Owner(2), Owner(3)), Err(over));
    let unknown = RechargeError::Owner { error: ChargeError::UnknownOwner { owner: 9 } };
    assert_eq!(folio.recharge(Owner(2), Owner(9)), Err(unknown));
    assert_eq!((pages(&owners), folio.payer()), ([16, 0, 16, 0, 0], Some(Owner(2))));
}

#[test]
fn req_81_the_charge_of_many_folios_is_handed_over_whole_or_not_at_all() {
    let owners = owners();
    let pgmap = pgmap(&owners);
    let mut folios: Vec<_> = (0..8).map(|o| paid(&pgmap, o, 1)).collect();
    let heads: Vec<Offset> = folios.iter().map(Folio::offset).collect();
    let all = 255;
    let recharge = |heads: &[Offset], from, to| pgmap.recharge_raw(heads.iter().copied(), Owner(from), Owner(to));
    recharge(&heads, 1, 2).unwrap();
    assert_eq!((pages(&owners), folios.iter().all(|folio| folio.payer() == Some(Owner(2)))), ([all, 0, all, 0, 0], true));
    assert!(folios.iter().all(|folio| folio.refs() == 1));
    let check = |error, what: &str| {
        assert_eq!(pages(&owners)[..4], [all, 0, all, 0], "{error}: {what}");
        assert!(heads.iter().all(|head| pgmap.payer(*head) == Some(Owner(2))), "{error}: {what}");
        assert!(heads.iter().all(|head| pgmap.counts_raw(*head).unwrap().refs == 1), "{error}: {what}");
    };
    // One of them is another owner's, nobody's, twice in the list, no folio, or frozen; or the new owner may not have so many.
    let strange = paid(&pgmap, 0, 4);
    let nobodys = pgmap.alloc_folio_with(order(0), 0).unwrap();
    let idle = at(1023);
    for (head, error) in [
        (strange.offset(), RechargeError::NotCharged { head: strange.offset(), owner: 2 }),
        (nobodys.offset(), RechargeError::NotCharged { head: nobodys.offset(), owner: 2 }),
        (heads[3], RechargeError::NotCharged { head: heads[3], owner: 2 }),
        (idle, RechargeError::NotInService { head: idle }),
        (at(1 << 40), RechargeError::NotInService { head: at(1 << 40) }),
    ] {
        let list: Vec<_> = heads.iter().copied().chain([head]).collect();
        // What the others have is charged as it was.
        let before = pages(&owners)[4];
        assert_eq!(recharge(&list, 2, 3), Err(error));
        assert_eq!(pages(&owners)[4], before);
        check(error, "one of them cannot be had");
    }
    let frozen = folios[5].freeze(Expect::Refs(1)).unwrap();
    let error = RechargeError::NotInService { head: heads[5] };
    assert_eq!(recharge(&heads, 2, 3), Err(error));
    drop(frozen);
    check(error, "one is frozen");
    owners.set_limits(Owner(3), Limits { max: all - 1, ..Limits::NONE }).unwrap();
    let over = RechargeError::Owner { error: ChargeError::OverLimit { owner: 3, has: 0, max: all - 1 } };
    assert_eq!(recharge(&heads, 2, 3), Err(over));
    check(over, "above the limit");
    assert_eq!(owners.usage(Owner(3)).unwrap().high_water, 0, "nobody had any of it");
    owners.set_limits(Owner(3), Limits::NONE).unwrap();
    recharge(&heads, 2, 3).unwrap();
    folios.clear();
    drop((strange, nobodys));
    assert_eq!(pages(&owners), [0; 5]);
}

/// A hook of the driver's own that knows nothing of handing over: charged, then uncharged.
#[test]
fn req_81_a_hook_that_knows_only_charge_and_uncharge_will_do() {
    struct Plain(Owners<5>);
    impl Charge for Plain {
        fn try_charge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError> {
            self.0.try_charge(owner, pages)
        }
        fn uncharge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError> {
            self.0.uncharge(owner, pages)
        }
    }
    let pgmap = Pgmap::new(&Params::new(&[range(0, 64)]), Charging::new(Keeps, Plain(owners()), 0, 64)).unwrap();
    let folio = pgmap.alloc_folio_for(order(3), Owner(1), Urgency::Normal, 0).unwrap();
    let owners = &pgmap.ops().charge().0;
    folio.recharge(Owner(1), Owner(2)).unwrap();
    assert_eq!(pages(owners), [8, 0, 8, 0, 0]);
    owners.set_limits(Owner(4), Limits { max: 7, ..Limits::NONE }).unwrap();
    assert!(folio.recharge(Owner(2), Owner(4)).is_err());
    assert!(pgmap.alloc_folio_for(order(9), Owner(2), Urgency::Normal, 0).is_err());
    assert_eq!(pages(owners), [8, 0, 8, 0, 0]);
    drop(folio);
    assert_eq!(pages(owners), [0; 5]);
}

/// A pgmap whose folios are shared by files can be charged, too: the share count needs all the bits.
#[test]
fn req_62_driver_data_of_any_kind_goes_with_a_charge() {
    struct Files;
    impl pgmap_alloc::PgmapOps for Files {
        type Data = Shared;
        fn memory_type(&self) -> pgmap_alloc::MemoryType {
            pgmap_alloc::MemoryType::DeviceCoherent
        }
    }
    let owners = Owners::<1>::new();
    let pgmap = Pgmap::new(&Params::new(&[range(0, 64)]), Charging::new(Files, &owners, 0, 64)).unwrap();
    let folio = pgmap.alloc_folio_for(order(0), Owner(0), Urgency::Normal, Shared::new(u32::MAX)).unwrap();
    let _ = folio.share(order(0));
    assert_eq!((folio.data().key, folio.payer()), (u32::MAX, Some(Owner(0))));
    drop(folio);
    assert_eq!(owners.usage(Owner(0)).unwrap().pages, 0);
}

/// An owner with the highest number there is pays like any other.
#[test]
fn req_62_every_number_can_be_an_owners() {
    struct Anybody(std::sync::atomic::AtomicU64);
    impl Charge for Anybody {
        fn try_charge(&self, _: Owner, pages: u64) -> Result<(), ChargeError> {
            self.0.fetch_add(pages, std::sync::atomic::Ordering::SeqCst);
            Ok(())
        }
        fn uncharge(&self, _: Owner, pages: u64) -> Result<(), ChargeError> {
            self.0.fetch_sub(pages, std::sync::atomic::Ordering::SeqCst);
            Ok(())
        }
    }
    let pgmap = Pgmap::new(&Params::new(&[range(0, 64)]), Charging::new((), Anybody(0.into()), 0, 64)).unwrap();
    let folio = pgmap.alloc_folio_for(order(5), Owner(u32::MAX), Urgency::Normal, ()).unwrap();
    assert_eq!(folio.payer(), Some(Owner(u32::MAX)));
    let charged = || pgmap.ops().charge().0.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(charged(), 32);
    drop(folio);
    assert_eq!(charged(), 0);
}

/// Threads hand folios to and fro, split them, put them: at the end nothing is charged.
#[test]
fn req_81_threads_that_hand_over_split_and_put_leave_nothing_charged() {
    let owners = owners();
    let pgmap = pgmap(&owners);
    std::thread::scope(|threads| {
        for thread in 0..4_u32 {
            let (pgmap, owners) = (&pgmap, &owners);
            threads.spawn(move || {
                let mut random = support::Random::new(u64::from(thread));
                for _ in 0..3_000 {
                    let (from, to) = (random.below(5) as u32, random.below(5) as u32);
                    let Ok(folio) = pgmap.alloc_folio_for(order(2), Owner(from), Urgency::Normal, 0) else { continue };
                    // Another has it meanwhile, and may hand it on.
                    if let Some(other) = pgmap.try_get(at(random.below(1024))) {
                        let payer = other.payer();
                        payer.map(|payer| other.recharge(payer, Owner(to)));
                    }
                    let head = folio.offset();
                    if random.one_in(3) {
                        drop(folio.split(order(0), 1));
                    } else {
                        let _ = pgmap.recharge_raw([head], Owner(from), Owner(to));
                    }
                    assert!(owners.usage(Owner(0)).unwrap().pages <= 1024);
                }
            });
        }
    });
    assert_eq!((pages(&owners), pgmap.account().used, pgmap.validate().unwrap().idle), ([0; 5], 0, 1024));
}

#[test]
fn req_64_the_account_counts_the_parts_of_a_folio_that_was_split() {
    let owners = owners();
    let pgmap = pgmap(&owners);
    let taken = || pgmap.account().taken[..4].to_vec();
    let other = paid(&pgmap, 1, 2);
    let nobodys = pgmap.alloc_folio_with(order(2), 0).unwrap();
    let mut parts: Vec<_> = paid(&pgmap, 3, 1).split(order(2), 1).unwrap().collect();
    assert_eq!(taken(), [0, 1, 2, 0]);
    let second = parts.pop().unwrap();
    parts.extend(second.split(order(0), 1).unwrap());
    assert_eq!(taken(), [4, 1, 1, 0]);
    drop(nobodys.split(order(0), 1).unwrap());
    assert_eq!(taken(), [4, 1, 1, 0], "nobody pays for those");
    drop((parts, other));
    assert_eq!((taken(), pgmap.account().allocated[..4].to_vec()), (vec![0; 4], vec![0, 1, 0, 1]));
    assert_eq!((pages(&owners), pgmap.account().used), ([0; 5], 0));
}
