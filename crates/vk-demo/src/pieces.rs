//! Contiguous stretches of memory, and the regions that a copy between two lists of them comes to.

use crate::device::DeviceError;

/// Which memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Memory {
    /// The staging memory.
    Staging,
    /// A memory object: a range of the pgmap.
    Object(usize),
    /// An object whose memory is managed by another allocator.
    Lent(usize),
    /// A view: what it shows lies in memory objects. Pieces of views and of memory objects are not known to overlap.
    View(usize),
}

/// A contiguous stretch of one memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where.
    pub(crate) memory: Memory,
    /// Its first byte.
    pub(crate) start: u64,
    /// Its length.
    pub(crate) bytes: u64,
}

impl Piece {
    /// A stretch of the staging memory.
    pub(crate) fn staging(start: u64, bytes: u64) -> Piece {
        Piece { memory: Memory::Staging, start, bytes }
    }

    /// The first byte after it.
    pub(crate) fn end(self) -> u64 {
        self.start + self.bytes
    }
}

/// Bytes that one command can copy: contiguous on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Where they are.
    pub(crate) from: Piece,
    /// Where they go.
    pub(crate) to: Piece,
}

impl Region {
    /// Keeps the first so many bytes, and returns the rest, if there is any.
    pub(crate) fn split_off(&mut self, most: u64) -> Option<Region> {
        if self.to.bytes <= most {
            return None;
        }
        let rest = |piece: Piece| Piece { start: piece.start + most, bytes: piece.bytes - most, ..piece };
        let after = Region { from: rest(self.from), to: rest(self.to) };
        (self.from.bytes, self.to.bytes) = (most, most);
        Some(after)
    }
}

/// Total length of a list.
pub(crate) fn total(pieces: &[Piece]) -> u64 {
    pieces.iter().map(|piece| piece.bytes).sum()
}

/// Appends a piece, as part of the last one where they touch.
pub(crate) fn push_merged(pieces: &mut Vec<Piece>, piece: Piece) {
    match pieces.last_mut() {
        Some(last) if last.memory == piece.memory && last.end() == piece.start => last.bytes += piece.bytes,
        _ => pieces.push(piece),
    }
}

/// Checks a whole copy and cuts it into regions; nothing is done with any of it before all of it is known to be good.
pub(crate) fn regions(from: &[Piece], to: &[Piece], size_of: impl Fn(Memory) -> Option<u64>) -> Result<Vec<Region>, DeviceError> {
    inside(from, &size_of)?;
    inside(to, &size_of)?;
    if total(from) != total(to) {
        return Err(DeviceError::Uneven { from: total(from), to: total(to) });
    }
    let regions: Vec<Region> = Zip { from: Cut::new(from), to: Cut::new(to) }.collect();
    if sides_overlap(&regions) { Err(DeviceError::Overlap) } else { Ok(regions) }
}

/// Refuses pieces that reach beyond their memory.
pub(crate) fn inside(pieces: &[Piece], size_of: impl Fn(Memory) -> Option<u64>) -> Result<(), DeviceError> {
    let fits = |piece: &Piece| {
        let end = piece.start.checked_add(piece.bytes);
        end.zip(size_of(piece.memory)).is_some_and(|(end, size)| end <= size)
    };
    if pieces.iter().all(fits) { Ok(()) } else { Err(DeviceError::OutOfBounds) }
}

/// Whether any byte is both read and written: what a copy then does would depend on the order of its regions.
fn sides_overlap(regions: &[Region]) -> bool {
    let mut spans: Vec<(Memory, u64, u64, bool)> = Vec::new();
    for region in regions.iter().filter(|region| region.from.memory == region.to.memory) {
        spans.push((region.from.memory, region.from.start, region.from.end(), false));
        spans.push((region.to.memory, region.to.start, region.to.end(), true));
    }
    spans.sort_unstable();
    spans.chunk_by(|a, b| a.0 == b.0).any(|one_memory| {
        // How far the spans of each side reach that start no later than the one at hand.
        let mut reach = [0, 0];
        one_memory.iter().any(|&(_, start, end, written)| {
            let side = usize::from(written);
            reach[side] = end.max(reach[side]);
            start < reach[1 - side]
        })
    })
}

/// Walks two lists of equal total length, cutting wherever a piece of either ends.
struct Zip<'a> {
    from: Cut<'a>,
    to: Cut<'a>,
}

