//! The picture: a map of device memory in which every folio has its own rectangle, and curves below it.
//!
//! ```text
//! ink    colours and hatches, readable in black and white        map     the heat map and its legend
//! chart  lines over an axis                                      files   --svg and --png     png   pixels, where wanted
//! ```
//! `docs/picture.svg` was made by this program; `docs/results/README.md` says with which commands.

mod chart;
mod files;
mod ink;
mod map;
mod over_time;
#[cfg(feature = "png")]
mod png;

use serde::{Deserialize, Serialize};
use svg::Document;
use svg::node::element::{Rectangle, Text};

pub(crate) use chart::{Axis, Chart, Line, Stroke};
pub(crate) use files::Files;
pub(crate) use over_time::over_time;

use crate::report::HeatMap;

/// Width of everything, in pixels.
const WIDTH: f64 = 1120.0;
/// White around it.
const MARGIN: f64 = 24.0;
const CHART_HEIGHT: f64 = 250.0;
/// So many charts stand side by side; of more than that, so many.
const MOST_COLUMNS: usize = 3;
const COLUMNS: usize = 2;

/// What is drawn, from top to bottom.
pub(crate) struct Picture<'a> {
    /// What it shows.
    pub(crate) title: String,
    /// On what, and with which settings.
    pub(crate) subtitle: String,
    /// The memory.
    pub(crate) map: Option<&'a HeatMap>,
    /// Below it, as many side by side as there is room for.
    pub(crate) charts: Vec<Chart>,
}

/// What is saved of a picture beside its map, so that it can be drawn anew.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Drawing {
    title: String,
    subtitle: String,
    charts: Vec<Chart>,
}

impl From<Picture<'_>> for Drawing {
    fn from(picture: Picture<'_>) -> Drawing {
        let Picture { title, subtitle, mut charts, .. } = picture;
        charts.iter_mut().for_each(Chart::keep_numbers);
        Drawing { title, subtitle, charts }
    }
}

impl Drawing {
    /// The picture that it was saved of, with this map.
    pub(crate) fn with(self, map: Option<&HeatMap>) -> Picture<'_> {
        let Drawing { title, subtitle, charts } = self;
        Picture { title, subtitle, map, charts }
    }
}

impl Picture<'_> {
    /// As SVG.
    pub(crate) fn svg(&self) -> String {
        let title = ink::text(MARGIN, MARGIN + 16.0, &self.title).set("font-size", 20).set("font-weight", "bold");
        let subtitle = ink::text(MARGIN, MARGIN + 38.0, &self.subtitle).set("fill", ink::QUIET);
        let mut inside: Vec<Box<dyn svg::Node>> = vec![Box::new(title), Box::new(subtitle)];
        let mut y = MARGIN + 56.0;
        if let Some(map) = self.map {
            let (drawn, height) = map::draw(map, MARGIN, y, WIDTH - 2.0 * MARGIN);
            inside.push(Box::new(drawn));
            y += height;
        }
        let columns = if self.charts.len() <= MOST_COLUMNS { self.charts.len().max(1) } else { COLUMNS };
        let each = (WIDTH - 2.0 * MARGIN) / columns as f64;
        for row in self.charts.chunks(columns) {
            // Frames that stand side by side begin at one height.
            let top = row.iter().map(|chart| chart.top(each)).fold(0.0, f64::max);
            for (at, chart) in row.iter().enumerate() {
                inside.push(Box::new(chart.draw(MARGIN + at as f64 * each, y + 12.0, (each, CHART_HEIGHT), top)));
            }
            y += CHART_HEIGHT + 12.0;
        }
        let height = (y + MARGIN).round();
        let paper = Rectangle::new().set("width", WIDTH).set("height", height).set("rx", 8).set("fill", "#ffffff");
        let mut document = Document::new()
            .set("viewBox", (0, 0, WIDTH, height))
            .set("width", WIDTH)
            .set("height", height)
            .set("font-family", "DejaVu Sans, Verdana, Helvetica, sans-serif")
            .set("font-size", 12)
            .set("role", "img")
            .add(svg::node::element::Title::new(self.title.as_str()))
            .add(ink::hatches())
            .add(paper);
        for node in inside {
            document = document.add(node);
        }
        document.to_string() + "\n"
    }
}

/// Text whose right end is at `x`.
fn right(x: f64, y: f64, content: &str) -> Text {
    ink::text(x, y, content).set("text-anchor", "end")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use pgmap_alloc::{Offset, Order, Params, Pgmap, Phys, PhysRange};

    use super::*;

    #[test]
    fn every_picture_is_good_xml_and_shows_what_is_there() {
        let pgmap = Pgmap::new(&Params::new(&[PhysRange { start: Phys(0), pages: 4096 }]), ()).unwrap();
        let _folio = pgmap.request_folio(Offset::new(512), Order::PMD).unwrap();
        let _block = pgmap.request_block(Offset::new(0), Order::ZERO).unwrap();
        let map = HeatMap::of(&pgmap);
        let line = Line::new("a < b", Stroke::Solid, vec![(0.0, 1.0), (1.0, f64::NAN), (1.0, 50.0)]);
        let chart = Chart { title: "t & u".into(), x: Axis::percent("x"), y: Axis::percent("y"), lines: vec![line] };
        let picture = Picture { title: "<&\">".into(), subtitle: String::new(), map: Some(&map), charts: vec![chart] };
        let text = picture.svg();
        #[cfg(feature = "png")]
        {
            let tree = resvg::usvg::Tree::from_str(&text, &resvg::usvg::Options::default()).unwrap();
            assert_eq!(f64::from(tree.size().width()), WIDTH);
        }
        for shown in ["order 9", "block", "idle", "&lt;&amp;", "a &lt; b"] {
            assert!(text.contains(shown), "{shown} in {text}");
        }
        assert!(!text.contains("order 8") && !text.contains("retired: ") && !text.contains("NaN"));
    }
}
