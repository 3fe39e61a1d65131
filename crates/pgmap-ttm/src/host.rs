//! A mover without a device: every memory type is an array of bytes, and copies are done late on purpose.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use crate::error::{CopyError, FenceError};
use crate::mover::Mover;
use crate::piece::{Piece, Ticket};
use crate::place::MemoryType;

/// Copies between arrays of bytes.
///
/// A copy is done when it is waited for, or when `delay` later copies have been started, and not a moment earlier: whoever
/// frees or reads pages too soon finds the wrong bytes.
#[derive(Debug)]
pub struct HostMover {
    page_bytes: usize,
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
            page_bytes: 1 << page_shift,
            arenas: Vec::new(),
            started: VecDeque::new(),
            delay,
            last: 0,
            done: 0,
            spoiled: Vec::new(),
            spoil_next: false,
            refuse_next: false,
            lost: false,
            detours: Vec::new(),
        }
    }

    /// Adds the bytes of the next memory type, in the order in which the manager is given them; as far as its last page.
    pub fn add(&mut self, pages: u64) {
        self.arenas.push(vec![0; pages as usize * self.page_bytes]);
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

    /// From now on nothing works: copies that were not done yet never will be.
    pub fn lose(&mut self) {
        self.lost = true;
        self.started.clear();
    }

    /// The bytes of a piece.
    pub fn bytes(&self, piece: Piece) -> &[u8] {
        &self.arenas[piece.memory.index()][self.range(piece)]
    }

    /// The bytes of a piece, to write to.
    pub fn bytes_mut(&mut self, piece: Piece) -> &mut [u8] {
        let range = self.range(piece);
        &mut self.arenas[piece.memory.index()][range]
    }

    fn range(&self, piece: Piece) -> core::ops::Range<usize> {
        piece.first as usize * self.page_bytes..(piece.first + piece.pages) as usize * self.page_bytes
    }

    fn do_until(&mut self, ticket: u64) {
        while self.done < ticket.min(self.last) {
            self.done += 1;
            let Some(copy) = self.started.pop_front() else { continue };
            if copy.spoil {
                self.spoiled.push(self.done);
            }
            for (from, to) in copy.from.iter().zip(&copy.to) {
                if copy.spoil {
                    self.bytes_mut(*to).fill(0xdb);
                } else {
                    self.copy_bytes(*from, *to);
                }
            }
        }
    }

    fn copy_bytes(&mut self, from: Piece, to: Piece) {
        let (source, target) = (self.range(from), self.range(to));
        let arenas = [from.memory.index(), to.memory.index()];
        match self.arenas.get_disjoint_mut(arenas) {
            Ok([a, b]) => b[target].copy_from_slice(&a[source]),
            // Both in the same one.
            Err(_) => self.arenas[arenas[0]].copy_within(source, target.start),
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
        self.do_until(self.last.saturating_sub(self.delay));
        Ok(Ticket(self.last))
    }

    fn is_signalled(&mut self, ticket: Ticket) -> Result<bool, FenceError> {
        self.outcome(ticket)?;
        Ok(ticket.0 <= self.done)
    }

    fn wait(&mut self, ticket: Ticket) -> Result<(), FenceError> {
        if !self.lost {
            self.do_until(ticket.0);
        }
        self.outcome(ticket)
    }
}