impl Iterator for Zip<'_> {
    type Item = Region;

    fn next(&mut self) -> Option<Region> {
        let bytes = self.from.left()?.min(self.to.left()?);
        Some(Region { from: self.from.take(bytes)?, to: self.to.take(bytes)? })
    }
}

/// A list of which a part has been taken.
struct Cut<'a> {
    pieces: &'a [Piece],
    taken: u64,
}

impl<'a> Cut<'a> {
    fn new(pieces: &'a [Piece]) -> Cut<'a> {
        Cut { pieces, taken: 0 }
    }

    /// What is left of the first piece that is not empty.
    fn left(&mut self) -> Option<u64> {
        while self.pieces.first()?.bytes == self.taken {
            self.pieces = &self.pieces[1..];
            self.taken = 0;
        }
        Some(self.pieces.first()?.bytes - self.taken)
    }

    fn take(&mut self, bytes: u64) -> Option<Piece> {
        let piece = self.pieces.first()?;
        let taken = Piece { memory: piece.memory, start: piece.start + self.taken, bytes };
        self.taken += bytes;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn object(start: u64, bytes: u64) -> Piece {
        Piece { memory: Memory::Object(0), start, bytes }
    }

    fn plan(from: &[Piece], to: &[Piece]) -> Result<Vec<Region>, DeviceError> {
        regions(from, to, |memory| match memory {
            Memory::Staging => Some(1000),
            Memory::Object(0) => Some(500),
            Memory::Object(_) | Memory::Lent(_) | Memory::View(_) => None,
        })
    }

    #[test]
    fn a_copy_is_cut_where_either_side_ends() {
        let from = [Piece::staging(0, 30), Piece::staging(100, 0), Piece::staging(200, 30)];
        let to = [object(0, 10), object(50, 40), object(400, 10)];
        let expected = [((0, 0), 10), ((10, 50), 20), ((200, 70), 20), ((220, 400), 10)];
        let expected: Vec<Region> = expected
            .iter()
            .map(|&((from, to), bytes)| Region { from: Piece::staging(from, bytes), to: object(to, bytes) })
            .collect();
        assert_eq!(plan(&from, &to).unwrap(), expected);
    }

    #[test]
    fn a_copy_that_cannot_be_is_refused_whole() {
        let ten = [Piece::staging(0, 10)];
        assert_eq!(plan(&ten, &[object(495, 10)]), Err(DeviceError::OutOfBounds));
        assert_eq!(plan(&ten, &[object(u64::MAX, 10)]), Err(DeviceError::OutOfBounds));
        assert_eq!(plan(&ten, &[Piece { memory: Memory::Object(1), start: 0, bytes: 10 }]), Err(DeviceError::OutOfBounds));
        assert_eq!(plan(&ten, &[object(0, 9)]), Err(DeviceError::Uneven { from: 10, to: 9 }));
        assert_eq!(plan(&[object(0, 10)], &[object(5, 10)]), Err(DeviceError::Overlap));
        assert_eq!(plan(&[], &[]), Ok(vec![]));
    }

    #[test]
    fn bytes_that_are_read_and_written_are_refused_across_regions_too() {
        let chain = plan(&[object(0, 10), object(10, 10)], &[object(10, 10), object(20, 10)]);
        assert_eq!(chain, Err(DeviceError::Overlap));
        assert!(plan(&[object(0, 10), object(20, 10)], &[object(10, 10), object(30, 10)]).is_ok());
    }

    #[test]
    fn req_82_a_region_that_is_too_long_is_cut() {
        let mut region = Region { from: Piece::staging(5, 25), to: object(100, 25) };
        let mut rest = region.split_off(10).unwrap();
        assert_eq!(region, Region { from: Piece::staging(5, 10), to: object(100, 10) });
        assert_eq!(rest, Region { from: Piece::staging(15, 15), to: object(110, 15) });
        assert_eq!(rest.split_off(15), None);
    }

    #[test]
    fn touching_pieces_become_one() {
        let mut pieces = vec![];
        for piece in [object(0, 4), object(4, 4), Piece::staging(8, 4), object(8, 4), object(16, 4)] {
            push_merged(&mut pieces, piece);
        }
        assert_eq!(pieces, [object(0, 8), Piece::staging(8, 4), object(8, 4), object(16, 4)]);
    }
}
