//! A move without a direct way: through a stop, at once if it fits there, otherwise in parts.
//!
//! Each part goes to the stop and on from there before the next one begins. So the stop needs room for one part only, and no more
//! than two copies of an object can have to be undone. The parts that have arrived when a later one fails stay where they are.

use alloc::vec::Vec;

use pgmap_alloc::PgmapOps;

use crate::ask::{Ask, Shape};
use crate::error::CopyError;
use crate::failure::Failure;
use crate::job::Shut;
use crate::manager::Manager;
use crate::mover::Mover;
use crate::piece::Piece;
use crate::place::{Flags, MemoryType, Place};
use crate::segment::{Pages, Segment, Segments, merge};

impl<'p, M: Mover, O: PgmapOps<Data = usize>> Manager<'p, M, O> {
    /// Moves the pages that were asked for into `new` through `stop`.
    pub(crate) fn bounce(&mut self, ask: &Ask<'_>, stop: MemoryType, mut new: Segments<'p, O>, shut: Shut) -> Result<(), Failure> {
        let bounced = match self.memories.get(stop.index()) {
            Some(memory) if !memory.gone => self.bounce_parts(ask, stop, &mut new, shut),
            _ => Err(Failure::Copy(CopyError::Via(stop))),
        };
        // Nothing, or what the parts that have not arrived were to stand in.
        self.release(self.objects[ask.key].owner, new);
        bounced
    }

    /// Takes what has been moved into out of `left`.
    fn bounce_parts(&mut self, ask: &Ask<'_>, stop: MemoryType, left: &mut Segments<'p, O>, shut: Shut) -> Result<(), Failure> {
        // One folio is for all of its pages at once.
        let least = if let Shape::OneFolio = ask.shape { ask.pages() } else { 1 };
        let mut at_most = ask.pages();
        let mut parts = 0;
        while !left.is_empty() {
            let part = self.cut_to_part(ask.key, left, at_most)?;
            let runs = merge(left[..part].iter().map(|(page, segment)| *page..page + segment.piece.pages));
            if let Err(why) = self.stop_over(ask.key, &runs, stop, shut) {
                if !why.is_of_place() {
                    return Err(why);
                }
                if at_most <= least {
                    return Err(Failure::StopFull(stop));
                }
                let pages: u64 = runs.iter().map(|run| run.end - run.start).sum();
                at_most = (pages / 2).max(least);
                continue;
            }
            // One move, in however many parts.
            self.counters.bounced += u64::from(parts == 0);
            parts += 1;
            let arriving: Segments<'p, O> = left.drain(..part).collect();
            match self.start_copy(ask.key, &arriving) {
                Ok(ticket) => self.switch(ask.key, &runs, arriving, ticket),
                Err(why) => {
                    self.undo_newest(ask.key);
                    self.release(self.objects[ask.key].owner, arriving);
                    return Err(Failure::Copy(why));
                }
            }
            if !left.is_empty() {
                self.arrive(ask.key)?;
            }
        }
        Ok(())
    }

    /// How many of the first segments have no more than so many pages together, after the first was cut if it has more by itself.
    fn cut_to_part(&mut self, key: usize, left: &mut Segments<'p, O>, at_most: u64) -> Result<usize, Failure> {
        while left.first().is_some_and(|(_, segment)| segment.piece.pages > at_most) {
            let (page, segment) = left.remove(0);
            let (parts, was_cut) = match segment.cut(at_most) {
                Ok(parts) => (Vec::from(parts), true),
                Err(whole) => (Vec::from([whole]), false),
            };
            let mut next = page;
            for (index, part) in parts.into_iter().enumerate() {
                let Piece { memory, first, pages } = part.piece;
                self.memories[memory.index()].note_holder(first, key, next);
                left.insert(index, (next, part));
                next += pages;
            }
            if !was_cut {
                return Err(Failure::Busy);
            }
        }
        let mut pages = 0;
        let fits = |(_, segment): &&(u64, Segment<'p, O>)| {
            pages += segment.piece.pages;
            pages <= at_most
        };
        Ok(left.iter().take_while(fits).count())
    }

    /// Takes a part of an object to the stop.
    fn stop_over(&mut self, key: usize, runs: &[Pages], stop: MemoryType, shut: Shut) -> Result<(), Failure> {
        let away = self.objects[key].runs_outside(stop, runs);
        let place = Place::new(stop).with(Flags::TEMPORARY);
        let ask = Ask { key, place: &place, runs: &away, shape: Shape::of(&place, self.objects[key].largest) };
        // What stands there already needs no room.
        let halfway = if away.is_empty() { Segments::new() } else { self.allocate_evicting(&ask, shut)? };
        let cut = runs.iter().try_for_each(|run| self.cut_out(key, run));
        let started = cut.and_then(|()| self.start_copy(key, &halfway).map_err(Failure::Copy));
        match started {
            Ok(ticket) => {
                self.switch(key, &away, halfway, ticket);
                Ok(())
            }
            Err(why) => {
                self.release(self.objects[key].owner, halfway);
                Err(why)
            }
        }
    }

    /// Waits until a part has arrived.
    fn arrive(&mut self, key: usize) -> Result<(), Failure> {
        let before = core::mem::take(&mut self.objects[key].undone);
        self.finish(key);
        match core::mem::replace(&mut self.objects[key].undone, before) {
            true => Err(Failure::Copy(CopyError::Failed)),
            false => Ok(()),
        }
    }
}
