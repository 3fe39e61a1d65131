//! Lines over an axis. They differ by dashes and marks, not by colour alone.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use svg::node::element::{Circle, Group, Path, Rectangle};

use super::{ink, right};
use crate::heap::PAGE;
use crate::size::Bytes;

const LEFT: f64 = 62.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 52.0;
const BOTTOM: f64 = 46.0;
/// Behind a name, and from one row of names to the next.
const NAME_GAP: f64 = 16.0;
const NAMES: f64 = 18.0;

/// A frame with lines in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Chart {
    /// What it shows.
    pub(crate) title: String,
    /// Left to right.
    pub(crate) x: Axis,
    /// Bottom to top.
    pub(crate) y: Axis,
    /// What is drawn into it.
    pub(crate) lines: Vec<Line>,
}

/// One side of a frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Axis {
    /// What is counted, and in what.
    pub(crate) label: String,
    /// Where it begins and ends.
    pub(crate) from: f64,
    /// See `from`.
    pub(crate) to: f64,
    /// Whether equal steps are equal factors.
    pub(crate) logarithmic: bool,
    /// Values that are written.
    pub(crate) ticks: Vec<(f64, String)>,
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// What it is.
    pub(crate) name: String,
    /// How it is drawn.
    pub(crate) stroke: Stroke,
    /// From left to right; points that are no numbers are left out.
    pub(crate) points: Vec<(f64, f64)>,
    /// Where values vary: where from left to right, and from where to where they do.
    pub(crate) bars: Vec<(f64, f64, f64)>,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stroke {
    /// Dark and whole, with round marks where there are few points.
    Solid,
    /// Lighter and dashed, with square marks where there are few points.
    Dashed,
    /// Dots, without marks.
    Dotted,
    /// Dots and dashes in turn, without marks.
    DotDashed,
    /// This one of so many that belong together: from light to dark, each with a mark of its own.
    Ranked(usize, usize),
}

/// More points than this get no marks.
const MARKED: usize = 24;

impl Axis {
    /// 0 to 100 %.
    pub(crate) fn percent(label: &str) -> Axis {
        let ticks = [0, 25, 50, 75, 100].map(|value| (f64::from(value), value.to_string())).to_vec();
        Axis { label: label.into(), from: 0.0, to: 100.0, logarithmic: false, ticks }
    }

    /// From zero to beyond the largest of these counts, in steps that are round.
    pub(crate) fn counts(label: &str, values: impl Iterator<Item = f64>) -> Axis {
        const PARTS: f64 = 4.0;
        let most = values.filter(|value| value.is_finite()).fold(1.0, f64::max);
        let round = (0..=18).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(power)));
        let step = round.into_iter().find(|step| step * PARTS >= most).unwrap_or(most / PARTS);
        let ticks = (0..=PARTS as u32).map(|part| step * f64::from(part)).map(|value| (value, value.to_string())).collect();
        Axis { label: label.into(), from: 0.0, to: step * PARTS, logarithmic: false, ticks }
    }

    /// Steps of a run of so many.
    pub(crate) fn steps(steps: u64) -> Axis {
        let ticks = (0..=4).map(|quarter| steps * quarter / 4).map(|step| (step as f64, step.to_string())).collect();
        Axis { label: "operations".into(), from: 0.0, to: steps.max(1) as f64, logarithmic: false, ticks }
    }

    /// Folio orders, from the least of these to the largest.
    pub(crate) fn orders(orders: impl Iterator<Item = u32> + Clone) -> Axis {
        let (first, last) = (orders.clone().min().unwrap_or(0), orders.max().unwrap_or(0));
        Axis {
            label: format!("folio order (0 is {}, 9 is {})", Bytes(PAGE), Bytes(PAGE << 9)),
            from: f64::from(first),
            to: f64::from(last.max(first + 1)),
            logarithmic: false,
            ticks: (first..=last).map(|order| (f64::from(order), order.to_string())).collect(),
        }
    }

    /// Whole powers of ten around these values, with 1, 2 and 5 written.
    pub(crate) fn decades(label: &str, values: impl Iterator<Item = f64> + Clone) -> Axis {
        let good = values.filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = (good.clone().fold(f64::INFINITY, f64::min), good.fold(0.0, f64::max));
        let (low, high) = if low <= high { (low, high) } else { (1.0, 1.0) };
        let steps: Vec<f64> = (-9..=9).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(power))).collect();
        let from = steps.iter().rev().copied().find(|step| *step <= low).unwrap_or(low);
        let to = steps.iter().copied().find(|step| *step >= high && *step > from).unwrap_or(high);
        let inside = steps.into_iter().filter(|step| (from..=to).contains(step));
        Axis { label: label.into(), from, to, logarithmic: true, ticks: inside.map(|step| (step, step.to_string())).collect() }
    }

    /// Where a value lies: 0 at the beginning, 1 at the end.
    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.ln() } else { value };
        (scale(value) - scale(self.from)) / (scale(self.to) - scale(self.from))
    }
}

