//! `--baseline`: what has changed against a saved result of the same schema. A change is judged by what both results say of how much
//! they vary: where the middle halves overlap, it is none.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{Saved, align_right, fitted, table};
use crate::failure::Failure;

/// A saved result to compare with.
pub(crate) struct Baseline {
    name: String,
    leaves: BTreeMap<String, Value>,
}

impl Baseline {
    /// Reads it, before any work is done.
    pub(crate) fn read(path: &Path, schema: &str) -> Result<Baseline, Failure> {
        let saved: Value = Saved::read(path, schema)?.parse()?;
        Ok(Baseline { name: path.display().to_string(), leaves: leaves(&saved) })
    }

    /// Settings that were others then, and each number that is a result, beside the new one; judged by how much both of them vary.
    pub(crate) fn changes(
        &self,
        now: &impl Serialize,
        results: &[&str],
        settings: &[&str],
        width: Option<usize>,
    ) -> Result<Changes, Failure> {
        let now = serde_json::to_value(now).map_err(|error| Failure::Output(error.to_string()))?;
        let now = leaves(&now);
        let mut text = format!("Change against {}\n", self.name);
        for setting in settings {
            let (then, now) = (self.leaves.get(*setting), now.get(*setting));
            if then != now {
                let say = |value: Option<&Value>| value.map_or("nothing".into(), ToString::to_string);
                text += &format!("note: {setting} was {}, is {}\n", say(then), say(now));
            }
        }
        let (mut better, mut worse) = (0, Vec::new());
        let mut changes = table(&["", "then", "now", "change", ""]);
        for name in now.keys() {
            let Some(result) = results.iter().find(|result| name == *result || name.ends_with(&format!(".{result}"))) else {
                continue;
            };
            let (Some(then), Some(now)) = (Measured::of(&self.leaves, name), Measured::of(&now, name)) else { continue };
            let judged = judge(result, then, now);
            match judged {
                Change::Worse(percent) => worse.push((name.clone(), percent)),
                Change::Better => better += 1,
                Change::Within | Change::Not => {}
            }
            let (then, now) = (then.value, now.value);
            changes.add_row([name.clone(), number(then), number(now), change(then, now), judged.word().to_owned()]);
        }
        align_right(&mut changes, 1..=3);
        worse.sort_by(|a, b| b.1.total_cmp(&a.1));
        text += &fitted(changes, width, &[]);
        text += &format!("\nbeyond the spread: {} worse, {better} better", worse.len());
        if let Some((name, percent)) = worse.first() {
            text += &format!("; worst {name}, {percent:.1} % worse");
        }
        Ok(Changes { text, worse })
    }
}

/// What has changed.
pub(crate) struct Changes {
    /// For people.
    pub(crate) text: String,
    /// Results that are worse by more than they vary, and by how many percent; the worst first.
    worse: Vec<(String, f64)>,
}

impl Changes {
    /// What there is to say if anything is worse by more than so many percent.
    pub(crate) fn regression(&self, percent: f64) -> Option<String> {
        let count = self.worse.iter().filter(|(_, worse)| *worse > percent).count();
        let (name, worst) = self.worse.first().filter(|_| count > 0)?;
        Some(format!("{count} results are worse by more than {percent} %; the worst is {name}, {worst:.1} % worse"))
    }
}

/// A number, and between what its middle half lies; itself where nobody has said.
#[derive(Clone, Copy)]
struct Measured {
    value: f64,
    low: f64,
    high: f64,
}

impl Measured {
    /// The ends of the middle half stand beside it: `x_low` and `x_high` of `x`, `x_low_percent` of `x_percent`.
    fn of(leaves: &BTreeMap<String, Value>, name: &str) -> Option<Measured> {
        let value = leaves.get(name)?.as_f64()?;
        let end = |end: &str| {
            let name = match name.strip_suffix("_percent") {
                Some(name) => format!("{name}_{end}_percent"),
                None => format!("{name}_{end}"),
            };
            leaves.get(&name).and_then(Value::as_f64)
        };
        Some(Measured { value, low: end("low").unwrap_or(value), high: end("high").unwrap_or(value) })
    }
}

/// Results of which more is better.
const MORE_IS_BETTER: [&str; 4] = ["gb_per_s", "of_bulk_percent", "hit_percent", "largest_idle_bytes"];
/// Results that are neither good nor bad. Of all others less is better.
const NEITHER: [&str; 5] = ["refused", "copies", "evicted", "waits", "manager_percent"];

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    /// Neither good nor bad, or none at all.
    Not,
    /// The middle halves overlap.
    Within,
    Better,
    /// By so many percent.
    Worse(f64),
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Change::Not => "",
            Change::Within => "within the spread",
            Change::Better => "better",
            Change::Worse(_) => "WORSE",
        }
    }
}

