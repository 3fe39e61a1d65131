//! Figures of several repetitions, gathered into rows and printed.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::machine::Machine;
use crate::sample::Skip;
use crate::targets::{self, Target, Verdict};

/// One figure of the table: a work done by a peer.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was done.
    pub work: String,
    /// What the figures count.
    pub unit: &'static str,
    /// Who did it.
    pub peer: &'static str,
    /// The smallest figure of all repetitions.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// How many repetitions there were.
    pub reps: usize,
}

/// A place of the table without a figure, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Gap {
    /// What was to be done.
    pub work: String,
    /// By whom.
    pub peer: &'static str,
    /// Why it was not.
    pub why: String,
}

/// Everything that one run found out.
#[derive(Serialize)]
pub struct Report {
    /// The figures.
    pub rows: Vec<Row>,
    /// Where there are none.
    pub gaps: Vec<Gap>,
    /// What the figures say to the targets.
    pub targets: Vec<Verdict>,
    /// The conditions.
    pub machine: Machine,
}

/// Collects figures as they come, repetition by repetition.
#[derive(Default)]
pub struct Collector {
    figures: BTreeMap<Place, (&'static str, Vec<f64>)>,
    skips: BTreeMap<Place, Skip>,
}

/// Where a figure stands: numbers, so that the order of the table is that of the works and of the peers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    work: usize,
    row: usize,
    peer: usize,
    names: (String, &'static str),
}

impl Collector {
    /// One more outcome of work number `work` by peer number `peer`.
    pub fn add(
        &mut self,
        work: usize,
        rows: &[(String, &'static str)],
        peer: (usize, &'static str),
        outcome: Result<Vec<f64>, Skip>,
    ) {
        for (row, (name, unit)) in rows.iter().enumerate() {
            let place = Place { work, row, peer: peer.0, names: (name.clone(), peer.1) };
            match &outcome {
                Ok(values) => self.figures.entry(place).or_insert((unit, Vec::new())).1.extend(values.get(row)),
                Err(skip) => drop(self.skips.insert(place, *skip)),
            }
        }
    }

    /// Rows with their spread, held against the targets.
    pub fn report(self, targets: &[Target], machine: Machine) -> Report {
        let gaps = self.skips.into_iter().map(|(place, skip)| {
            let (work, peer) = place.names;
            Gap { work, peer, why: skip.to_string() }
        });
        let rows = self.figures.into_iter().filter_map(|(place, (unit, mut values))| {
            values.sort_by(f64::total_cmp);
            let (work, peer) = place.names;
            let (min, median) = (*values.first()?, *values.get(values.len() / 2)?);
            Some(Row { work, unit, peer, min, median, reps: values.len() })
        });
        let rows: Vec<Row> = rows.collect();
        Report { targets: targets::verdicts(targets, &rows), rows, gaps: gaps.collect(), machine }
    }
}

impl Report {
    /// The figures, the targets and the conditions.
    pub fn text(&self, peers: &[&'static str]) -> String {
        format!("{}\n\n{}\n\n{}\n", self.table(peers), self.target_table(), self.machine)
    }

    /// One line per work, one column per peer, medians.
    fn table(&self, peers: &[&'static str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["work", "unit"].into_iter().chain(peers.iter().copied()));
        for (work, unit) in self.works() {
            let cells = peers.iter().map(|peer| self.cell(&work, peer));
            table.add_row([work.clone(), unit.to_owned()].into_iter().chain(cells));
        }
        table.column_iter_mut().skip(2).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        table
    }

    /// One line per target.
    fn target_table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["", "work", "by", "figure", "target", "best peer", "times better", "met"]);
        for verdict in &self.targets {
            let Verdict { id, work, by, figure, target, rival, times_better, met } = verdict;
            let (rival, times) = (rival.unwrap_or("-"), times_better.map_or("-".into(), |times| format!("{times:.2}")));
            let met = if *met { "yes" } else { "NO" };
            table.add_row([id, work.as_str(), by, &number(*figure), target, rival, &times, met]);
        }
        table
    }

    /// One line per figure.
    pub fn csv(&self) -> String {
        let mut text = String::from("work,unit,peer,min,median,reps\n");
        for row in &self.rows {
            let Row { work, unit, peer, min, median, reps } = row;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\"{work}\",{unit},{peer},{min},{median},{reps}");
        }
        text
    }

    /// The names of the rows in the order of the works.
    fn works(&self) -> Vec<(String, &'static str)> {
        let mut works: Vec<(String, &'static str)> = Vec::new();
        for row in &self.rows {
            if works.last().is_none_or(|(work, _)| *work != row.work) {
                works.push((row.work.clone(), row.unit));
            }
        }
        works
    }

    fn cell(&self, work: &str, peer: &str) -> String {
        let figure = self.rows.iter().find(|row| row.work == work && row.peer == peer);
        let gap = || self.gaps.iter().find(|gap| gap.work == work && gap.peer == peer);
        match figure {
            Some(row) => number(row.median),
            None => gap().map_or_else(String::new, |gap| gap.why.clone()),
        }
    }
}

fn number(figure: f64) -> String {
    match figure {
        100.0.. => format!("{figure:.0}"),
        1.0.. => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_the_order_of_the_works_and_say_their_spread() {
        let mut collector = Collector::default();
        let (first, second) = ([("z".to_owned(), "ns")], [("a".to_owned(), "ns")]);
        for value in [3.0, 1.0, 2.0] {
            collector.add(1, &second, (0, "peer"), Ok(vec![value * 10.0]));
            collector.add(0, &first, (0, "peer"), Ok(vec![value]));
        }
        collector.add(0, &first, (1, "other"), Err(Skip::TooSlow));
        let report = collector.report(&[], Machine::here());
        let rows: Vec<_> = report.rows.iter().map(|row| (row.work.as_str(), row.min, row.median, row.reps)).collect();
        assert_eq!(rows, [("z", 1.0, 2.0, 3), ("a", 10.0, 20.0, 3)]);
        let table = report.table(&["peer", "other"]).to_string();
        assert!(table.contains("cut off") && table.find("| z").is_some_and(|z| table.find("| a").is_some_and(|a| z < a)));
        assert_eq!(report.csv().lines().nth(1), Some("\"z\",ns,peer,1,2,3"));
    }
}