impl Chart {
    /// Leaves out what is no number, which JSON does not have and which is not drawn.
    pub(super) fn keep_numbers(&mut self) {
        for line in &mut self.lines {
            line.points.retain(|(x, y)| x.is_finite() && y.is_finite());
            line.bars.retain(|(x, low, high)| x.is_finite() && low.is_finite() && high.is_finite());
        }
    }

    /// How high the title and the names above its frame are, at this width.
    pub(super) fn top(&self, width: f64) -> f64 {
        let rows = self.name_places(width - RIGHT).last().map_or(0, |(_, row)| *row);
        TOP + NAMES * rows as f64
    }

    /// Draws it into a place of this size, with `top` left above its frame.
    pub(super) fn draw(&self, x: f64, y: f64, (width, height): (f64, f64), top: f64) -> Group {
        let frame = Frame { x: x + LEFT, y: y + top, width: width - LEFT - RIGHT, height: height - top - BOTTOM, chart: self };
        let title = ink::text(x, y + 14.0, &self.title).set("font-size", 14).set("font-weight", "bold");
        let mut group = frame.names(frame.grid(Group::new().add(title)), x, y + 34.0);
        for line in &self.lines {
            group = frame.line(group, line);
        }
        group
    }

    /// Where the name of each line goes: how far to the right, and in which row, so that none is wider than this.
    fn name_places(&self, width: f64) -> Vec<(f64, usize)> {
        let (mut at, mut row) = (0.0, 0);
        let place = |line: &Line| {
            // As wide as letters of this size usually are.
            let own = 37.0 + 7.2 * line.name.chars().count() as f64 + NAME_GAP;
            if at > 0.0 && at + own - NAME_GAP > width {
                (at, row) = (0.0, row + 1);
            }
            at += own;
            (at - own, row)
        };
        self.lines.iter().map(place).collect()
    }
}

impl Line {
    /// A line of values that do not vary, or of which nobody knows how much they do.
    pub(crate) fn new(name: impl Into<String>, stroke: Stroke, points: Vec<(f64, f64)>) -> Line {
        Line { name: name.into(), stroke, points, bars: Vec::new() }
    }

    /// With bars from the lower to the upper of two values at each place.
    pub(crate) fn with_bars(self, bars: Vec<(f64, f64, f64)>) -> Line {
        Line { bars, ..self }
    }

    fn is_marked(&self) -> bool {
        self.points.len() <= MARKED
    }
}

/// A chart in its place.
struct Frame<'c> {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    chart: &'c Chart,
}

impl Frame<'_> {
    fn grid(&self, mut group: Group) -> Group {
        let faint = |path: String| Path::new().set("d", path).set("stroke", ink::FAINT).set("stroke-width", 1);
        for (value, label) in &self.chart.y.ticks {
            let y = self.down(*value);
            group = group.add(faint(format!("M{:.1} {y:.1}h{:.1}", self.x, self.width)));
            group = group.add(right(self.x - 8.0, y + 4.0, label).set("fill", ink::QUIET));
        }
        for (value, label) in &self.chart.x.ticks {
            let x = self.across(*value);
            group = group.add(faint(format!("M{x:.1} {:.1}v5", self.y + self.height)));
            let below = self.y + self.height + 18.0;
            group = group.add(ink::text(x, below, label).set("text-anchor", "middle").set("fill", ink::QUIET));
        }
        let label = |x: f64, y: f64, text: &str| ink::text(x, y, text).set("text-anchor", "middle").set("fill", ink::QUIET);
        let (middle, center) = (self.x + self.width / 2.0, self.y + self.height / 2.0);
        let turned = label(self.x - 44.0, center, &self.chart.y.label);
        group
            .add(label(middle, self.y + self.height + 36.0, &self.chart.x.label))
            .add(turned.set("transform", format!("rotate(-90 {:.1} {center:.1})", self.x - 44.0)))
    }

    /// A sample of each line with its name, from `y` down.
    fn names(&self, mut group: Group, x: f64, y: f64) -> Group {
        for (line, (right, row)) in self.chart.lines.iter().zip(self.chart.name_places(self.width + LEFT)) {
            let (at, y) = (x + right, y + NAMES * row as f64);
            group = group.add(line.stroke.path(format!("M{at:.1} {:.1}h30", y - 4.0)));
            if line.is_marked() {
                group = line.stroke.mark(group, at + 15.0, y - 4.0);
            }
            group = group.add(ink::text(at + 37.0, y, &line.name));
        }
        group
    }

    fn line(&self, mut group: Group, line: &Line) -> Group {
        let good = |(x, y): &&(f64, f64)| x.is_finite() && y.is_finite();
        let places: Vec<(f64, f64)> = line.points.iter().filter(good).map(|&(x, y)| (self.across(x), self.down(y))).collect();
        let mut path = String::new();
        for (index, (x, y)) in places.iter().enumerate() {
            // Writing into a string cannot fail.
            let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
        }
        group = group.add(line.stroke.path(path)).add(self.bars(line));
        if line.is_marked() {
            for (x, y) in places {
                group = line.stroke.mark(group, x, y);
            }
        }
        group
    }

    /// A thin upright with a foot and a head for each bar.
    fn bars(&self, line: &Line) -> Path {
        let mut path = String::new();
        for (x, low, high) in line.bars.iter().filter(|(_, low, high)| low.is_finite() && high.is_finite() && low < high) {
            let (x, low, high) = (self.across(*x), self.down(*low), self.down(*high));
            let _ = write!(path, "M{:.1} {low:.1}h6M{:.1} {high:.1}h6M{x:.1} {low:.1}V{high:.1}", x - 3.0, x - 3.0);
        }
        Path::new().set("d", path).set("fill", "none").set("stroke", line.stroke.colour()).set("stroke-width", 1.2)
    }

    fn across(&self, value: f64) -> f64 {
        self.x + self.chart.x.place(value).clamp(0.0, 1.0) * self.width
    }

    fn down(&self, value: f64) -> f64 {
        self.y + (1.0 - self.chart.y.place(value).clamp(0.0, 1.0)) * self.height
    }
}

