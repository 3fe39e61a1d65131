//! `vk-demo draw`: a saved result as a picture, as this version draws it.

use serde::Deserialize;

use crate::Verdict;
use crate::cli::DrawOptions;
use crate::failure::Failure;
use crate::picture::{Drawing, Files};
use crate::report::{self, HeatMap, Saved};

/// What of a result is drawn.
#[derive(Deserialize)]
struct Shown {
    picture: Option<Drawing>,
    heat_map: Option<HeatMap>,
}

/// Runs the command.
pub(crate) fn command(options: &DrawOptions) -> Result<Verdict, Failure> {
    let DrawOptions { file, picture } = options;
    // Nobody wants the result to be gone.
    report::distinct(&[("FILE", Some(file)), ("--svg", picture.svg.as_deref()), ("--png", picture.png.as_deref())])?;
    let Shown { picture: drawing, heat_map } = Saved::read_any(file)?.parse()?;
    let drawing = drawing.ok_or_else(|| {
        Failure::Usage(format!("{} holds no picture: it is of `list`, or was saved by an earlier version", file.display()))
    })?;
    let mut files = Files::open(picture)?;
    let drawn = drawing.with(heat_map.as_ref()).svg();
    if picture.svg.is_none() && picture.png.is_none() {
        report::to_stdout(drawn.as_bytes())?;
    }
    files.write(|| drawn)?;
    Ok(Verdict::Good)
}
