//! Owners with limits, as in the dmem cgroup; callers that charge the same owner do not meet at a counter each time.
//!
//! Owners may have parents: what an owner has, its parent has too, and so on up; the limit of each holds.
//!
//! # Protocol
//!
//! An owner's `drawn` counts the pages that it has and those in stock. Every caller slot has a stock for each owner: pages that are
//! drawn and that nobody has. (`tally` does the same for the pool's watermark.)
//!
//! 1. A charge takes the pages from its caller slot's stock, if no more are drawn than the limit; else it draws them, and a batch more
//!    for the next time if the limit allows and less is in stock.
//! 2. A caller that may not draw collects the owner's stocks first. No more is ever drawn than the limit, and no page is had that is not
//!    drawn: so a limit is exact.
//! 3. An uncharge puts the pages into the stock; if that is more than two batches then, it draws back all but one. Where the owner may
//!    not have that many, they are not put into stock but compared with what is drawn and not in stock.
//! 4. What is drawn and not in stock yet, or out of stock and not drawn back yet, is hidden for a moment: that is a motion
//!    (`pool::motion`). A refusal of an owner who has stocks is repeated until it is the same though nothing was in motion and
//!    nothing came back meanwhile; if that cannot be had, the answer is [`ChargeError::Contended`].
//!
//! 5. An uncharge notes the high water before it does anything else: what is drawn then is no less than what the owner has. Undoing a
//!    charge notes nothing, because those pages were never had. So the high water is never too low, and no refusal raises it.
//!
//! A batch is a 1024th of what is drawn, and no more than 256 pages. Owners of whom less than [`STOCKED`] pages are drawn have no
//! stocks: all meet at their counter, which is then as small as it is exact to the page.

use crate::charge::{Charge, Limits, Owner, Protection, Usage};
use crate::error::ChargeError;
use crate::pool::Motion;
use crate::sync::{AtomicU64, Ordering, caller_slot, in_models, load_latest, relax};

/// Caller slots.
const SLOTS: usize = in_models(1, 8);
/// The largest batch.
const BATCH: u64 = in_models(1, 256) as u64;
/// An owner has stocks while so many pages are drawn: more than can be in stocks, those that are just being put there included.
const STOCKED: u64 = 2 * SLOTS as u64 * 2 * BATCH;
/// How often a refusal is tried to be proved.
const TRIES: u32 = 64;

/// How many pages more are drawn when so many are.
fn batch(drawn: u64) -> u64 {
    if drawn < STOCKED { 0 } else { (drawn >> 10).clamp(1, BATCH) }
}

/// One owner; 128 bytes because neighbouring lines are fetched in pairs.
#[repr(align(128))]
struct Account {
    drawn: AtomicU64,
    /// Not 0 once anything was in stock.
    stocked: AtomicU64,
    high_water: AtomicU64,
    refused: AtomicU64,
    min: AtomicU64,
    low: AtomicU64,
    max: AtomicU64,
}

/// One caller slot: the stocks of all owners.
#[repr(align(128))]
struct Stocks<const N: usize>([AtomicU64; N]);

/// `N` owners.
///
/// 192 bytes each, and 2 KiB for all. Charging and uncharging are lock-free, O(parents), and touch no line that others write with
/// each operation too, as long as an owner has 32 MiB or more in pages of 4 KiB and the runs are not above 2 MiB; below that, and
/// with what is larger, they meet at the owner's counter, as in the cgroup.
pub struct Owners<const N: usize> {
    accounts: [Account; N],
    parents: [Option<Owner>; N],
    stocks: [Stocks<N>; SLOTS],
    motion: Motion,
}

impl<const N: usize> Default for Owners<N> {
    fn default() -> Self {
        Owners::new()
    }
}

impl<const N: usize> Owners<N> {
    /// Owners 0 to `N - 1`, without limits, side by side.
    pub fn new() -> Owners<N> {
        let zero = || AtomicU64::new(0);
        let account = |_| Account {
            drawn: zero(),
            stocked: zero(),
            high_water: zero(),
            refused: zero(),
            min: zero(),
            low: zero(),
            max: AtomicU64::new(u64::MAX),
        };
        let stocks = core::array::from_fn(|_| Stocks(core::array::from_fn(|_| zero())));
        Owners { accounts: core::array::from_fn(account), parents: [None; N], stocks, motion: Motion::new() }
    }

