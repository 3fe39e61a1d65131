//! Curves of several peers, drawn into an SVG: what a pair costs against something that grows.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::report::{Report, Row};

/// One panel: a point of each peer's curve per row.
pub struct Panel {
    /// What the panel shows.
    pub title: String,
    /// What grows to the right.
    pub axis: &'static str,
    /// Where the rows stand on that axis, and their names.
    pub rows: Vec<(f64, String)>,
    /// Whether each step to the right is a multiple, not an addition.
    pub log: bool,
}

const SIZE: (u32, u32) = (1200, 620);
/// Beyond this many nanoseconds a curve is not drawn but named: it would press all the others together.
const CEILING: f64 = 5e3;

/// The panels side by side, with one legend for all and the conditions below.
pub fn svg(report: &Report, panels: &[Panel], peers: &[&'static str]) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    {
        let whole = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        whole.fill(&WHITE)?;
        let (top, legend) = whole.split_vertically(SIZE.1 - 110);
        for (place, panel) in top.split_evenly((1, panels.len().max(1))).iter().zip(panels) {
            draw(place, panel, &report.rows, peers).map_err(|error| error.to_string())?;
        }
        let shown = |row: &&Row| panels.iter().any(|panel| panel.rows.iter().any(|(_, name)| *name == row.work));
        let beyond: Vec<&str> = report.rows.iter().filter(shown).filter(|row| row.median > CEILING).map(|row| row.peer).collect();
        let names: Vec<String> = peers
            .iter()
            .map(|peer| if beyond.contains(peer) { format!("{peer} (also > {:.0} µs)", CEILING / 1e3) } else { (*peer).to_owned() })
            .collect();
        explain(&legend, &report.machine.to_string(), &names)?;
        whole.present()?;
    }
    Ok(text)
}

fn draw<'a>(
    place: &DrawingArea<SVGBackend<'a>, Shift>,
    panel: &Panel,
    rows: &[Row],
    peers: &[&'static str],
) -> Result<(), Box<dyn Error + 'a>> {
    let points = |peer: &str| -> Vec<(f64, f64)> {
        let find = |name: &str| rows.iter().find(|row| row.work == name && row.peer == peer);
        let figures = panel.rows.iter().filter_map(|(x, name)| Some((*x, find(name)?.median)));
        figures.filter(|(_, figure)| *figure <= CEILING).collect()
    };
    let figures: Vec<f64> = peers.iter().flat_map(|peer| points(peer)).map(|(_, figure)| figure).collect();
    let lowest = figures.iter().copied().fold(f64::INFINITY, f64::min).min(1e3);
    let highest = figures.iter().copied().fold(1.0, f64::max);
    let (first, last) = (panel.rows.first().map_or(0.0, |row| row.0), panel.rows.last().map_or(1.0, |row| row.0));
    let heights = (lowest * 0.8..highest * 1.25).log_scale();
    let mut chart = ChartBuilder::on(place);
    chart.caption(&panel.title, ("sans-serif", 18)).margin(12).x_label_area_size(42).y_label_area_size(64);
    // Two types of chart, one way to draw: the axes differ in type.
    macro_rules! curves {
        ($across:expr, $label:expr) => {{
            let mut chart = chart.build_cartesian_2d($across, heights)?;
            let label = $label;
            chart
                .configure_mesh()
                .x_desc(panel.axis)
                .y_desc("ns for an allocation and its free")
                .bold_line_style(RGBColor(205, 205, 205))
                .light_line_style(RGBColor(240, 240, 240))
                .x_label_formatter(&label)
                .y_label_formatter(&|ns: &f64| format!("{ns:.0}"))
                .draw()?;
            for (number, peer) in peers.iter().enumerate() {
                chart.draw_series(LineSeries::new(points(peer), style(number, peers.len())))?;
                chart.draw_series(
                    points(peer).into_iter().map(|point| Circle::new(point, 3, style(number, peers.len()).filled())),
                )?;
            }
        }};
    }
    if panel.log {
        curves!((first..last).log_scale().base(4.0), |gib: &f64| crate::works::size((*gib * crate::works::GIB as f64) as u64));
    } else {
        curves!(first..last, |percent: &f64| format!("{percent:.0} %"));
    }
    Ok(())
}

fn explain(place: &DrawingArea<SVGBackend<'_>, Shift>, conditions: &str, peers: &[String]) -> Result<(), Box<dyn Error>> {
    let failed = |error: DrawingAreaErrorKind<_>| error.to_string();
    for (number, peer) in peers.iter().enumerate() {
        let (x, y) = (70 + 270 * (number as i32 % 4), 12 + 24 * (number as i32 / 4));
        let line = PathElement::new(vec![(x, y + 7), (x + 26, y + 7)], style(number, peers.len()));
        place.draw(&line).map_err(failed)?;
        place.draw(&Text::new(peer.clone(), (x + 34, y), ("sans-serif", 15))).map_err(failed)?;
    }
    place.draw(&Text::new(conditions.to_owned(), (70, 88), ("sans-serif", 13))).map_err(failed)?;
    Ok(())
}

/// Ours are the first four of the table and stand out; the floors are the last two, and grey.
fn style(number: usize, peers: usize) -> ShapeStyle {
    const COLOURS: [RGBColor; 9] = [
        RGBColor(200, 30, 30),
        RGBColor(30, 80, 200),
        RGBColor(240, 140, 40),
        RGBColor(110, 170, 240),
        RGBColor(60, 150, 60),
        RGBColor(140, 90, 180),
        RGBColor(150, 110, 60),
        RGBColor(210, 110, 180),
        RGBColor(70, 165, 165),
    ];
    let width = if number < 4 { 3 } else { 1 };
    let colour = match peers.saturating_sub(number) {
        1 => RGBColor(170, 170, 170),
        2 => RGBColor(90, 90, 90),
        _ => COLOURS[number % COLOURS.len()],
    };
    colour.stroke_width(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn each_peer_with_a_figure_has_a_curve() {
        let row = |work: &str, peer, median| Row { work: work.into(), unit: "ns/pair", peer, min: median, median, reps: 1 };
        let rows =
            vec![row("small", "fast", 2.0), row("large", "fast", 3.0), row("small", "slow", 900.0), row("small", "slowest", 9e3)];
        let report = Report { rows, gaps: Vec::new(), targets: Vec::new(), machine: Machine::here() };
        let rows = vec![(1.0, "small".to_owned()), (4096.0, "large".to_owned())];
        let panel = |log| Panel { title: "title".into(), axis: "axis", rows: rows.clone(), log };
        let svg = svg(&report, &[panel(true), panel(false)], &["fast", "slow", "none", "slowest"]).unwrap_or_default();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(["title", "axis", "fast", "slow", "4 TiB"].iter().all(|text| svg.contains(text)), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2 * 3, "one per figure and panel that can be seen");
        assert!(svg.contains("slowest (also &gt; 5 µs)"));
    }
}
