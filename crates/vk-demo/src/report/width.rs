//! Tables no wider than what shows them.

use std::io::IsTerminal;

use comfy_table::{ColumnConstraint, ContentArrangement, Table};

/// No table is made narrower than this.
const LEAST: usize = 40;

/// Characters in a line of the terminal that the standard output is, or as `COLUMNS` says; none where nothing limits it.
pub(super) fn of_terminal() -> Option<usize> {
    if let Some(columns) = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0) {
        return Some(columns);
    }
    let stdout = std::io::stdout().is_terminal().then(console::Term::stdout)?;
    stdout.size_checked().map(|(_, columns)| usize::from(columns))
}

/// Whether a table is no wider than that.
pub(crate) fn fits(table: &Table, width: Option<usize>) -> bool {
    width.is_none_or(|width| table.lines().all(|line| line.chars().count() <= width))
}

/// A table that is no wider than that: without as many of its spare columns as it takes, and then with lines that are broken.
pub(crate) fn fitted(mut table: Table, width: Option<usize>, spare: &[usize]) -> String {
    let mut hidden = 0;
    for column in spare {
        if fits(&table, width) {
            break;
        }
        if let Some(column) = table.column_mut(*column) {
            column.set_constraint(ColumnConstraint::Hidden);
            hidden += 1;
        }
    }
    if let Some(width) = width.filter(|width| !fits(&table, Some(*width))) {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.max(LEAST) as u16);
    }
    match hidden {
        0 => table.to_string(),
        1 => format!("{table}\n(one column more where there is room)"),
        more => format!("{table}\n({more} columns more where there is room)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn req_82_a_table_is_no_wider_than_its_terminal_and_says_what_is_missing() {
        let table = || {
            let mut table = super::super::table(&["first", "second", "third"]);
            table.add_row(["long words in a row", "a number of them", "and more of that kind"]);
            table
        };
        assert!(!fitted(table(), None, &[1]).contains("more where"), "nothing limits it");
        let one = fitted(table(), Some(50), &[1, 2]);
        assert!(!one.contains("second") && one.contains("third") && one.contains("(one column more where there is room)"), "{one}");
        for width in [40, 45, 50, 60, 70, 80] {
            for spare in [&[][..], &[1], &[2, 1]] {
                let text = fitted(table(), Some(width), spare);
                assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
                assert!(text.contains("first"));
            }
        }
    }
}