    /// Owners 0 to `N - 1`, without limits; `parents[n]` is the parent of owner `n`, and comes before it, else
    /// [`ChargeError::Parent`].
    pub fn with_parents(parents: [Option<Owner>; N]) -> Result<Owners<N>, ChargeError> {
        for (owner, parent) in parents.iter().enumerate() {
            if let Some(parent) = parent.filter(|parent| parent.0 as usize >= owner) {
                return Err(ChargeError::Parent { owner: owner as u32, parent: parent.0 });
            }
        }
        Ok(Owners { parents, ..Owners::new() })
    }

    /// Whose account an owner's pages count for, too; none at the top. O(1).
    pub fn parent(&self, owner: Owner) -> Option<Owner> {
        self.parents.get(owner.0 as usize).copied().flatten()
    }

    /// One owner's part of everything.
    fn books(&self, owner: Owner) -> Option<Books<'_, N>> {
        Some(Books { all: self, owner, account: self.accounts.get(owner.0 as usize)? })
    }

    fn known(&self, owner: Owner) -> Result<Books<'_, N>, ChargeError> {
        self.books(owner).ok_or(ChargeError::UnknownOwner { owner: owner.0 })
    }

    /// An owner, his parent, and so on up.
    fn lineage(&self, owner: Owner) -> impl Iterator<Item = Books<'_, N>> {
        core::iter::successors(Some(owner), |owner| self.parent(*owner)).filter_map(|owner| self.books(owner))
    }

    /// Changes an owner's limits, in pages. What it has above a new maximum stays its own until it gives it back.
    pub fn set_limits(&self, owner: Owner, limits: Limits) -> Result<(), ChargeError> {
        let Books { account, .. } = self.known(owner)?;
        let Limits { min, low, max } = limits;
        if min > low || low > max {
            return Err(ChargeError::LimitsCross { min, low, max });
        }
        // Relaxed, here and below: each number stands for itself; who charges at this moment gets the old limit or the new one.
        account.min.store(min, Ordering::Relaxed);
        account.low.store(low, Ordering::Relaxed);
        account.max.store(max, Ordering::Relaxed);
        Ok(())
    }

    /// What an owner has, its children included. O(1). The high water is never too low. It may be too high by what was in stock, at most
    /// a 64th of it, and by what was charged at the same moment for allocations that were then refused; a refusal alone does not
    /// raise it.
    pub fn usage(&self, owner: Owner) -> Result<Usage, ChargeError> {
        let books = self.known(owner)?;
        let Books { account, .. } = books;
        // Relaxed: as in `set_limits`; each number stands for itself.
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let limits = Limits { min: read(&account.min), low: read(&account.low), max: read(&account.max) };
        let pages = books.has();
        // What he has now is noted when it becomes less (rule 5).
        Ok(Usage { pages, high_water: read(&account.high_water).max(pages), refused: read(&account.refused), limits })
    }

    /// How much an owner's pages are protected at this moment: by what it is promised, but no more than each of its parents is.
    /// O(parents). What children are promised together may be more than their parent is; that is not shared out.
    pub fn protection(&self, owner: Owner) -> Result<Protection, ChargeError> {
        let pages = self.known(owner)?.has();
        let least = |of: fn(&Account) -> &AtomicU64| {
            // Relaxed: as in `set_limits`.
            self.lineage(owner).map(|books| of(books.account).load(Ordering::Relaxed)).min().unwrap_or(0)
        };
        Ok(match pages {
            _ if pages <= least(|account| &account.min) => Protection::Min,
            _ if pages <= least(|account| &account.low) => Protection::Low,
            _ => Protection::None,
        })
    }

    /// An owner and those above him who are not above `other` too, nor that one.
    fn lineage_apart(&self, owner: Owner, other: Option<Owner>) -> impl Iterator<Item = Books<'_, N>> {
        let shared = move |owner: Owner| other.is_some_and(|other| self.lineage(other).any(|books| books.owner == owner));
        self.lineage(owner).take_while(move |books| !shared(books.owner))
    }

    /// [`Charge::try_charge`]; with `payer`, [`Charge::try_charge_in_place_of`].
    fn charge(&self, owner: Owner, payer: Option<Owner>, pages: u64) -> Result<(), ChargeError> {
        self.known(owner)?;
        match self.attempt(owner, payer, pages) {
            Err(ChargeError::OverLimit { .. }) if self.lineage(owner).any(|books| books.is_stocked()) => {
                self.prove(owner, payer, pages)
            }
            done => done,
        }
    }

    /// Charges an owner and his parents, or nobody.
    fn attempt(&self, owner: Owner, payer: Option<Owner>, pages: u64) -> Result<(), ChargeError> {
        // Looked at first: who cannot be charged anyway must not be in others' way by charging and undoing it.
        self.lineage_apart(owner, payer).try_for_each(|books| books.look(pages))?;
        for (done, books) in self.lineage_apart(owner, payer).enumerate() {
            if let Err(error) = books.raise(pages) {
                // Raised a moment ago.
                self.lineage_apart(owner, payer).take(done).for_each(|books| books.lower(pages));
                return Err(if done == 0 { error } else { ChargeError::Contended });
            }
        }
        Ok(())
    }

    /// Rule 4.
    #[cold]
    fn prove(&self, owner: Owner, payer: Option<Owner>, pages: u64) -> Result<(), ChargeError> {
        let watch = self.motion.watch();
        for _ in 0..TRIES {
            let notes = watch.notes();
            match self.attempt(owner, payer, pages) {
                Err(error @ ChargeError::OverLimit { .. }) => {
                    if watch.nothing_since(notes) {
                        return Err(error);
                    }
                    relax();
                }
                done => return done,
            }
        }
        Err(ChargeError::Contended)
    }
}

