//! Where a result goes: the standard output or a file that is known to be writable before any work is done.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use crate::cli::{Format, OutputOptions};
use crate::failure::Failure;

/// The place for one result.
pub(crate) struct Output {
    format: Format,
    file: Option<OpenFile>,
}

/// A file that can be written and has not been yet.
pub(crate) struct OpenFile {
    file: File,
    path: PathBuf,
    /// It did not exist before and nothing has been written yet: a run that fails takes it away again.
    unwritten: bool,
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
            None => to_stdout(bytes).map_err(|error| Failure::Output(error.to_string())),
        }
    }
}

impl OpenFile {
    /// Checks that it can be written; a file that is there keeps what it holds for now.
    pub(crate) fn open(path: PathBuf) -> Result<OpenFile, Failure> {
        let existed = path.exists();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| Failure::Usage(format!("{} cannot be written: {error}", path.display())))?;
        Ok(OpenFile { file, path, unwritten: !existed })
    }

    /// Puts these bytes in place of what it holds.
    pub(crate) fn replace(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write(bytes).map_err(|error| Failure::Output(format!("{}: {error}", self.path.display())))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unwritten = false;
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(bytes)?;
        self.file.flush()
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if self.unwritten {
            // It was made by this run and is empty; if it cannot be removed there is nobody to tell.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A reader that has gone away has seen what it wanted.
fn to_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
