//! A mover without a device: every memory type is an array of bytes, and copies are done late on purpose.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "conformance")]
use crate::conformance::Subject;
use crate::error::{AddError, CopyError, FenceError};
use crate::mover::Mover;
use crate::piece::{Piece, Ticket};
use crate::place::MemoryType;

/// Copies between arrays of bytes.
///
/// A copy is done when it is waited for, or when `delay` later copies have been started, and not a moment earlier: whoever
/// frees or reads pages too soon finds the wrong bytes.
#[derive(Debug)]
pub struct HostMover {
    page_shift: u32,
    arenas: Vec<Vec<u8>>,
    /// Copies that were started and not done yet, oldest first.
    started: VecDeque<Copy>,
    delay: u64,
    last: u64,
    done: u64,
    /// Tickets whose copies wrote rubbish.
    spoiled: Vec<u64>,
    spoil_next: bool,
    refuse_next: bool,
    lost: bool,
    /// While this is set, nothing that was started is done.
    held: Arc<AtomicBool>,
    detours: Vec<(MemoryType, MemoryType, MemoryType)>,
}

#[derive(Debug)]
struct Copy {
    from: Vec<Piece>,
    to: Vec<Piece>,
    spoil: bool,
}

impl HostMover {
    /// A mover for pages of `2^page_shift` bytes, without memory.
    pub fn new(page_shift: u32, delay: u64) -> HostMover {
        HostMover {
            page_shift,
            arenas: Vec::new(),
            started: VecDeque::new(),
            delay,
            last: 0,
            done: 0,
            spoiled: Vec::new(),
            spoil_next: false,
            refuse_next: false,
            lost: false,
            held: Arc::default(),
            detours: Vec::new(),
        }
    }

    /// Adds the bytes of the next memory type, in the order in which the manager is given them; as far as its last page.
    pub fn add(&mut self, pages: u64) -> Result<(), AddError> {
        let bytes = self.byte(pages).ok_or(AddError::OutOfMemory)?;
        let mut arena = Vec::new();
        arena.try_reserve_exact(bytes).map_err(|_| AddError::OutOfMemory)?;
        arena.resize(bytes, 0);
        self.arenas.push(arena);
        Ok(())
    }

    /// There is no direct way between `from` and `to`, only one through `via`.
    pub fn detour(&mut self, from: MemoryType, to: MemoryType, via: MemoryType) {
        self.detours.push((from, to, via));
    }

    /// The next copy is refused.
    pub fn refuse_next(&mut self) {
        self.refuse_next = true;
    }

    /// The next copy writes rubbish, and its ticket says so.
    pub fn spoil_next(&mut self) {
        self.spoil_next = true;
    }

    /// From now on nothing that was started is done, not even when it is waited for, until what is returned is called, from
    /// whichever thread.
    pub fn hold(&mut self) -> Box<dyn FnOnce() + Send> {
        // A key of an earlier hold no longer turns.
        self.held = Arc::new(AtomicBool::new(true));
        let held = Arc::clone(&self.held);
        // Release pairs with the acquire of `is_held`: what was done before the key was turned has happened before the copies.
        Box::new(move || held.store(false, Ordering::Release))
    }

    fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// From now on nothing works: copies that were not done yet never will be.
    pub fn lose(&mut self) {
        self.lost = true;
        self.started.clear();
    }

    /// The bytes of a piece; none if there is no such memory.
    pub fn bytes(&self, piece: Piece) -> Option<&[u8]> {
        self.arenas.get(piece.memory.index())?.get(self.range(piece)?)
    }

    /// The bytes of a piece, to write to; none if there is no such memory.
    pub fn bytes_mut(&mut self, piece: Piece) -> Option<&mut [u8]> {
        let range = self.range(piece)?;
        self.arenas.get_mut(piece.memory.index())?.get_mut(range)
    }

    fn range(&self, piece: Piece) -> Option<Range<usize>> {
        Some(self.byte(piece.first)?..self.byte(piece.first.checked_add(piece.pages)?)?)
    }