/// Everything about one owner.
#[derive(Clone, Copy)]
struct Books<'o, const N: usize> {
    all: &'o Owners<N>,
    owner: Owner,
    account: &'o Account,
}

impl<'o, const N: usize> Books<'o, N> {
    /// His stocks, one for each caller slot.
    fn stocks(&self) -> impl Iterator<Item = &'o AtomicU64> {
        let index = self.owner.0 as usize;
        self.all.stocks.iter().filter_map(move |stocks| stocks.0.get(index))
    }

    /// The caller's.
    fn stock(&self) -> Option<&'o AtomicU64> {
        self.all.stocks[caller_slot(SLOTS) & (SLOTS - 1)].0.get(self.owner.0 as usize)
    }

    fn drawn(&self) -> u64 {
        // SeqCst, here and wherever pages may become chargeable: the halves of "uncharge, then note" (rule 4, and `ledger`).
        load_latest(&self.account.drawn)
    }

    fn is_stocked(&self) -> bool {
        // SeqCst: set before anything is put into stock, pairs with `draw` and `put_in_stock`.
        load_latest(&self.account.stocked) != 0
    }

    /// How many pages he has; while others charge and uncharge it may be what never was at one moment.
    fn has(&self) -> u64 {
        if !self.is_stocked() {
            return self.drawn();
        }
        // SeqCst: as in `drawn`; pairs with `put_in_stock` (rule 4).
        let in_stock = self.stocks().fold(0, |sum: u64, stock| sum.wrapping_add(load_latest(stock)));
        self.drawn().saturating_sub(in_stock)
    }

    fn max(&self) -> u64 {
        // Relaxed: as in `set_limits`.
        self.account.max.load(Ordering::Relaxed)
    }

    /// Whether there is hope.
    fn look(&self, pages: u64) -> Result<(), ChargeError> {
        let fits = |has: u64| has.checked_add(pages).is_some_and(|sum| sum <= self.max());
        if fits(self.drawn()) || self.is_stocked() && fits(self.has()) { Ok(()) } else { Err(self.over_limit()) }
    }

    #[cold]
    fn over_limit(&self) -> ChargeError {
        ChargeError::OverLimit { owner: self.owner.0, has: self.has(), max: self.max() }
    }

    /// Rules 1 and 2.
    fn raise(&self, pages: u64) -> Result<(), ChargeError> {
        let (max, drawn) = (self.max(), self.drawn());
        let from = |stock: u64| stock.checked_sub(pages);
        if batch(drawn) > 0
            && drawn <= max
            && let Some(stock) = self.stock()
            // SeqCst: as in `drawn` (rule 2). Relaxed on failure: nothing is read.
            && stock.fetch_update(Ordering::SeqCst, Ordering::Relaxed, from).is_ok()
        {
            return Ok(());
        }
        self.draw(pages, max)
    }

    fn draw(&self, pages: u64, max: u64) -> Result<(), ChargeError> {
        let mut drawn = self.drawn();
        loop {
            let Some((sum, spare)) = drawn.checked_add(pages).and_then(|sum| Some((sum, max.checked_sub(sum)?))) else {
                if self.collect() == 0 {
                    return Err(self.over_limit());
                }
                drawn = self.drawn();
                continue;
            };
            // Relaxed: whoever charges what is too much for the stock would else fill it without end.
            let has_stock = self.stock().is_some_and(|stock| stock.load(Ordering::Relaxed) >= batch(drawn));
            let more = if has_stock { 0 } else { batch(drawn).min(spare) };
            // SeqCst, all of it: as in `drawn` (rules 1 and 4). What is drawn for later is hidden until it is in stock.
            let _moving = (more > 0).then(|| self.all.motion.begin());
            if more > 0 && !self.is_stocked() {
                self.account.stocked.store(1, Ordering::SeqCst);
            }
            // Relaxed on failure: tried again with what was found.
            match self.account.drawn.compare_exchange_weak(drawn, sum + more, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => {
                    if let Some(stock) = self.stock().filter(|_| more > 0) {
                        stock.fetch_add(more, Ordering::SeqCst);
                    }
                    return Ok(());
                }
                Err(now) => drawn = now,
            }
        }
    }

    /// Draws all his stocks back; says how many pages that were.
    #[cold]
    fn collect(&self) -> u64 {
        if !self.is_stocked() {
            return 0;
        }
        let _moving = self.all.motion.begin();
        // SeqCst, all of it: as in `drawn` (rule 4).
        let of = |stock: &AtomicU64| if stock.load(Ordering::SeqCst) == 0 { 0 } else { stock.swap(0, Ordering::SeqCst) };
        let found: u64 = self.stocks().map(of).sum();
        if found > 0 {
            self.account.drawn.fetch_sub(found, Ordering::SeqCst);
        }
        found
    }

    /// Rule 5.
    fn keep_high_water(&self) {
        let drawn = self.drawn();
        // Relaxed, both: a number, nothing hangs on it. Looked at first, because the line is everybody's.
        if self.account.high_water.load(Ordering::Relaxed) < drawn {
            self.account.high_water.fetch_max(drawn, Ordering::Relaxed);
        }
    }

    /// Rule 3, of pages that he may not have; `Err` with how many he has, if that is less.
    fn give(&self, pages: u64) -> Result<(), u64> {
        let has_so_many = || Some(self.has()).filter(|has| *has < pages).map_or(Ok(()), Err);
        let few = pages <= 2 * batch(self.drawn());
        if !few {
            has_so_many()?;
        }
        self.keep_high_water();
        if self.put_in_stock(pages) {
            return Ok(());
        }
        if few {
            has_so_many()?;
        }
        // SeqCst: as in `drawn` (rule 3). Relaxed on failure: tried again with what was found.
        self.account.drawn.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |drawn| drawn.checked_sub(pages)).map(|_| ())?;
        self.all.motion.note();
        Ok(())
    }

    /// Rule 3, of pages that he has.
    fn give_had(&self, pages: u64) {
        self.keep_high_water();
        self.lower(pages);
    }

    /// Rule 3, of pages that he has, or that were charged a moment ago and could not be had.
    fn lower(&self, pages: u64) {
        if !self.put_in_stock(pages) {
            // SeqCst: as in `drawn` (rule 3).
            self.account.drawn.fetch_sub(pages, Ordering::SeqCst);
            self.all.motion.note();
        }
    }

    /// Puts pages into stock, if they are few beside what is drawn.
    fn put_in_stock(&self, pages: u64) -> bool {
        let drawn = self.drawn();
        let (batch, most) = (batch(drawn), 2 * batch(drawn));
        let Some(stock) = self.stock().filter(|_| pages <= most && batch > 0) else { return false };
        // SeqCst, all of it: as in `drawn` (rules 3 and 4); `stocked` pairs with `is_stocked`.
        if !self.is_stocked() {
            self.account.stocked.store(1, Ordering::SeqCst);
        }
        if stock.fetch_add(pages, Ordering::SeqCst) + pages > most {
            // What is taken out of the stock is hidden until it is drawn back.
            let _moving = self.all.motion.begin();
            // Enough is left for the same again.
            let left = batch.max(pages);
            let over = |now: u64| (now > most).then_some(left);
            // Relaxed on failure: nothing is read.
            if let Ok(before) = stock.fetch_update(Ordering::SeqCst, Ordering::Relaxed, over) {
                self.account.drawn.fetch_sub(before - left, Ordering::SeqCst);
            }
        }
        self.all.motion.note();
        true
    }
}

