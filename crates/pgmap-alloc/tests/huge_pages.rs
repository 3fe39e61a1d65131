//! Metadata on huge pages: a pgmap over it works as any other, and only what is used is touched.

#![cfg(all(feature = "huge-pages", not(loom)))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use pgmap_alloc::{BuildError, HugePages, Order, Params, Pgmap, PgmapOps, StorageNeeded, storage_needed};
use support::{Driver, at, order, partition, range};

fn metadata<O: PgmapOps>(params: &Params<'_>) -> HugePages {
    HugePages::new(storage_needed::<O, 8>(params).unwrap()).unwrap()
}

#[test]
fn a_pgmap_over_it_works_as_any_other() {
    let vram = [range(512, 1 << 12), range(1 << 20, 777)];
    let params = Params::new(&vram);
    let mut huge = metadata::<Driver>(&params);
    let pgmap = Pgmap::with_zeroed_storage(&params, huge.storage().unwrap(), Driver::default()).unwrap();
    let end = pgmap.ranges().last().unwrap().end();
    let last = pgmap.request_folio_with(at(end.get() - 1), Order::ZERO, 99).unwrap();
    let folios: Vec<_> = (0..10).map(|k| pgmap.alloc_folio_with(order(k), u64::from(k)).unwrap()).collect();
    assert_eq!(last.data(), 99, "the last page has a word and a cell");
    assert_eq!(partition(&pgmap).in_service, 1024);
    drop((folios, last));
    assert_eq!(pgmap.ops().calls(), 11);
    assert_eq!(partition(&pgmap).idle, (1 << 12) + 777);
}

#[test]
fn it_is_aligned_zeroed_and_lent_once() {
    let vram = [range(0, 1 << 20)];
    let mut huge = metadata::<Driver>(&Params::new(&vram));
    let storage = huge.storage().unwrap();
    assert!(storage.tables.as_ptr().addr().is_multiple_of(2 << 20));
    assert!(storage.words.iter().all(|word| format!("{word:?}") == format!("{:?}", pgmap_alloc::Word::default())));
    assert_eq!(storage.data.len(), 1 << 20);
    assert!(huge.storage().is_none(), "it may have been written");
}

/// As the operating system tells it: the mapping that carries the advice, and how much of it is there.
#[test]
fn it_is_advised_and_a_large_pgmap_touches_little() {
    const TIB: u64 = 1 << 28;
    let vram = [range(0, 4 * TIB)];
    let params = Params::new(&vram);
    let mut huge = metadata::<()>(&params);
    if !huge.is_advised() {
        println!("skipped: this system takes no advice on huge pages");
        return;
    }
    let storage = huge.storage().unwrap();
    let place = storage.words.as_ptr().addr();
    let pgmap = Pgmap::with_zeroed_storage(&params, storage, ()).unwrap();
    drop(pgmap.alloc_folio(Order::ZERO).unwrap());
    let Some((flags, resident)) = mapping(place) else {
        println!("skipped: this system does not tell how its memory is mapped");
        return;
    };
    assert!(flags.contains("hg"), "flags are {flags}");
    assert!(resident < 16 << 10, "{resident} KiB of 8 GiB are there");
}

/// The flags of the mapping at `place`, and how many KiB of it are in memory.
fn mapping(place: usize) -> Option<(String, u64)> {
    let maps = std::fs::read_to_string("/proc/self/smaps").ok()?;
    let mut lines = maps.lines().skip_while(|line| {
        let range = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
        let hex = |text| usize::from_str_radix(text, 16).ok();
        !range.and_then(|(start, end)| Some((hex(start)?..hex(end)?).contains(&place))).unwrap_or(false)
    });
    let resident = lines.find_map(|line| line.strip_prefix("Rss:"))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let flags = lines.find_map(|line| line.strip_prefix("VmFlags:"))?.trim().to_owned();
    Some((flags, resident))
}

#[test]
fn more_than_there_is_room_for_is_refused() {
    for words in [1 << 58, usize::MAX] {
        let needed = StorageNeeded { tables: 1, ranges: 1, words, data: 0 };
        assert_eq!(HugePages::<8>::new(needed).err(), Some(BuildError::OutOfMemory));
    }
}
