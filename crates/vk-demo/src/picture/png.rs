//! The picture in pixels, behind the feature of that name: its renderer takes longer to build than all the rest.

use resvg::{tiny_skia, usvg};

use crate::failure::Failure;

/// Pixels of the PNG for each pixel of the SVG.
const SCALE: f32 = 2.0;

/// The picture in pixels.
pub(super) fn drawn(text: &str) -> Result<Vec<u8>, Failure> {
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

    use resvg::tiny_skia;

    use crate::picture::Picture;

    #[test]
    fn letters_are_drawn() {
        let drawn = |title: &str| {
            let picture = Picture { title: title.into(), subtitle: String::new(), map: None, charts: vec![] };
            let pixels = tiny_skia::Pixmap::decode_png(&super::drawn(&picture.svg()).unwrap()).unwrap();
            pixels.pixels().iter().filter(|pixel| pixel.red() < 128 && pixel.alpha() == 255).count()
        };
        assert_eq!(drawn(""), 0);
        assert!(drawn("letters") > 100);
    }
}