impl Stroke {
    fn colour(self) -> String {
        match self {
            Stroke::Solid => "#3b0a56".into(),
            Stroke::Dashed => "#2a9d7c".into(),
            Stroke::Dotted | Stroke::DotDashed => ink::QUIET.into(),
            Stroke::Ranked(index, of) => ink::ranked(index, of),
        }
    }

    fn path(self, path: String) -> Path {
        let drawn = Path::new().set("d", path).set("fill", "none").set("stroke", self.colour()).set("stroke-width", 2);
        match self {
            Stroke::Solid => drawn,
            Stroke::Dashed => drawn.set("stroke-dasharray", "7 4"),
            Stroke::Dotted => drawn.set("stroke-dasharray", "2 4"),
            Stroke::DotDashed => drawn.set("stroke-dasharray", "9 3 2 3"),
            Stroke::Ranked(..) => drawn.set("stroke-width", 1.6),
        }
    }

    fn mark(self, group: Group, x: f64, y: f64) -> Group {
        match self {
            Stroke::Solid => group.add(Circle::new().set("cx", x).set("cy", y).set("r", 3.4).set("fill", self.colour())),
            Stroke::Dashed => {
                let square = Rectangle::new().set("x", x - 3.0).set("y", y - 3.0).set("width", 6).set("height", 6);
                group.add(square.set("fill", "#ffffff").set("stroke", self.colour()).set("stroke-width", 1.6))
            }
            Stroke::Ranked(index, _) => {
                let shape = Path::new().set("d", shape(index, x, y)).set("stroke", self.colour()).set("stroke-width", 1.4);
                // The second time round they are hollow.
                let inside = if (index / SHAPES).is_multiple_of(2) { self.colour() } else { "#ffffff".into() };
                group.add(shape.set("fill", inside))
            }
            Stroke::Dotted | Stroke::DotDashed => group,
        }
    }
}

/// How many shapes there are.
const SHAPES: usize = 5;

/// The outline of a mark, by turns a circle, a square, a triangle, a diamond and a triangle on its head.
fn shape(index: usize, x: f64, y: f64) -> String {
    match index % SHAPES {
        0 => format!("M{:.1} {y:.1}a3.1 3.1 0 1 0 6.2 0a3.1 3.1 0 1 0 -6.2 0z", x - 3.1),
        1 => format!("M{:.1} {:.1}h5.6v5.6h-5.6z", x - 2.8, y - 2.8),
        2 => format!("M{x:.1} {:.1}l3.7 6.2h-7.4z", y - 3.9),
        3 => format!("M{x:.1} {:.1}l4 4l-4 4l-4 -4z", y - 4.0),
        _ => format!("M{x:.1} {:.1}l3.7 -6.2h-7.4z", y + 3.9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn req_82_a_value_that_varies_has_a_bar_from_its_lower_to_its_upper_quarter() {
        let line = Line::new("a", Stroke::Solid, vec![(0.0, 50.0)]).with_bars(vec![
            (0.0, 25.0, 75.0),
            (1.0, f64::NAN, 1.0),
            (1.0, 5.0, 5.0),
        ]);
        let chart = Chart { title: String::new(), x: Axis::percent("x"), y: Axis::percent("y"), lines: vec![line] };
        let frame = Frame { x: 0.0, y: 0.0, width: 100.0, height: 100.0, chart: &chart };
        let drawn = frame.bars(&chart.lines[0]).to_string();
        assert!(drawn.contains("M-3.0 75.0h6M-3.0 25.0h6M0.0 75.0V25.0\""), "one bar, and none where nothing varies: {drawn}");
    }

    #[test]
    fn an_axis_holds_its_values() {
        let axis = Axis::decades("GB/s", [0.44, 8.7, f64::NAN].into_iter());
        assert_eq!((axis.from, axis.to), (0.2, 10.0));
        assert_eq!((axis.place(0.2), axis.place(10.0)), (0.0, 1.0));
        let counts = Axis::counts("", [3.0, 17.0].into_iter());
        assert_eq!((counts.to, counts.ticks.len()), (20.0, 5));
        assert_eq!(Axis::counts("", std::iter::empty()).to, 4.0);
        let none = Axis::decades("GB/s", std::iter::empty());
        assert!(none.from < none.to);
    }
}
