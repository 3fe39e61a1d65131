//! Throwaway.
use benches::peer::Peer;
use benches::peers::ours::{Pool, PoolHandle};
use benches::trace::{Slots, Trace};
fn run<P: Peer>(gib: u64, steps: usize, t: bool) {
    let pages = gib << 18;
    let mut peer = P::build(pages).unwrap();
    let mut hand = peer.hand();
    let trace = Trace::churn(pages * 80 / 100, 2 * steps, 1);
    let mut slots = Slots::new(trace.slots);
    let (warm, counted) = trace.churn.split_at(steps);
    trace.fill.iter().chain(warm).for_each(|step| slots.apply(&mut hand, *step));
    let n = if t { 5 } else { 1 };
    let chunk = counted.len() / n;
    for c in counted.chunks(chunk) {
        let s = std::time::Instant::now();
        go(&mut slots, &mut hand, c);
        if t {
            eprintln!("{:.1} ns/pair", s.elapsed().as_nanos() as f64 / (c.len() as f64 / 2.0));
        }
    }
}
#[inline(never)]
fn go<H: benches::peer::Hand>(slots: &mut Slots<H::Block>, hand: &mut H, steps: &[benches::trace::Step]) {
    for s in steps {
        slots.apply(hand, *s);
    }
}
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let steps: usize = a[1].parse().unwrap();
    let gib = a[2].parse().unwrap();
    eprintln!("{}", steps / 2);
    if a[0] == "handle" {
        run::<PoolHandle>(gib, steps, a.len() > 3)
    } else if a[0] == "oa" {
        run::<benches::peers::offset_allocator::OffsetAllocator>(gib, steps, a.len() > 3)
    } else {
        run::<Pool>(gib, steps, a.len() > 3)
    }
}
