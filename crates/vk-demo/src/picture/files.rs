//! `--svg` and `--png`: files that are known to be writable before any work is done.

#[cfg(feature = "png")]
use super::png::drawn;
use crate::cli::PictureOptions;
use crate::failure::Failure;
use crate::report::OpenFile;

/// Where the picture goes.
pub(crate) struct Files {
    svg: Option<OpenFile>,
    png: Option<OpenFile>,
}

impl Files {
    /// Checks that the files can be written, and leaves what they hold alone until there is a picture.
    pub(crate) fn open(options: &PictureOptions) -> Result<Files, Failure> {
        if options.png.is_some() && !cfg!(feature = "png") {
            let why =
                "--png: this build draws none, to be built quickly; cargo build with --features png does, and --svg needs nothing";
            return Err(Failure::Usage(why.into()));
        }
        let open = |path: &Option<_>| path.clone().map(OpenFile::open).transpose();
        Ok(Files { svg: open(&options.svg)?, png: open(&options.png)? })
    }

    /// Writes what was asked for; draws nothing if nothing was.
    pub(crate) fn write(&mut self, picture: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.svg.is_none() && self.png.is_none() {
            return Ok(());
        }
        let text = picture();
        if let Some(file) = &mut self.svg {
            file.replace(text.as_bytes())?;
        }
        if let Some(file) = &mut self.png {
            file.replace(&drawn(&text)?)?;
        }
        Ok(())
    }
}

/// Refused before, when the file was to be opened.
#[cfg(not(feature = "png"))]
fn drawn(_: &str) -> Result<Vec<u8>, Failure> {
    Err(Failure::Output("this build draws no PNG".into()))
}
