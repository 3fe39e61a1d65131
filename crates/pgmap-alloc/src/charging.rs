//! A pgmap with an account: folios and blocks that an owner pays for.
//!
//! A driver around the driver ([`Charging`]). The owner that pays for a folio stands in a cell of its own beside the driver's data,
//! which only this file and the folio's end write. So the last put need not know it, on whatever path that is; parts of a split are paid
//! for by the same owner; and what was charged can be neither copied nor lost. It can be handed to another owner ([`Pgmap::recharge_raw`]).
//!
//! Folios and blocks that are taken by the ordinary verbs are nobody's. They are in the account all the same, as is everything that is
//! not idle, retired, special and closing pages too: the watermark reserves what can be had.

use core::fmt;

use crate::block::Block;
use crate::charge::{Charge, Charged, Owner};
use crate::error::{AccountedError, RechargeError, Refused, RequestError};
use crate::folio::Folio;
use crate::ledger::{Account, Ask, Ledger, Urgency};
use crate::local::Local;
use crate::memory_type::MemoryType;
use crate::offset::Offset;
use crate::ops::{AfterFree, Entry, Failure, Freed, PgmapOps};
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::report::{RunState, SnapshotRun};
use crate::trace::Event;

/// A driver around a driver: its pgmap keeps books, and can charge folios and blocks to owners.
///
/// A folio is charged while it is in service, whoever holds it and puts it last. Its owner is uncharged when `folio_free` has returned,
/// whatever becomes of the pages: those that the driver keeps ([`AfterFree::Keep`]) are a block that no owner pays for. Parts of a
/// split stay charged to the same owner.
///
/// Only the verbs that name an owner (`..._for`) are charged and held to the limit and the watermark. The ordinary verbs take pages that
/// no owner pays for, the reserve of the watermark included; those pages count as used, so the watermark sees them.
///
/// ```
/// # #[cfg(feature = "alloc")] {
/// use pgmap_alloc::{Charging, Limits, Order, Owner, Owners, Params, Pgmap, Phys, PhysRange, Urgency};
///
/// let owners = Owners::<2>::new();
/// owners.set_limits(Owner(1), Limits { max: 512, ..Limits::NONE })?; // pages
/// let vram = [PhysRange { start: Phys(0), pages: 2048 }];
/// // The last 512 idle pages are for critical allocations.
/// let pgmap = Pgmap::new(&Params::new(&vram), Charging::new((), &owners, 512, 2048)).expect("one sound range");
///
/// let folio = pgmap.alloc_folio_for(Order::PMD, Owner(0), Urgency::Normal, ()).expect("below limit and watermark");
/// folio.recharge(Owner(0), Owner(1)).expect("owner 1 has room for it");
/// assert!(pgmap.alloc_folio_for(Order::ZERO, Owner(1), Urgency::Normal, ()).is_err()); // at its limit
/// drop(folio);
/// assert_eq!(owners.usage(Owner(1))?.pages, 0);
/// # }
/// # Ok::<(), pgmap_alloc::ChargeError>(())
/// ```
pub struct Charging<O, C: Charge> {
    ops: O,
    ledger: Ledger<C>,
}

impl<O: PgmapOps, C: Charge> Charging<O, C> {
    /// `ops` is the driver, `charge` the owners' accounts. The last `watermark` idle pages are for [`Urgency::Critical`]; 0 reserves
    /// nothing. `pages` is about how many pages the pgmap will have; it tunes how many are counted at a time.
    pub fn new(ops: O, charge: C, watermark: u64, pages: u64) -> Charging<O, C> {
        Charging { ops, ledger: Ledger::new(charge, watermark, pages) }
    }

    /// The driver.
    pub fn ops(&self) -> &O {
        &self.ops
    }

    /// Who pays.
    pub fn charge(&self) -> &C {
        self.ledger.charge()
    }

    fn uncharge(&self, order: Order, owner: Owner) {
        // He has paid: what is written beside a folio, or in a block, was charged once and is taken away once.
        let _ = self.ledger.uncharge(order, owner);
    }
}

