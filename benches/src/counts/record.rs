//! The record of counts in the tree: read, compared, written.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use super::cases::Case;

/// A change by more than this share of the recorded count is to be noticed.
const TOLERANCE: f64 = 0.05;

/// What was counted, and with which compiler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The compiler's own words: another one makes other code.
    pub rustc: String,
    /// One count per case.
    pub counts: Vec<Count>,
}

/// The instructions of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// What is done.
    pub work: String,
    /// Who does it.
    pub path: String,
    /// What the count is for.
    pub unit: String,
    /// Instructions per unit, to one decimal.
    pub instructions: f64,
}

/// A count that is not what was recorded.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// By more than the tolerance.
    Count {
        /// As recorded.
        was: Count,
        /// As counted now.
        is: f64,
    },
    /// There was no such case.
    New(Count),
    /// The case is gone.
    Gone(Count),
}

impl Record {
    /// Puts what gungraun printed, one JSON object a line, beside the cases that it was told to run.
    pub fn new(rustc: &str, cases: &[Case], output: &str) -> Result<Record, Unreadable> {
        let lines: Vec<Line> = output.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(Unreadable::Line)?;
        let counts = cases.iter().zip(ids()).map(|(case, id)| {
            let line = lines.iter().find(|line| line.id == id).ok_or_else(|| Unreadable::Missing(case.work.clone()))?;
            let total = line.instructions().ok_or_else(|| Unreadable::Missing(case.work.clone()))?;
            let instructions = (total as f64 / case.units as f64 * 10.0).round() / 10.0;
            Ok(Count { work: case.work.clone(), path: case.path.into(), unit: case.unit.into(), instructions })
        });
        Ok(Record { rustc: rustc.trim().into(), counts: counts.collect::<Result<_, _>>()? })
    }

    /// What differs in `now`.
    pub fn changes(&self, now: &Record) -> Vec<Change> {
        let known = self.counts.iter().filter_map(|was| match now.find(was) {
            None => Some(Change::Gone(was.clone())),
            Some(is) if (is.instructions - was.instructions).abs() > TOLERANCE * was.instructions => {
                Some(Change::Count { was: was.clone(), is: is.instructions })
            }
            Some(_) => None,
        });
        let new = now.counts.iter().filter(|count| self.find(count).is_none()).cloned().map(Change::New);
        known.chain(new).collect()
    }

    fn find(&self, like: &Count) -> Option<&Count> {
        self.counts.iter().find(|count| count.work == like.work && count.path == like.path)
    }

    /// One line per work, one column per path.
    pub fn markdown(&self) -> String {
        let mut paths: Vec<&str> = Vec::new();
        let mut works: Vec<(&str, &str)> = Vec::new();
        for count in &self.counts {
            if !paths.contains(&&*count.path) {
                paths.push(&count.path);
            }
            if !works.iter().any(|(work, _)| *work == count.work) {
                works.push((&count.work, &count.unit));
            }
        }
        let mut text = format!("| instructions for | one | {} |\n|---|---|{}\n", paths.join(" | "), "--:|".repeat(paths.len()));
        for (work, unit) in works {
            let cell = |path: &&str| {
                let count = self.counts.iter().find(|count| count.work == work && count.path == *path);
                count.map_or("-".into(), |count| format!("{:.1}", count.instructions))
            };
            let cells: Vec<String> = paths.iter().map(cell).collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {work} | {unit} | {} |", cells.join(" | "));
        }
        text
    }
}

/// What gungraun calls the cases, in their order: the name of the bench and a number.
pub fn ids() -> impl Iterator<Item = String> {
    (0..).map(|number| format!("number_{number}"))
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Count { was, is } => {
                let percent = (is / was.instructions - 1.0) * 100.0;
                write!(f, "{}, {}: {} -> {is} per {} ({percent:+.1} %)", was.work, was.path, was.instructions, was.unit)
            }
            Change::New(count) => write!(f, "{}, {}: new, {} per {}", count.work, count.path, count.instructions, count.unit),
            Change::Gone(count) => write!(f, "{}, {}: not counted any more", count.work, count.path),
        }
    }
}

/// Why gungraun's output says nothing.
#[derive(Debug)]
pub enum Unreadable {
    /// A line that is not what gungraun 0.20 prints.
    Line(serde_json::Error),
    /// No count for this work.
    Missing(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Line(error) => write!(f, "not a line of gungraun's: {error}"),
            Unreadable::Missing(work) => write!(f, "no count for {work:?}"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// A line of gungraun's JSON: one case. Only what is read here.
#[derive(Deserialize)]
struct Line {
    id: String,
    profiles: Vec<serde_json::Value>,
}

impl Line {
    fn instructions(&self) -> Option<u64> {
        self.profiles.iter().find_map(|profile| profile.pointer("/data/total/metrics/Ir/values/new")?.as_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(counts: &[(&str, f64)]) -> Record {
        let count = |&(work, instructions): &(&str, f64)| Count {
            work: work.into(),
            path: "handle".into(),
            unit: "pair".into(),
            instructions,
        };
        Record { rustc: "rustc".into(), counts: counts.iter().map(count).collect() }
    }

    #[test]
    fn a_change_of_more_than_a_twentieth_is_noticed_in_both_directions() {
        let then = record(&[("a", 100.0), ("b", 100.0), ("c", 100.0), ("gone", 1.0)]);
        let now = record(&[("a", 105.0), ("b", 105.1), ("c", 94.9), ("new", 1.0)]);
        let told: Vec<String> = then.changes(&now).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "b, handle: 100 -> 105.1 per pair (+5.1 %)",
                "c, handle: 100 -> 94.9 per pair (-5.1 %)",
                "gone, handle: not counted any more",
                "new, handle: new, 1 per pair"
            ]
        );
        assert_eq!(then.changes(&then), []);
    }

    #[test]
    fn what_gungraun_prints_is_read_by_its_number() {
        let cases: Vec<Case> = super::super::cases().into_iter().take(2).collect();
        let line = |id: &str, ir: u64| {
            format!(r#"{{"id":"{id}","profiles":[{{"data":{{"total":{{"metrics":{{"Ir":{{"values":{{"new":{ir}}}}}}}}}}}}}]}}"#)
        };
        let output = [line("number_1", cases[1].units * 3), line("number_0", cases[0].units * 7 / 2)].join("\n");
        let counts = Record::new("rustc 1", &cases, &output).map(|record| record.counts);
        assert!(counts.is_ok_and(|counts| counts[0].instructions == 3.5 && counts[1].instructions == 3.0));
        assert!(matches!(Record::new("rustc 1", &cases, &line("number_0", 1)), Err(Unreadable::Missing(_))));
    }
}
