//! A result that was saved as JSON, read again: for `--baseline`, `--curve` and `draw`.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// A saved result, known to be of the schema that was wanted.
pub(crate) struct Saved {
    text: String,
    name: String,
}

#[derive(Deserialize)]
struct Head {
    schema: Option<String>,
}

impl Saved {
    /// Reads a file and checks its schema; nothing has been run yet.
    pub(crate) fn read(path: &Path, schema: &str) -> Result<Saved, Failure> {
        Saved::read_if(path, &format!("{schema:?} is"), |found| found == schema)
    }

    /// The same for any schema of this program.
    pub(crate) fn read_any(path: &Path) -> Result<Saved, Failure> {
        Saved::read_if(path, "one of vk-demo is", |found| found.starts_with("vk-demo/"))
    }

    fn read_if(path: &Path, wanted: &str, is_good: impl Fn(&str) -> bool) -> Result<Saved, Failure> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{name} cannot be read: {error}")))?;
        let head: Result<Head, _> = serde_json::from_str(&text);
        let head = head.map_err(|error| Failure::Usage(format!("{name} is no result of vk-demo: {error}")))?;
        match head.schema {
            Some(found) if is_good(&found) => Ok(Saved { text, name }),
            Some(found) => Err(Failure::Usage(format!("{name} has the schema {found:?}, and {wanted} needed here"))),
            None => Err(Failure::Usage(format!("{name} is no result of vk-demo: it names no schema, and {wanted} needed here"))),
        }
    }

    /// The parts of it that are of use.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let wrong = |error| Failure::Usage(format!("{} does not hold what its schema says: {error}", self.name));
        serde_json::from_str(&self.text).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_no_such_result_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("saved.json");
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            match Saved::read(&path, "a/1") {
                Err(Failure::Usage(why)) => why,
                other => panic!("{text}: {}", other.is_ok()),
            }
        };
        assert!(refused("no json").contains("is no result of vk-demo"));
        assert!(refused("{}").contains("names no schema"));
        assert!(refused(r#"{"schema": "a/2"}"#).contains(r#"has the schema "a/2", and "a/1" is needed here"#));
        assert!(matches!(Saved::read(directory.path(), "a/1"), Err(Failure::Usage(why)) if why.contains("cannot be read")));
        std::fs::write(&path, r#"{"schema": "a/1"}"#).unwrap();
        let saved = Saved::read(&path, "a/1").unwrap();
        assert!(matches!(saved.parse::<Vec<u8>>(), Err(Failure::Usage(why)) if why.contains("does not hold")));
    }
}