fn judge(result: &str, then: Measured, now: Measured) -> Change {
    if then.value == now.value || NEITHER.contains(&result) {
        return Change::Not;
    }
    if now.low <= then.high && then.low <= now.high {
        return Change::Within;
    }
    if MORE_IS_BETTER.contains(&result) != (now.value < then.value) {
        return Change::Better;
    }
    // What was nothing and is something is worse by more than any share of nothing.
    Change::Worse(if then.value == 0.0 { f64::INFINITY } else { 100.0 * ((now.value - then.value) / then.value).abs() })
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.3}") }
}

fn change(then: f64, now: f64) -> String {
    if then == now {
        return "same".into();
    }
    if then == 0.0 { "new".into() } else { format!("{:+.1} %", 100.0 * (now - then) / then) }
}

/// Every value that is no object and no list of objects, by its path. The rows of a table are named by what tells them apart.
fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    walk(String::new(), value, &mut found);
    found
}

fn walk(path: String, value: &Value, found: &mut BTreeMap<String, Value>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| walk(below(name), value, found)),
        Value::Array(rows) if rows.iter().any(Value::is_object) => {
            for row in rows {
                let part = |name| row.get(name).map(|value: &Value| value.to_string().replace('"', ""));
                let parts: Vec<String> = ROW_NAMES.iter().filter_map(|name| Some(format!("{name} {}", part(name)?))).collect();
                if !parts.is_empty() {
                    walk(below(&parts.join(", ").replace("direction ", "").replace("mode ", "")), row, found);
                }
            }
        }
        leaf => {
            found.insert(path, leaf.clone());
        }
    }
}

/// Fields that tell the rows of a table apart.
const ROW_NAMES: [&str; 6] = ["bytes", "direction", "mode", "order", "policy", "allocator"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_found_row_by_row() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("then.json");
        let result = |speed: f64, seed: u64| {
            json!({"schema": "a/1", "seed": seed, "list": [1, 2],
                "rows": [{"order": 0, "mode": "bulk", "gb_per_s": 2.0}, {"order": 9, "mode": "bulk", "gb_per_s": speed}]})
        };
        std::fs::write(&path, result(4.0, 1).to_string()).unwrap();
        let baseline = Baseline::read(&path, "a/1").unwrap();
        let changes = baseline.changes(&result(5.0, 2), &["gb_per_s"], &["seed"], None).unwrap();
        let text = &changes.text;
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap().to_owned();
        assert!(line("rows.bulk, order 9.gb_per_s").contains("+25.0 %"), "{text}");
        assert!(line("rows.bulk, order 0.gb_per_s").contains("same"), "{text}");
        assert_eq!(line("note"), "note: seed was 1, is 2");
        assert!(line("beyond the spread").ends_with("0 worse, 1 better") && changes.regression(0.0).is_none());
        assert!(matches!(Baseline::read(&path, "a/2"), Err(Failure::Usage(_))));
    }

    #[test]
    fn req_82_a_change_within_the_spread_is_none_and_beyond_it_has_a_direction() {
        let of = |value: f64, half: f64| Measured { value, low: value - half, high: value + half };
        assert_eq!(judge("gb_per_s", of(10.0, 3.0), of(5.0, 2.0)), Change::Within);
        assert_eq!(judge("gb_per_s", of(10.0, 2.0), of(5.0, 2.0)), Change::Worse(50.0));
        assert_eq!(judge("gb_per_s", of(5.0, 2.0), of(10.0, 2.0)), Change::Better);
        assert_eq!(judge("ms", of(10.0, 2.0), of(15.0, 2.0)), Change::Worse(50.0));
        assert_eq!(judge("ms", of(10.0, 2.0), of(5.0, 2.0)), Change::Better);
        assert_eq!(judge("wrong_words", of(0.0, 0.0), of(1.0, 0.0)), Change::Worse(f64::INFINITY));
        assert_eq!(judge("waits", of(1.0, 0.0), of(9.0, 0.0)), Change::Not);
    }

    #[test]
    fn req_82_the_spread_is_read_from_beside_the_number() {
        let saved =
            leaves(&json!({"a": {"ms": 2.0, "ms_low": 1.0, "ms_high": 4.0, "of_bulk_percent": 50, "of_bulk_low_percent": 40,
            "of_bulk_high_percent": 60, "alone": 7}}));
        let found = |name: &str| Measured::of(&saved, name).map(|found| (found.low, found.value, found.high));
        assert_eq!(found("a.ms"), Some((1.0, 2.0, 4.0)));
        assert_eq!(found("a.of_bulk_percent"), Some((40.0, 50.0, 60.0)));
        assert_eq!(found("a.alone"), Some((7.0, 7.0, 7.0)));
        assert_eq!(found("a.none"), None);
    }

    #[test]
    fn req_82_a_regression_is_what_is_worse_by_more_than_was_asked() {
        let changes = Changes { text: String::new(), worse: vec![("a".into(), 70.0), ("b".into(), 20.0)] };
        assert_eq!(
            changes.regression(20.0).as_deref(),
            Some("1 results are worse by more than 20 %; the worst is a, 70.0 % worse")
        );
        assert!(changes.regression(19.9).is_some_and(|said| said.starts_with("2 ")) && changes.regression(70.0).is_none());
    }
}
