//! A handle for each thread, by std's thread-locals: made at the thread's first call, given back when the thread ends.

extern crate std;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::any::{Any, TypeId};
use core::cell::RefCell;

use crate::error::{AllocError, PutError, Refused};
use crate::folio::Folio;
use crate::handles::Handles;
use crate::ops::PgmapOps;
use crate::order::Order;
use crate::pgmap::Pgmap;
use crate::references::Put;

/// A [`Pgmap`] or a [`GenPool`](crate::GenPool) that each thread uses through a handle of its own, and through the shared path
/// where it has none.
///
/// For programs whose pgmap lives as long as they do, in a static or leaked; a scoped thread takes a handle with
/// [`Pgmap::local`]. A thread allocates host memory for its handle once, at its first call, and gives the handle back, drained,
/// when it ends. What holds for pages at hand in a handle is said at [`Local`](crate::Local).
///
/// ```
/// use std::sync::LazyLock;
/// use std::thread;
///
/// use pgmap_alloc::{Order, Params, PerThread, Pgmap, Phys, PhysRange};
///
/// static VRAM: LazyLock<Pgmap<'static, ()>> = LazyLock::new(|| {
///     Pgmap::new(&Params::new(&[PhysRange { start: Phys(0), pages: 1 << 20 }]), ()).expect("one sound range")
/// });
///
/// let vram = PerThread::new(&*VRAM);
/// let folio = thread::spawn(move || vram.alloc_folio(Order::ZERO)).join().unwrap()?;
/// vram.put(folio).expect("from this pgmap");
/// # Ok::<(), pgmap_alloc::AllocError>(())
/// ```
pub struct PerThread<P: Handles<'static> + 'static>(&'static P);

impl<P: Handles<'static> + 'static> PerThread<P> {
    /// Costs nothing: handles are made by the threads that need them.
    pub const fn new(owner: &'static P) -> Self {
        PerThread(owner)
    }

    /// What the handles are on.
    pub fn owner(&self) -> &'static P {
        self.0
    }

    /// Does `work` with this thread's handle.
    ///
    /// `None` where the thread has none: inside another such call (as `folio_free` may be), while the thread ends, and for a
    /// thread that came when no handle was left, until [`PerThread::release`].
    pub fn with<R>(&self, work: impl FnOnce(Option<&mut P::Handle>) -> R) -> R {
        let mut handle = take(self.0);
        let result = work(handle.as_deref_mut());
        if let Some(handle) = handle {
            keep(self.0, handle);
        }
        result
    }

    /// Gives this thread's handle back, drained, as the end of the thread would; the next call makes a new one.
    pub fn release(&self) {
        // Should it be in use further up, it goes when that is done, because its place is gone.
        drop(take(self.0));
        let forget = |places: &RefCell<Vec<Place>>| {
            if let Ok(mut places) = places.try_borrow_mut() {
                places.retain(|place| place.key != key(self.0));
            }
        };
        let _ = HANDLES.try_with(forget);
    }
}

impl<O: PgmapOps + 'static, const WORDS: usize> PerThread<Pgmap<'static, O, WORDS>> {
    /// [`Local::alloc_folio`](crate::Local::alloc_folio), or [`Pgmap::alloc_folio`] where this thread has no handle.
    #[inline]
    pub fn alloc_folio(&self, order: Order) -> Result<Folio<'static, O, WORDS>, AllocError>
    where
        O::Data: Default,
    {
        self.alloc_folio_with(order, O::Data::default())
    }

    /// [`PerThread::alloc_folio`], with what the driver keeps with the folio.
    #[inline]
    pub fn alloc_folio_with(&self, order: Order, data: O::Data) -> Result<Folio<'static, O, WORDS>, AllocError> {
        self.with(|handle| match handle {
            Some(local) => local.alloc_folio_with(order, data),
            None => self.0.alloc_folio_with(order, data),
        })
    }

    /// [`Local::put`](crate::Local::put), or [`Pgmap::put`] where this thread has no handle.
    #[inline]
    pub fn put(&self, folio: Folio<'static, O, WORDS>) -> Result<Put, Refused<PutError, Folio<'static, O, WORDS>>> {
        self.with(|handle| match handle {
            Some(local) => local.put(folio),
            None => self.0.put(folio),
        })
    }
}

impl<P: Handles<'static> + 'static> Clone for PerThread<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Handles<'static> + 'static> Copy for PerThread<P> {}

/// Where a thread keeps a handle.
struct Place {
    key: Key,
    /// `None` while the handle is in use, or if there was none left.
    handle: Option<Box<dyn Any>>,
}

/// Where the owner lies, which is for ever, and of which type it is: a pgmap may lie where its own pool lies.
type Key = (usize, TypeId);

fn key<P: Handles<'static> + 'static>(owner: &'static P) -> Key {
    (core::ptr::from_ref(owner).addr(), TypeId::of::<P>())
}

std::thread_local! {
    /// The handles of this thread, seldom more than one. Dropped with the thread, and each handle drains itself then.
    static HANDLES: RefCell<Vec<Place>> = const { RefCell::new(Vec::new()) };
}

/// This thread's handle on `owner`, made if it is the first time; [`keep`] puts it back.
///
/// Taken out so that nothing is borrowed while a driver's `folio_free` runs.
fn take<P: Handles<'static> + 'static>(owner: &'static P) -> Option<Box<P::Handle>> {
    let key = key(owner);
    let taken = HANDLES.try_with(|places| {
        let mut places = places.try_borrow_mut().ok()?;
        match places.iter_mut().find(|place| place.key == key) {
            Some(place) => place.handle.take()?.downcast().ok(),
            None => {
                places.push(Place { key, handle: None });
                owner.handle().map(Box::new)
            }
        }
    });
    // While the thread ends there is no thread-local any more.
    taken.ok().flatten()
}

fn keep<P: Handles<'static> + 'static>(owner: &'static P, handle: Box<P::Handle>) {
    let key = key(owner);
    // Without a place for it the handle is dropped here, which drains it.
    let _ = HANDLES.try_with(|places| {
        if let Ok(mut places) = places.try_borrow_mut()
            && let Some(place) = places.iter_mut().find(|place| place.key == key)
        {
            place.handle = Some(handle);
        }
    });
}
