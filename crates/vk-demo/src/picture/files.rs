//! `--svg` and `--png`: files that are known to be writable before any work is done.

use resvg::{tiny_skia, usvg};

use crate::cli::PictureOptions;
use crate::failure::Failure;
use crate::report::OpenFile;

/// Pixels of the PNG for each pixel of the SVG.
const SCALE: f32 = 2.0;

/// Where the picture goes.
pub(crate) struct Files {
    svg: Option<OpenFile>,
    png: Option<OpenFile>,
}

impl Files {
    /// Checks that the files can be written, and leaves what they hold alone until there is a picture.
    pub(crate) fn open(options: &PictureOptions) -> Result<Files, Failure> {
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
            file.replace(&png(&text)?)?;
        }
        Ok(())
    }
}

/// The same picture in pixels.
fn png(text: &str) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| Failure::Output(format!("the picture could not be drawn: {why}"));
    let mut options = usvg::Options { font_family: "DejaVu Sans".into(), ..usvg::Options::default() };
    // Fonts of our own, so that it looks the same everywhere.
    for font in [dejavu::sans::regular(), dejavu::sans::bold()] {
        options.fontdb_mut().load_font_data(font.to_vec());
    }
    let tree = usvg::Tree::from_str(text, &options).map_err(|error| failed(error.to_string()))?;
    let (width, height) = ((tree.size().width() * SCALE).ceil() as u32, (tree.size().height() * SCALE).ceil() as u32);
    let mut pixels = tiny_skia::Pixmap::new(width, height).ok_or_else(|| failed(format!("{width} x {height} pixels")))?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::picture::Picture;

    #[test]
    fn letters_are_drawn() {
        let drawn = |title: &str| {
            let picture = Picture { title: title.into(), subtitle: String::new(), map: None, charts: vec![] };
            let pixels = tiny_skia::Pixmap::decode_png(&png(&picture.svg()).unwrap()).unwrap();
            pixels.pixels().iter().filter(|pixel| pixel.red() < 128 && pixel.alpha() == 255).count()
        };
        assert_eq!(drawn(""), 0);
        assert!(drawn("letters") > 100);
    }
}
