//! `--baseline`: what has changed against a saved result of the same schema.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{Saved, align_right, table};
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

    /// Settings that were others then, and each number that is a result, beside the new one.
    pub(crate) fn changes(&self, now: &impl Serialize, results: &[&str], settings: &[&str]) -> Result<String, Failure> {
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
        let mut changes = table(&["", "then", "now", "change"]);
        for (name, value) in &now {
            let is_result = results.iter().any(|result| name == result || name.ends_with(&format!(".{result}")));
            let (Some(then), Some(now)) = (self.leaves.get(name).and_then(Value::as_f64), value.as_f64()) else { continue };
            if is_result {
                changes.add_row([name.clone(), number(then), number(now), change(then, now)]);
            }
        }
        align_right(&mut changes, 1..=3);
        Ok(text + &changes.to_string())
    }
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
        let text = baseline.changes(&result(5.0, 2), &["gb_per_s"], &["seed"]).unwrap();
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap().to_owned();
        assert!(line("rows.bulk, order 9.gb_per_s").contains("+25.0 %"), "{text}");
        assert!(line("rows.bulk, order 0.gb_per_s").contains("same"), "{text}");
        assert_eq!(line("note"), "note: seed was 1, is 2");
        assert!(matches!(Baseline::read(&path, "a/2"), Err(Failure::Usage(_))));
    }
}
