//! How full and how fragmented the heap was over a run.

use super::{Axis, Chart, Line, Stroke};
use crate::report::Timeline;

/// The curve of a run of so many steps.
pub(crate) fn over_time(timeline: &Timeline, steps: u64) -> Chart {
    let line = |name: &str, stroke, value: fn(&crate::report::Moment) -> f64| {
        Line::new(name, stroke, timeline.moments().iter().map(|moment| (moment.step as f64, value(moment))).collect())
    };
    let taken = line("taken", Stroke::Dashed, |moment| moment.taken_percent);
    let scattered = line("idle, but too scattered for 2 MiB", Stroke::Solid, |moment| moment.fragmentation_percent);
    // A heap that never had 2 MiB in one piece, a small one above all, has nothing to show there.
    let (title, lines) = if scattered.points.iter().any(|(_, percent)| *percent < 100.0) {
        ("Fragmentation over time", vec![taken, scattered])
    } else {
        ("Use over time", vec![taken])
    };
    Chart { title: title.into(), x: Axis::steps(steps), y: Axis::percent("%"), lines }
}