impl<O: PgmapOps, C: Charge> PgmapOps for Charging<O, C> {
    type Data = O::Data;

    const HEARS_FREES: bool = O::HEARS_FREES;

    const KEEPS_BOOKS: bool = true;

    #[inline]
    fn enter(&self, entry: Entry) {
        match entry {
            Entry::Taken(pages) => self.ledger.count_in(pages),
            Entry::Back(pages) => self.ledger.count_out(pages),
            Entry::Ended(owner, order) => self.uncharge(order, owner),
            Entry::Split(whole, part) => self.ledger.count_split(whole, part),
        }
    }

    fn folio_free(&self, folio: Freed<Self::Data>) -> AfterFree {
        self.ops.folio_free(folio)
    }

    fn folio_split(&self, whole: Freed<Self::Data>, part: Option<Offset>) -> Self::Data {
        self.ops.folio_split(whole, part)
    }

    fn memory_failure(&self, failure: Failure<Self::Data>) {
        self.ops.memory_failure(failure);
    }

    #[inline]
    fn trace(&self, event: Event) {
        self.ops.trace(event);
    }

    fn memory_type(&self) -> MemoryType {
        self.ops.memory_type()
    }

    fn quiesce(&self) {
        self.ops.quiesce();
    }

    fn teardown(&self) {
        self.ops.teardown();
    }
}

