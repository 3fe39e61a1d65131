//! A pgmap with an account: folios and blocks that an owner pays for.
//!
//! A driver around the driver ([`Charging`]). Who pays for a folio stands in the data that the pgmap keeps with it, so whoever puts
//! it last need not know, on whatever path that is; parts that it is split into are paid for by the same owner. Folios and blocks
//! that are taken by the ordinary verbs are nobody's and not in the account.

use core::fmt;

use crate::block::Block;
use crate::charge::{Charge, Owner};
use crate::data::DriverData;
use crate::error::{AccountedError, ChargeError, RequestError};
use crate::folio::Folio;
use crate::ledger::{Account, Ask, Ledger, Urgency};
use crate::local::Local;
use crate::memory_type::MemoryType;
use crate::offset::Offset;
use crate::ops::{AfterFree, Failure, Freed, PgmapOps};
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::trace::Event;

/// What a driver keeps with a folio, and who pays for it. The driver's part may have 32 bits; more does not compile.
///
/// One that names an owner stands for pages that he has paid for. Whoever needs a folio's data for another folio takes
/// [`Paid::data`]: a copy of the whole, handed to an ordinary verb, would be uncharged twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paid<D> {
    /// The owner's number plus one; 0 = nobody.
    owner: u32,
    data: D,
}

impl<D> Paid<D> {
    /// Nobody pays.
    pub const fn by_nobody(data: D) -> Paid<D> {
        Paid { owner: 0, data }
    }

    fn by(owner: Owner, data: D) -> Result<Paid<D>, AccountedError> {
        let unknown = AccountedError::Owner { error: ChargeError::UnknownOwner { owner: owner.0 } };
        Ok(Paid { owner: owner.0.checked_add(1).ok_or(unknown)?, data })
    }

    /// Who pays.
    pub fn owner(&self) -> Option<Owner> {
        self.owner.checked_sub(1).map(Owner)
    }

    /// What the driver keeps.
    pub fn data(&self) -> D
    where
        D: Copy,
    {
        self.data
    }
}

impl<D: Default> Default for Paid<D> {
    fn default() -> Self {
        Paid::by_nobody(D::default())
    }
}

impl<D: DriverData> DriverData for Paid<D> {
    const STORED: bool = {
        assert!(D::BITS <= 32, "the other half of the word says who pays");
        true
    };

    fn to_bits(self) -> u64 {
        u64::from(self.owner) << 32 | self.data.to_bits() & 0xFFFF_FFFF
    }

    fn from_bits(bits: u64) -> Self {
        Paid { owner: (bits >> 32) as u32, data: D::from_bits(bits & 0xFFFF_FFFF) }
    }
}

/// A driver whose folios are paid for.
///
/// A folio is paid for while it is in service: the owner is uncharged when `folio_free` has returned, whatever becomes of the
/// pages; a driver who keeps them has them as a block that is nobody's.
pub struct Charging<O, C: Charge> {
    ops: O,
    ledger: Ledger<C>,
}

impl<O: PgmapOps, C: Charge> Charging<O, C> {
    /// A driver, who pays, and how many idle pages are for the critical; `pages` is about how many the pgmap is going to have.
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

    fn give(&self, order: Order, owner: Owner) {
        // He has paid: nobody else makes such values.
        let _ = self.ledger.give(order, owner);
    }
}

/// What the driver was told before it was paid for.
fn inner<D: Copy>(folio: Freed<Paid<D>>) -> Freed<D> {
    Freed { offset: folio.offset, order: folio.order, data: folio.data.data }
}

impl<O: PgmapOps, C: Charge> PgmapOps for Charging<O, C> {
    type Data = Paid<O::Data>;

    fn folio_free(&self, folio: Freed<Self::Data>) -> AfterFree {
        let after = self.ops.folio_free(inner(folio));
        if let Some(owner) = folio.data.owner() {
            self.give(folio.order, owner);
        }
        after
    }

    fn folio_split(&self, whole: Freed<Self::Data>, part: Option<Offset>) -> Self::Data {
        Paid { owner: whole.data.owner, data: self.ops.folio_split(inner(whole), part) }
    }

    fn memory_failure(&self, failure: Failure<Self::Data>) {
        let Failure { offset, owner, data } = failure;
        self.ops.memory_failure(Failure { offset, owner, data: data.map(|paid| paid.data) });
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
        let ask = Ask { order, owner, urgency, size: self.pages(), largest: self.largest_order() };
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
        let paid = Paid::by(owner, data)?;
        let take = || self.alloc_folio_with(order, paid).map_err(|error| AccountedError::Pool { error });
        self.take_for(order, owner, urgency, take)
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
        let paid = Paid::by(owner, data)?;
        let take = || self.request_folio_with(offset, order, paid).map_err(|error| AccountedError::Request { error });
        self.take_for(order, owner, urgency, take)
    }

    /// [`Pgmap::alloc_block`] for an owner.
    pub fn alloc_block_for(
        &self,
        order: Order,
        owner: Owner,
        urgency: Urgency,
    ) -> Result<OwnedBlock<'_, O, C, WORDS>, AccountedError> {
        Paid::by(owner, ())?;
        let take = || self.alloc_block(order).map_err(|error| AccountedError::Pool { error });
        let block = self.take_for(order, owner, urgency, take)?;
        Ok(OwnedBlock { block, bill: Bill { ops: self.ops(), order, owner } })
    }

    /// The account. O(1), as [`Accounted::account`](crate::Accounted::account).
    pub fn account(&self) -> Account {
        self.ledger().account(self.pages(), self.pool.largest_idle(), self.largest_order(), self.pool.counted_runs())
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
        let (paid, pgmap) = (Paid::by(owner, data)?, self.pgmap());
        let take = || self.alloc_folio_with(order, paid).map_err(|error| AccountedError::Pool { error });
        pgmap.take_for(order, owner, urgency, take)
    }
}

/// A block and who pays for it. Drop gives it back, and then the owner is uncharged.
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

    /// Who pays.
    pub fn owner(&self) -> Owner {
        self.bill.owner
    }

    /// Gives it back, all zero ([`Block::release_cleared`]).
    pub fn release_cleared(self) {
        let OwnedBlock { block, bill: _bill } = self;
        block.release_cleared();
    }

    /// Puts its pages into service as one folio that the same owner pays for ([`Block::into_folio`]).
    pub fn into_folio(self, data: O::Data) -> Result<Folio<'p, Charging<O, C>, WORDS>, (RequestError, Self)> {
        let OwnedBlock { block, bill } = self;
        // An owner with so high a number has not got a block.
        let paid = Paid { owner: bill.owner.0.saturating_add(1), data };
        match block.into_folio(paid) {
            Ok(folio) => {
                core::mem::forget(bill);
                Ok(folio)
            }
            Err((error, block)) => Err((error, OwnedBlock { block, bill })),
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
        self.ops.give(self.order, self.owner);
    }
}