/// Lock-free; O(parents).
impl<const N: usize> Charge for Owners<N> {
    fn try_charge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError> {
        self.charge(owner, None, pages)
    }

    /// Exact, unless it runs at the same time as another uncharge of the same owner for pages that he has not paid for either.
    fn uncharge(&self, owner: Owner, pages: u64) -> Result<(), ChargeError> {
        self.known(owner)?.give(pages).map_err(|has| ChargeError::NotCharged { owner: owner.0, has })?;
        // They have what their children have.
        self.lineage(owner).skip(1).for_each(|books| books.give_had(pages));
        Ok(())
    }

    fn cancel(&self, owner: Owner, payer: Option<Owner>, pages: u64) {
        self.lineage_apart(owner, payer).for_each(|books| books.lower(pages));
    }

    fn try_charge_in_place_of(&self, payer: Owner, owner: Owner, pages: u64) -> Result<(), ChargeError> {
        self.charge(owner, Some(payer), pages)
    }

    fn uncharge_in_favour_of(&self, owner: Owner, payer: Owner, pages: u64) -> Result<(), ChargeError> {
        let books = self.known(payer)?;
        let mut apart = self.lineage_apart(payer, Some(owner));
        if apart.next().is_none() {
            return Ok(());
        }
        books.give(pages).map_err(|has| ChargeError::NotCharged { owner: payer.0, has })?;
        apart.for_each(|books| books.give_had(pages));
        Ok(())
    }