/// Folios and blocks that are paid for. A refusal is true, leaves no trace but its count, and says whose it is.
impl<O: PgmapOps, C: Charge, const WORDS: usize> Pgmap<'_, Charging<O, C>, WORDS> {
    fn ledger(&self) -> &Ledger<C> {
        &self.ops().ledger
    }

    fn take_for<T>(
        &self,
        order: Order,
        owner: Owner,
        urgency: Urgency,
        take: impl FnMut() -> Result<T, AccountedError>,
    ) -> Result<T, AccountedError> {
        let ask = Ask { pool: &self.pool, order, owner, urgency };
        self.ledger().take(&ask, take).inspect_err(|error| {
            // What the pgmap refuses it has told itself.
            if let AccountedError::Owner { .. } | AccountedError::Watermark { .. } = error {
                self.ops().trace(Event::Refused { order });
            }
        })
    }

    /// [`Pgmap::alloc_folio_with`] for an owner.
    pub fn alloc_folio_for(
        &self,
        order: Order,
        owner: Owner,
        urgency: Urgency,
        data: O::Data,
    ) -> Result<Folio<'_, Charging<O, C>, WORDS>, AccountedError> {
        let take = || self.alloc_paid_by(Some(owner), order, data).map_err(|error| AccountedError::Pool { error });
        self.take_for(order, owner, urgency, take).map(|head| Folio::adopt(self, head))
    }

    /// [`Pgmap::request_folio_with`] for an owner.
    pub fn request_folio_for(
        &self,
        offset: Offset,
        order: Order,
        owner: Owner,
        urgency: Urgency,
        data: O::Data,
    ) -> Result<Folio<'_, Charging<O, C>, WORDS>, AccountedError> {
        let take = || self.request_paid_by(Some(owner), offset, order, data).map_err(|error| AccountedError::Request { error });
        self.take_for(order, owner, urgency, take)?;
        Ok(Folio::adopt(self, offset))
    }

    /// [`Pgmap::alloc_block`] for an owner.
    pub fn alloc_block_for(
        &self,
        order: Order,
        owner: Owner,
        urgency: Urgency,
    ) -> Result<OwnedBlock<'_, O, C, WORDS>, AccountedError> {
        let take = || self.block_paid_by(Some(owner), order).map_err(|error| AccountedError::Pool { error });
        let block = self.take_for(order, owner, urgency, take)?;
        Ok(OwnedBlock { block, bill: Bill { ops: self.ops(), order, owner } })
    }

    /// The account, in pages. O(1), as [`Accounted::account`](crate::Accounted::account).
    pub fn account(&self) -> Account {
        self.ledger().account(&self.pool)
    }

    /// The owner that pays for the folio in service that starts at `head`; `None` if none does, or there is no such folio. For a
    /// block ask the [`OwnedBlock`]. O(1), wait-free.
    pub fn payer(&self, head: Offset) -> Option<Owner> {
        self.folios.charge(head).get::<Charged>().parts().map(|(owner, _)| owner)
    }

    /// [`Pgmap::snapshot`], with the owner that pays for each folio.
    pub fn snapshot_with_payers(&self) -> impl Iterator<Item = (SnapshotRun, Option<Owner>)> {
        self.snapshot().map(|run| {
            let is_folio = matches!(run.state, RunState::Folio { .. });
            (run, if is_folio { self.payer(run.start) } else { None })
        })
    }

    /// Hands the charge of the folios in service at `heads` from one owner to another: of all of them, or of none.
    ///
    /// Holders of the folios notice nothing; each last put uncharges `to` from now on. Common parents of the two owners are not
    /// charged again. The call holds a reference to each folio meanwhile, so it may be the one whose put is the last.
    ///
    /// [`RechargeError::NotInService`] also for a frozen folio; [`RechargeError::NotCharged`] if `from` does not pay for one, or one is
    /// named twice; [`RechargeError::Owner`] if `to` was refused, as over its limit; [`RechargeError::Changed`] if one was split at the
    /// same moment: try again. The watermark is not asked: no page changes hands. O(number of folios); lock-free; any context.
    pub fn recharge_raw(
        &self,
        heads: impl IntoIterator<Item = Offset> + Clone,
        from: Owner,
        to: Owner,
    ) -> Result<(), RechargeError> {
        let mut held = 0;
        let holding = heads.clone().into_iter().try_for_each(|head| {
            self.get_raw(head).map_err(|_| RechargeError::NotInService { head })?;
            held += 1;
            Ok(())
        });
        let done = holding.and_then(|()| self.recharge_held(&heads, from, to));
        for head in heads.into_iter().take(held) {
            // Ours, so it is there to be put.
            let _ = self.put_refs(head, 1);
        }
        done
    }

    /// [`Pgmap::recharge_raw`] of folios that cannot end meanwhile.
    fn recharge_held(
        &self,
        heads: &(impl IntoIterator<Item = Offset> + Clone),
        from: Owner,
        to: Owner,
    ) -> Result<(), RechargeError> {
        let heads = || heads.clone().into_iter();
        let charge = self.ledger().charge();
        let mut pages = 0_u64;
        for head in heads() {
            let (_, order) = self.paid_from(head, from)?;
            pages = pages.saturating_add(order.pages());
        }
        charge.try_charge_in_place_of(from, to, pages).map_err(|error| RechargeError::Owner { error })?;
        // Both are charged now. Each cell says who pays and for how much, so it changes hands whole or not at all.
        let (mut done, mut moved) = (0, 0_u64);
        let result = heads().try_for_each(|head| {
            let (charged, order) = self.paid_from(head, from)?;
            if !self.folios.charge(head).replace(charged, Charged::to(to, order)) {
                return Err(RechargeError::NotCharged { head, owner: from.0 });
            }
            done += 1;
            moved = moved.saturating_add(order.pages());
            Ok(())
        });
        // Less than was charged: one of them has been split meanwhile.
        let result = if result.is_ok() && moved != pages { Err(RechargeError::Changed) } else { result };
        if result.is_err() {
            // Where somebody has split a folio meanwhile, the new owner stands in the parts, and pays for those.
            let back = |now: Charged| match now.parts() {
                Some((owner, order)) if owner == to => Ok(Charged::to(from, order)),
                _ => Err(()),
            };
            let returned = heads().take(done).filter_map(|head| self.folios.charge(head).update(back).ok()?.parts());
            moved = moved.saturating_sub(returned.map(|(_, order)| order.pages()).sum());
        }
        charge.cancel(to, Some(from), pages.saturating_sub(moved));
        let _ = charge.uncharge_in_favour_of(to, from, moved);
        result
    }

    /// What stands beside the folio at `head`, which `from` is to pay for.
    fn paid_from(&self, head: Offset, from: Owner) -> Result<(Charged, Order), RechargeError> {
        let charged: Charged = self.folios.charge(head).get();
        match charged.parts() {
            Some((owner, order)) if owner == from => Ok((charged, order)),
            _ => Err(RechargeError::NotCharged { head, owner: from.0 }),
        }
    }
}

