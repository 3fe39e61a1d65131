//! The drivers of the stress: what each keeps with a folio, and what only its folios can do.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pgmap_alloc::{
    AccountedError, AfterFree, AllocError, Charging, DriverData, Event, Failure, Folio, Freed, Limits, MemoryType, Offset, Order,
    Owner, Owners, Pgmap, PgmapOps, Run, ShareError, Shared, Urgency,
};

use crate::support::Random;

/// What every driver counts, and the pages that it has kept at a last put.
#[derive(Default)]
pub struct Books {
    /// Pages that came out of service.
    pub freed: AtomicU64,
    pub torn_down: AtomicU64,
    pub failures: AtomicU64,
    pub kept: Mutex<Vec<Run>>,
    calls: AtomicU64,
}

impl Books {
    /// What becomes of a folio, a little differently each time. `named` is what its data says of its head.
    fn freed(&self, head: Offset, order: Order, named: u64) -> AfterFree {
        assert!(names(named, head), "another folio's data");
        self.freed.fetch_add(order.pages(), Relaxed);
        match self.calls.fetch_add(1, Relaxed) % 16 {
            0 if order <= Order::PMD && KEEPS.get() => {
                self.kept.lock().unwrap().push(Run::new(head, order).unwrap());
                AfterFree::Keep
            }
            1 => AfterFree::ReleaseCleared,
            _ => AfterFree::Release,
        }
    }
}

thread_local! {
    static KEEPS: Cell<bool> = const { Cell::new(true) };
}

/// Does `work`, in which what `folio_free` answers does not count.
pub fn keeping_nothing<T>(work: impl FnOnce() -> T) -> T {
    KEEPS.set(false);
    let result = work();
    KEEPS.set(true);
    result
}

/// Whether this can be said of a folio that starts here: its head plus one, or nothing.
pub fn names(named: u64, head: Offset) -> bool {
    named == 0 || named == head.get() + 1
}

/// A driver whose folios the stress can make, and ask about.
pub trait Kind: PgmapOps + Sized + Send + Sync {
    fn new() -> Self;
    fn books(&self) -> &Books;
    /// What is kept with a folio that starts here.
    fn data(head: Offset) -> Self::Data;
    /// What its data says of its head.
    fn named(data: Self::Data) -> u64;
    /// A folio that only this driver can ask for.
    fn ask<'p>(pgmap: &'p Pgmap<'static, Self>, order: Order, random: &mut Random) -> Result<Folio<'p, Self>, AllocError> {
        let _ = random;
        pgmap.alloc_folio_with(order, Self::Data::from_bits(0))
    }
    /// What only its folios can do.
    fn use_folio(folio: &Folio<'_, Self>) {
        let _ = folio;
    }
    /// At a quiet moment: so many pages are in service of those that it has given out.
    fn check_quiet(&self, everything_is_gone: bool) {
        let _ = everything_is_gone;
    }
}

macro_rules! driver {
    ($name:ident, $data:ty, $memory_type:ident, $named:expr, $of:expr) => {
        #[derive(Default)]
        pub struct $name(Books);

        impl PgmapOps for $name {
            type Data = $data;

            fn folio_free(&self, folio: Freed<$data>) -> AfterFree {
                self.0.freed(folio.offset, folio.order, $named(folio.data))
            }

            fn folio_split(&self, whole: Freed<$data>, part: Option<Offset>) -> $data {
                $of(part.unwrap_or(whole.offset))
            }

            fn memory_failure(&self, failure: Failure<$data>) {
                let _ = failure;
                self.0.failures.fetch_add(1, Relaxed);
            }

            fn memory_type(&self) -> MemoryType {
                MemoryType::$memory_type
            }

            fn teardown(&self) {
                self.0.torn_down.fetch_add(1, Relaxed);
            }
        }
    };
}
driver!(Plain, u64, DevicePrivate, |data| data, |head: Offset| head.get() + 1);
driver!(Sharing, Shared, FsDax, |data: Shared| u64::from(data.key), |head: Offset| Shared::new(head.get() as u32 + 1));
driver!(Payee, u32, DeviceCoherent, |data: u32| u64::from(data), |head: Offset| head.get() as u32 + 1);