    /// Where a page begins.
    fn byte(&self, page: u64) -> Option<usize> {
        let bytes = 1u64.checked_shl(self.page_shift)?.checked_mul(page)?;
        usize::try_from(bytes).ok()
    }

    fn do_until(&mut self, ticket: u64) {
        while self.done < ticket.min(self.last) {
            self.done += 1;
            let Some(copy) = self.started.pop_front() else { continue };
            let mut good = !copy.spoil;
            for (from, to) in copy.from.iter().zip(&copy.to) {
                if copy.spoil {
                    self.bytes_mut(*to).into_iter().for_each(|bytes| bytes.fill(0xdb));
                } else {
                    good &= self.copy_bytes(*from, *to).is_some();
                }
            }
            if !good {
                self.spoiled.push(self.done);
            }
        }
    }

    /// None if one of the pieces does not exist.
    fn copy_bytes(&mut self, from: Piece, to: Piece) -> Option<()> {
        let (source, target) = (self.range(from)?, self.range(to)?);
        let arenas = [from.memory.index(), to.memory.index()];
        if let Ok([a, b]) = self.arenas.get_disjoint_mut(arenas) {
            let (a, b) = (a.get(source)?, b.get_mut(target)?);
            (a.len() == b.len()).then(|| b.copy_from_slice(a))
        } else {
            // Both in the same one.
            let arena = self.arenas.get_mut(arenas[0])?;
            let fits = source.len() == target.len() && source.end.max(target.end) <= arena.len();
            fits.then(|| arena.copy_within(source, target.start))
        }
    }

    fn outcome(&self, ticket: Ticket) -> Result<(), FenceError> {
        if self.spoiled.contains(&ticket.0) {
            Err(FenceError::Failed)
        } else if self.lost && ticket.0 > self.done {
            Err(FenceError::Lost)
        } else {
            Ok(())
        }
    }
}

impl Mover for HostMover {
    fn copy(&mut self, from: &[Piece], to: &[Piece], _bytes: u64) -> Result<Ticket, CopyError> {
        if self.lost {
            return Err(CopyError::Lost);
        }
        if core::mem::take(&mut self.refuse_next) {
            return Err(CopyError::Failed);
        }
        for (from, to) in from.iter().zip(to) {
            let blocked = |detour: &&(MemoryType, MemoryType, MemoryType)| (detour.0, detour.1) == (from.memory, to.memory);
            if let Some((_, _, via)) = self.detours.iter().find(blocked) {
                return Err(CopyError::Via(*via));
            }
        }
        let spoil = core::mem::take(&mut self.spoil_next);
        self.started.push_back(Copy { from: from.to_vec(), to: to.to_vec(), spoil });
        self.last += 1;
        if !self.is_held() {
            self.do_until(self.last.saturating_sub(self.delay));
        }
        Ok(Ticket(self.last))
    }

    fn is_signalled(&mut self, ticket: Ticket) -> Result<bool, FenceError> {
        self.outcome(ticket)?;
        Ok(ticket.0 <= self.done)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<(), FenceError> {
        if !self.lost {
            while ticket.0 > self.done && self.is_held() {
                core::hint::spin_loop();
            }
            self.do_until(ticket.0);
        }
        self.outcome(ticket)
    }
}

#[cfg(feature = "conformance")]
impl Subject for HostMover {
    fn page_bytes(&self) -> usize {
        1 << self.page_shift
    }

    fn write_piece(&mut self, piece: Piece, bytes: &[u8]) {
        self.bytes_mut(piece).into_iter().for_each(|to| to.copy_from_slice(bytes));
    }

    fn read_piece(&mut self, piece: Piece, into: &mut [u8]) {
        self.bytes(piece).into_iter().for_each(|from| into.copy_from_slice(from));
    }

    fn hold(&mut self) -> Box<dyn FnOnce() + Send> {
        HostMover::hold(self)
    }

    fn detour(&mut self, from: MemoryType, to: MemoryType, via: MemoryType) {
        HostMover::detour(self, from, to, via);
    }
}