impl<O: PgmapOps, C: Charge, const WORDS: usize> Folio<'_, Charging<O, C>, WORDS> {
    /// The owner that pays for it, if any ([`Pgmap::payer`]).
    pub fn payer(&self) -> Option<Owner> {
        self.pgmap().payer(self.offset())
    }

    /// Hands its charge to another owner, whatever other references there are. Errors and cost as for [`Pgmap::recharge_raw`]; O(1). A
    /// frozen folio is not refused here.
    pub fn recharge(&self, from: Owner, to: Owner) -> Result<(), RechargeError> {
        self.pgmap().recharge_held(&[self.offset()], from, to)
    }
}

impl<'p, O: PgmapOps, C: Charge, const WORDS: usize> Local<'p, Charging<O, C>, WORDS> {
    /// [`Local::alloc_folio_with`] for an owner.
    pub fn alloc_folio_for(
        &mut self,
        order: Order,
        owner: Owner,
        urgency: Urgency,
        data: O::Data,
    ) -> Result<Folio<'p, Charging<O, C>, WORDS>, AccountedError> {
        let pgmap = self.pgmap();
        let take = || self.alloc_paid_by(Some(owner), order, data).map_err(|error| AccountedError::Pool { error });
        pgmap.take_for(order, owner, urgency, take)
    }
}

/// A block and the owner that pays for it. Drop gives it back, and then the owner is uncharged.
pub struct OwnedBlock<'p, O: PgmapOps, C: Charge, const WORDS: usize = 8> {
    block: Block<'p, Charging<O, C>, WORDS>,
    // Dropped after the block.
    bill: Bill<'p, O, C>,
}

impl<'p, O: PgmapOps, C: Charge, const WORDS: usize> OwnedBlock<'p, O, C, WORDS> {
    /// Its pages.
    pub fn block(&self) -> &Block<'p, Charging<O, C>, WORDS> {
        &self.block
    }

    /// The owner that pays.
    pub fn owner(&self) -> Owner {
        self.bill.owner
    }

    /// Gives it back, all zero ([`Block::release_cleared`]).
    pub fn release_cleared(self) {
        let OwnedBlock { block, bill: _bill } = self;
        block.release_cleared();
    }

    /// Puts its pages into service as one folio that the same owner pays for ([`Block::into_folio`]).
    pub fn into_folio(self, data: O::Data) -> Result<Folio<'p, Charging<O, C>, WORDS>, Refused<RequestError, Self>> {
        let OwnedBlock { block, bill } = self;
        match block.into_folio_paid_by(Some(bill.owner), data) {
            Ok(folio) => {
                core::mem::forget(bill);
                Ok(folio)
            }
            Err(Refused { error, value: block }) => Err(Refused { error, value: OwnedBlock { block, bill } }),
        }
    }
}

impl<O: PgmapOps, C: Charge, const WORDS: usize> fmt::Debug for OwnedBlock<'_, O, C, WORDS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedBlock").field("block", &self.block).field("owner", &self.owner()).finish()
    }
}

/// What an owner has been charged for a block. Drop uncharges him.
struct Bill<'p, O: PgmapOps, C: Charge> {
    ops: &'p Charging<O, C>,
    order: Order,
    owner: Owner,
}

impl<O: PgmapOps, C: Charge> Drop for Bill<'_, O, C> {
    fn drop(&mut self) {
        self.ops.uncharge(self.order, self.owner);
    }
}
