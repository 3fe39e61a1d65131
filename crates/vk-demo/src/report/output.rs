//! Where a result goes: the standard output or a file that is known to be writable before any work is done.

use std::io::{self, Write};

use serde::Serialize;

use super::OpenFile;

use crate::cli::{Format, OutputOptions};
use crate::failure::Failure;

/// The place for one result.
pub(crate) struct Output {
    format: Format,
    file: Option<OpenFile>,
}

impl Output {
    /// Checks that the file can be written, and leaves what it holds alone until there is a result.
    pub(crate) fn open(options: &OutputOptions) -> Result<Output, Failure> {
        let file = options.output.clone().map(OpenFile::open).transpose()?;
        Ok(Output { format: options.format, file })
    }

    /// The form that was asked for.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Characters in a line of the terminal that it goes to; none where nothing limits it.
    pub(crate) fn width(&self) -> Option<usize> {
        self.file.is_none().then(super::width::of_terminal).flatten()
    }

    /// Writes a result in the form that was asked for. Changes against a baseline stand below a table; beside the other forms,
    /// which programs read, they go to the standard error.
    pub(crate) fn result(
        &mut self,
        changes: Option<&str>,
        text: impl FnOnce() -> String,
        json: &impl Serialize,
        rows: &[impl Serialize],
    ) -> Result<(), Failure> {
        match (self.format, changes) {
            (Format::Table, Some(changes)) => self.text(&format!("{}\n\n{changes}", text())),
            (Format::Table, None) => self.text(&text()),
            (form, changes) => {
                if let Some(changes) = changes {
                    eprintln!("{changes}");
                }
                if form == Format::Json { self.json(json) } else { self.csv(rows) }
            }
        }
    }

    /// Writes plain text and a line end.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.write(format!("{text}\n").as_bytes())
    }

    /// Writes JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.to_string()))?;
        self.text(&text)
    }

    /// Writes a header and one line for each row.
    pub(crate) fn csv(&mut self, rows: &[impl Serialize]) -> Result<(), Failure> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in rows {
            writer.serialize(row).map_err(|error| Failure::Output(error.to_string()))?;
        }
        let bytes = writer.into_inner().map_err(|error| Failure::Output(error.to_string()))?;
        self.write(&bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.file {
            Some(open) => open.replace(bytes),
            None => to_stdout(bytes),
        }
    }
}

/// Writes to the standard output. A reader that has gone away has seen what it wanted.
pub(crate) fn to_stdout(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Failure::Output(error.to_string())),
    }
}