    fn charge_anyway(&self, owner: Owner, pages: u64) {
        // Relaxed: a number; it makes nothing chargeable.
        self.lineage(owner).for_each(|books| _ = books.account.drawn.fetch_add(pages, Ordering::Relaxed));
    }

    fn refused(&self, owner: Owner) {
        if let Some(books) = self.books(owner) {
            // Relaxed: a number, nothing hangs on it.
            books.account.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    extern crate std;

    use super::*;
    use crate::sync::recorded::{Kind, record};
    use std::collections::BTreeSet;

    /// The lines that `work` writes as a logical CPU.
    fn written(cpu: usize, work: impl FnOnce()) -> BTreeSet<usize> {
        let ((), accesses) = record(cpu, work);
        accesses.iter().filter(|access| matches!(access.kind, Kind::Write | Kind::Locked)).map(|access| access.line).collect()
    }

    /// Two CPUs with caller slots of their own.
    fn cpus() -> [usize; 2] {
        let slot = |cpu| record(cpu, || caller_slot(SLOTS)).0;
        [0, (1..64).find(|&cpu| slot(cpu) != slot(0)).expect("not all in one slot")]
    }

    fn pair(owners: &Owners<3>, owner: Owner, pages: u64) {
        owners.try_charge(owner, pages).expect("no limit is near");
        owners.uncharge(owner, pages).expect("charged a moment ago");
    }

    #[test]
    fn req_48_those_who_pay_as_one_owner_write_no_line_in_common() {
        let owners = Owners::<3>::with_parents([None, Some(Owner(0)), Some(Owner(1))]).expect("parents come first");
        owners.set_limits(Owner(0), Limits { max: 1 << 30, ..Limits::NONE }).expect("in order");
        owners.charge_anyway(Owner(2), 1 << 20);
        let [one, other] = cpus();
        for pages in [1, 64, 512] {
            // Once for the stock.
            for cpu in [one, other] {
                record(cpu, || pair(&owners, Owner(2), pages));
            }
            let [mine, theirs] = [one, other].map(|cpu| written(cpu, || (0..100).for_each(|_| pair(&owners, Owner(2), pages))));
            assert!(!mine.is_empty() && !theirs.is_empty());
            let common: BTreeSet<_> = mine.intersection(&theirs).collect();
            assert!(common.is_empty(), "{pages} pages: {common:?}");
        }
        assert_eq!(owners.usage(Owner(0)).expect("an owner").pages, 1 << 20);
        // Who has little has no stock, and is counted to the page.
        let small = Owners::<3>::new();
        small.try_charge(Owner(0), 100).expect("no limit");
        let [mine, theirs] = [one, other].map(|cpu| written(cpu, || pair(&small, Owner(0), 1)));
        assert_eq!(mine, theirs);
    }

    #[test]
    fn a_stock_never_holds_more_than_two_batches() {
        let owners = Owners::<1>::new();
        owners.charge_anyway(Owner(0), 1 << 20);
        for _ in 0..10 {
            for pages in [1 << 12, 1, 512] {
                owners.try_charge(Owner(0), pages).expect("no limit");
                let books = owners.books(Owner(0)).expect("an owner");
                assert!(books.stock().expect("his").load(Ordering::Relaxed) <= 2 * BATCH);
                owners.uncharge(Owner(0), pages).expect("charged a moment ago");
                assert!(books.stock().expect("his").load(Ordering::Relaxed) <= 2 * BATCH);
            }
        }
        assert_eq!(owners.usage(Owner(0)).expect("an owner").pages, 1 << 20);
    }

    #[test]
    fn req_48_a_limit_is_exact_wherever_the_pages_are_in_stock() {
        let owners = Owners::<3>::with_parents([None, Some(Owner(0)), Some(Owner(0))]).expect("parents come first");
        let max = 1 << 20;
        owners.set_limits(Owner(0), Limits { max, ..Limits::NONE }).expect("in order");
        let charge = |cpu, owner, pages| record(cpu, || owners.try_charge(Owner(owner), pages)).0;
        // Every CPU gets a stock of both children's and the parent's pages.
        for cpu in 0..64 {
            let owner = 1 + cpu as u32 % 2;
            charge(cpu, owner, max / 128).expect("half of all");
            record(cpu, || owners.uncharge(Owner(owner), 200)).0.expect("he has more");
        }
        let has = |owner| owners.usage(Owner(owner)).expect("an owner").pages;
        let used = max / 2 - 64 * 200;
        assert_eq!((has(0), has(1) + has(2)), (used, used));
        assert!(owners.books(Owner(0)).expect("an owner").drawn() > used, "something is in stock");
        // One CPU gets all the rest, page by page at the end, and nobody gets more.
        charge(0, 1, max - used - 10).expect("so much is left");
        for _ in 0..10 {
            charge(0, 2, 1).expect("so much is left");
        }
        for cpu in 0..8 {
            let over = ChargeError::OverLimit { owner: 0, has: max, max };
            assert_eq!(charge(cpu, 1, 1), Err(over));
        }
        // Everything goes back, and not a page more.
        for owner in [1, 2] {
            let all = has(owner);
            let refused = ChargeError::NotCharged { owner, has: all };
            assert_eq!(owners.uncharge(Owner(owner), all + 1), Err(refused));
            owners.uncharge(Owner(owner), all).expect("his");
            assert_eq!(owners.uncharge(Owner(owner), 1), Err(ChargeError::NotCharged { owner, has: 0 }));
        }
        assert_eq!((has(0), has(1), has(2)), (0, 0, 0));
        let usage = owners.usage(Owner(0)).expect("an owner");
        assert_eq!(usage.high_water, max);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::sync::models::race;

    /// An owner that has six pages and may have `spare` more; so many of these are in stock.
    fn owners(spare: u64, stocked: u64) -> Owners<1> {
        let owners = Owners::<1>::new();
        owners.charge_anyway(Owner(0), 6 + stocked);
        if stocked > 0 {
            assert_eq!(owners.uncharge(Owner(0), stocked), Ok(()));
        }
        owners.accounts[0].max.store(6 + spare, Ordering::Relaxed);
        owners
    }

    /// There is room for so many pages at every moment: a caller that finds less must not get a proof.
    fn wants<const PAGES: u64>(owners: &Owners<1>) {
        let watch = owners.motion.watch();
        let notes = watch.notes();
        if let Err(ChargeError::OverLimit { .. }) = owners.attempt(Owner(0), None, PAGES) {
            assert!(!watch.nothing_since(notes), "there was room at every moment");
        }
    }

    fn charge(owners: &Owners<1>, pages: u64) {
        let _ = owners.attempt(Owner(0), None, pages);
    }

    fn uncharge(owners: &Owners<1>, pages: u64) {
        assert_eq!(owners.uncharge(Owner(0), pages), Ok(()));
    }

    /// Room goes out of the stock and into it again, while a caller looks at what is drawn, at the stock, and again at what is drawn.
    fn there_and_back(owners: &Owners<1>) {
        uncharge(owners, 3);
        charge(owners, 1);
        uncharge(owners, 1);
        charge(owners, 3);
    }

    #[test]
    fn req_68_refusal_of_an_owner_against_charges_and_uncharges() {
        race(|| owners(1, 1), there_and_back, wants::<1>);
    }

    #[test]
    fn req_68_refusal_against_a_stock_that_is_drawn_back() {
        race(|| owners(2, 2), |owners| uncharge(owners, 1), wants::<2>);
    }

    #[test]
    fn req_68_refusal_against_a_stock_that_is_being_filled() {
        race(|| owners(3, 0), |owners| charge(owners, 1), wants::<1>);
    }

    #[test]
    fn req_68_refusal_against_a_caller_that_collects() {
        race(|| owners(1, 1), |owners| charge(owners, 2), wants::<1>);
    }
}