/// Keeps nothing and hears of no frees, so that a last put is one step; what it counts it has from the trace.
#[derive(Default)]
pub struct Silent(Books);

impl PgmapOps for Silent {
    type Data = ();

    const HEARS_FREES: bool = false;

    fn trace(&self, event: Event) {
        if let Event::FolioFree { order, .. } = event {
            self.0.freed.fetch_add(order.pages(), Relaxed);
        }
    }

    fn memory_failure(&self, _: Failure<()>) {
        self.0.failures.fetch_add(1, Relaxed);
    }

    fn teardown(&self) {
        self.0.torn_down.fetch_add(1, Relaxed);
    }
}

impl Kind for Silent {
    fn new() -> Self {
        Silent::default()
    }

    fn books(&self) -> &Books {
        &self.0
    }

    fn data(_: Offset) {}

    fn named((): ()) -> u64 {
        0
    }
}

impl Kind for Plain {
    fn new() -> Self {
        Plain::default()
    }

    fn books(&self) -> &Books {
        &self.0
    }

    fn data(head: Offset) -> u64 {
        head.get() + 1
    }

    fn named(data: u64) -> u64 {
        data
    }
}

impl Kind for Sharing {
    fn new() -> Self {
        Sharing::default()
    }

    fn books(&self) -> &Books {
        &self.0
    }

    fn data(head: Offset) -> Shared {
        Shared::new(head.get() as u32 + 1)
    }

    fn named(data: Shared) -> u64 {
        u64::from(data.key)
    }

    /// Shares it twice and takes both back; others may do the same.
    fn use_folio(folio: &Folio<'_, Self>) {
        let order = folio.order();
        assert!(folio.share(order).unwrap() >= 1 && folio.share(order).unwrap() >= 1);
        assert_eq!(folio.share(Order::MAX), Err(ShareError::OrderMismatch { order }));
        assert!(folio.unshare(order).is_ok() && folio.unshare(order).is_ok());
    }
}

/// Three owners, the last of them poor, and an account.
pub type Paying = Charging<Payee, Owners<3>>;

impl Kind for Paying {
    fn new() -> Self {
        let owners = Owners::new();
        owners.set_limits(Owner(2), Limits { min: 0, low: 0, max: 64 }).unwrap();
        Charging::new(Payee::default(), owners, 32, crate::PAGES)
    }

    fn books(&self) -> &Books {
        &self.ops().0
    }

    fn data(head: Offset) -> u32 {
        head.get() as u32 + 1
    }

    fn named(data: u32) -> u64 {
        u64::from(data)
    }

    fn ask<'p>(pgmap: &'p Pgmap<'static, Self>, order: Order, random: &mut Random) -> Result<Folio<'p, Self>, AllocError> {
        let owner = Owner(random.below(3) as u32);
        if random.one_in(4) {
            let block = pgmap.alloc_block_for(order, owner, Urgency::Normal).map_err(of_the_pool)?;
            return block.into_folio(0).map_err(|_| AllocError::Dying);
        }
        pgmap.alloc_folio_for(order, owner, Urgency::Normal, 0).map_err(of_the_pool)
    }

    fn check_quiet(&self, everything_is_gone: bool) {
        let pages = |owner| self.charge().usage(Owner(owner)).unwrap().pages;
        let all = (0..3).map(pages).sum::<u64>();
        assert!(pages(2) <= 64 && (!everything_is_gone || all == 0), "owners have {all} pages");
    }
}

/// What an owner is refused for is all the same to the stress.
fn of_the_pool(error: AccountedError) -> AllocError {
    match error {
        AccountedError::Pool { error } => error,
        _ => AllocError::Contended,
    }
}
