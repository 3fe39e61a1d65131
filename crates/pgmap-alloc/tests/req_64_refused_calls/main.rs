//! Requirement 64: a call that is refused or undone changes nothing that can be seen.
//!
//! Every verb that can be refused is run into every variant of its error. Before and after, everything that can be seen is written down:
//! what each page is and holds, who has it and how often, what is counted, and what would be served next. `coverage` reads the
//! sources: a verb or a variant without a case, and without a reason why it has none, fails the test.

#![cfg(all(feature = "std", feature = "alloc"))]
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod books;
mod coverage;
mod gates;
mod map;
mod pool;
#[path = "../support/mod.rs"]
mod support;

use std::fmt::Debug;

use pgmap_alloc::Refused;

/// A verb that is to be refused in one way.
pub struct Case<W> {
    /// As `coverage` names it.
    verb: &'static str,
    /// The variant of its error.
    error: &'static str,
    /// Everything up to the call.
    make: fn() -> W,
    /// The call; says how it was refused.
    call: fn(&mut W) -> String,
}

/// Something that verbs are called on.
pub trait World {
    /// Everything that can be seen, a line for each thing.
    fn dump(&self) -> Vec<String>;

    /// What would be served next.
    fn next(&mut self) -> Next;
}

/// What would be served next.
pub struct Next {
    /// How.
    served: String,
    /// And where.
    places: String,
}

/// To say that there is nothing, a pool looks through what came back last and merges what it keeps split: the same can be had
/// afterwards, at other places.
const SEARCHED: [&str; 6] = ["NoSpace", "Fragmented", "NoneCleared", "ListFull", "Refused", "Pool"];

/// How a call was refused.
pub fn said<T, E: Debug>(result: Result<T, E>) -> String {
    result.map_or_else(|error| format!("{error:?}"), |_| "served".to_owned())
}

/// The same where what was asked for comes back in the error, and is kept.
pub fn said_and<T, E: Debug, B>(result: Result<T, Refused<E, B>>, keep: impl FnOnce(B)) -> String {
    match result {
        Ok(_) => "served".to_owned(),
        Err(Refused { error, value }) => {
            keep(value);
            format!("{error:?}")
        }
    }
}

/// Lists cases of one maker.
#[macro_export]
macro_rules! cases {
    ($list:ident, $make:expr; $($verb:literal $error:literal |$w:ident| $call:expr;)+) => {
        $($list.push($crate::Case { verb: $verb, error: $error, make: $make, call: |$w| $call });)+
    };
}

/// Runs cases; says what was wrong with them.
fn run<W: World>(cases: &[Case<W>]) -> Vec<String> {
    cases.iter().flat_map(|case| [check(case), check_next(case)].into_iter().flatten()).collect()
}

fn check<W: World>(case: &Case<W>) -> Option<String> {
    let mut world = (case.make)();
    let before = world.dump();
    let answer = (case.call)(&mut world);
    let after = world.dump();
    let name = format!("{} {}", case.verb, case.error);
    if !answer.starts_with(case.error) {
        return Some(format!("{name}: answered {answer}"));
    }
    let lines = before.iter().zip(&after).find(|(before, after)| before != after);
    let lines = lines.map(|(before, after)| format!("{name} ({answer}):\n    before {before}\n    after  {after}"));
    lines.or_else(|| {
        (before.len() != after.len()).then(|| format!("{name} ({answer}): {} lines before, {} after", before.len(), after.len()))
    })
}

/// The same world, once with the call and once without.
fn check_next<W: World>(case: &Case<W>) -> Option<String> {
    let next = |call: bool| {
        let mut world = (case.make)();
        if call {
            (case.call)(&mut world);
        }
        world.next()
    };
    let (without, with) = (next(false), next(true));
    let says = |what: &str, without: &str, with: &str| {
        (without != with).then(|| format!("{} {}: {what}\n    without it {without}\n    after it   {with}", case.verb, case.error))
    };
    let places = || if SEARCHED.contains(&case.error) { None } else { says("serves next at", &without.places, &with.places) };
    says("serves next", &without.served, &with.served).or_else(places)
}

/// What is served, without the places.
pub fn next_of(answers: &[(String, String)]) -> Next {
    let of = |pick: fn(&(String, String)) -> &String| answers.iter().map(pick).cloned().collect::<Vec<_>>().join(", ");
    Next { served: of(|answer| &answer.0), places: of(|answer| &answer.1) }
}

/// One answer: what it is, and where.
pub fn answer<T, E: Debug>(
    result: Result<T, E>,
    what: impl FnOnce(&T) -> String,
    place: impl FnOnce(T) -> String,
) -> (String, String) {
    match result {
        Ok(value) => (what(&value), place(value)),
        Err(error) => (format!("{error:?}"), String::new()),
    }
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn req_64_a_pool_is_after_a_refusal_what_it_was_before() {
    assert_none(&run(&pool::cases()));
}

#[test]
fn req_64_a_pgmap_is_after_a_refusal_what_it_was_before() {
    assert_none(&run(&map::cases()));
}

#[test]
fn req_64_the_books_are_after_a_refusal_what_they_were_before() {
    assert_none(&run(&books::cases()));
}

#[test]
fn req_64_every_verb_is_run_into_every_error_of_its_own() {
    let mut ran: Vec<(&str, &str)> = pool::cases().iter().map(|case| (case.verb, case.error)).collect();
    ran.extend(map::cases().iter().map(|case| (case.verb, case.error)));
    ran.extend(books::cases().iter().map(|case| (case.verb, case.error)));
    assert_none(&coverage::missing(&ran));
}
