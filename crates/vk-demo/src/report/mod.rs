//! Results: where they go, and what their forms have in common.

mod baseline;
mod coverage;
mod file;
mod gaps;
mod heat_map;
mod output;
mod saved;
mod saved_map;
mod timeline;
mod used;
mod whole;
mod width;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

pub(crate) use baseline::{Baseline, Changes};
pub(crate) use coverage::Coverage;
pub(crate) use file::{OpenFile, distinct};
pub(crate) use gaps::Gaps;
pub(crate) use heat_map::{Cell, Cells, HeatMap, State, UNITS};
pub(crate) use output::{Output, to_stdout};
pub(crate) use saved::Saved;
pub(crate) use timeline::{Moment, Timeline};
pub(crate) use whole::{Circumstances, Head, Outcome, Report};
pub(crate) use width::{fits, fitted};

use crate::device::DeviceInfo;

/// Which of the three kinds of device this is, in plain words.
pub(crate) fn headline(info: &DeviceInfo) -> String {
    format!("Ran on: {}", info.kind.words())
}

/// An empty table in the one style that all results have.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    if header.iter().any(|name| !name.is_empty()) {
        table.set_header(header);
    }
    table
}

/// A table of facts: what, how much, and what more there is to say of it.
pub(crate) fn facts<const N: usize>(facts: [(&str, String, String); N]) -> Table {
    let mut table = table(&["", "", ""]);
    for (what, value, more) in facts {
        table.add_row([what.to_owned(), value, more]);
    }
    align_right(&mut table, [1]);
    table
}

/// Puts the numbers of these columns under each other.
pub(crate) fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Counts by order, without the orders that have none.
pub(crate) fn by_order(counts: &[u64]) -> String {
    let some: Vec<String> =
        counts.iter().enumerate().filter(|&(_, &count)| count > 0).map(|(order, count)| format!("o{order}:{count}")).collect();
    some.chunks(6).map(|line| line.join(" ")).collect::<Vec<_>>().join("\n")
}

/// The middle one of these values; no number where there are none.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value that this share of the others is below; no number where there are none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(&[5.0, 1.0, 3.0, 2.0, 4.0]), 3.0);
        assert_eq!([0.25, 0.75].map(|share| quantile(&[5.0, 1.0, 3.0, 2.0, 4.0], share)), [2.0, 4.0]);
        assert!(median(&[]).is_nan());
    }
}
