//! Colours and hatches. Orders run from light to dark, so that a print in black and white tells them apart; what is not in
//! service is hatched.

use svg::node::element::{Circle, Definitions, Path, Pattern, Rectangle, Text};

use crate::report::State;

/// Lines and letters that stay in the background.
pub(super) const QUIET: &str = "#57606a";
/// The lines of a grid.
pub(super) const FAINT: &str = "#d8dee4";
/// Idle memory.
pub(super) const IDLE: &str = "#f3f4f6";

/// From order 0 to the order of [`DARKEST`]: each step darker than the one before. Beyond it the darkest is striped, by one stripe more
/// for each order.
const RAMP: [(u8, u8, u8); 6] =
    [(0xf7, 0xd1, 0x3d), (0x9f, 0xd0, 0x44), (0x35, 0xb0, 0x79), (0x25, 0x83, 0x8e), (0x3b, 0x4f, 0x8a), (0x44, 0x01, 0x54)];
const DARKEST: u32 = 10;
/// The last order with stripes of its own: a folio of 1 TiB.
const MOST_STRIPED: u32 = 28;

/// How a state is filled.
pub(super) fn fill(state: State) -> String {
    match state {
        State::Idle => IDLE.into(),
        State::Folio(order) if order.get() > DARKEST => format!("url(#order{})", order.get().min(MOST_STRIPED)),
        State::Folio(order) => shade(order.get()),
        State::Pending => "url(#pending)".into(),
        State::Block => "url(#block)".into(),
        State::Special => "url(#special)".into(),
        State::Retired => "url(#retired)".into(),
    }
}

fn shade(order: u32) -> String {
    on_ramp(f64::from(order.min(DARKEST)) / f64::from(DARKEST))
}

/// The colour of one line of so many: each darker than the one before, the first dark enough for a line.
pub(super) fn ranked(index: usize, of: usize) -> String {
    const FIRST: f64 = 0.3;
    on_ramp(FIRST + (1.0 - FIRST) * index as f64 / of.saturating_sub(1).max(1) as f64)
}

/// From the beginning of the ramp (0) to its end (1).
fn on_ramp(place: f64) -> String {
    let steps = (RAMP.len() - 1) as f64;
    let place = place.clamp(0.0, 1.0) * steps;
    let below = (place as usize).min(RAMP.len() - 2);
    let (low, high, part) = (RAMP[below], RAMP[below + 1], place - below as f64);
    let mix = |low: u8, high: u8| (f64::from(low) + (f64::from(high) - f64::from(low)) * part).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(low.0, high.0), mix(low.1, high.1), mix(low.2, high.2))
}

/// The hatches that [`fill`] names.
pub(super) fn hatches() -> Definitions {
    let pattern = |id: &str, ground: &str| {
        let ground = Rectangle::new().set("width", 6).set("height", 6).set("fill", ground);
        Pattern::new().set("id", id).set("width", 6).set("height", 6).set("patternUnits", "userSpaceOnUse").add(ground)
    };
    let stroke = |path: &str, colour: &str| Path::new().set("d", path).set("stroke", colour).set("stroke-width", 1.3);
    let falling = "M0 0L6 6M-1 5L1 7M5 -1L7 1";
    let rising = "M0 6L6 0M-1 1L1 -1M5 7L7 5";
    let striped = |order: u32| {
        let side = f64::from(MOST_STRIPED - DARKEST + 1) * 2.0;
        let ground = Rectangle::new().set("width", side).set("height", side).set("fill", shade(DARKEST));
        let stripes: String = (1..=order - DARKEST).map(|stripe| format!("M0 {}H{side}", 2 * stripe)).collect();
        let pattern = Pattern::new().set("id", format!("order{order}")).set("width", side).set("height", side);
        let stripes = Path::new().set("d", stripes).set("stroke", "#ffffff").set("stroke-width", 0.8);
        pattern.set("patternUnits", "userSpaceOnUse").add(ground).add(stripes)
    };
    let dot = Circle::new().set("cx", 3).set("cy", 3).set("r", 1.4).set("fill", "#24292f");
    (DARKEST + 1..=MOST_STRIPED)
        .fold(Definitions::new(), |all, order| all.add(striped(order)))
        .add(pattern("pending", "#ffffff").add(dot))
        .add(pattern("block", "#ffffff").add(stroke(falling, "#24292f")))
        .add(pattern("special", "#ffffff").add(stroke(falling, "#24292f")).add(stroke(rising, "#24292f")))
        .add(pattern("retired", "#b42318").add(stroke(falling, "#ffffff")).add(stroke(rising, "#ffffff")))
}

/// Text at a place.
pub(super) fn text(x: f64, y: f64, content: &str) -> Text {
    Text::new(content).set("x", x).set("y", y).set("fill", "#1f2328")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use pgmap_alloc::Order;

    use super::*;

    #[test]
    fn req_82_orders_beyond_the_darkest_are_told_apart_and_have_their_fillings() {
        let filled = |order: u32| fill(State::Folio(Order::new(order).unwrap()));
        let all: std::collections::BTreeSet<String> = (0..=MOST_STRIPED).map(filled).collect();
        assert_eq!(all.len(), MOST_STRIPED as usize + 1);
        let hatches = hatches().to_string();
        for order in DARKEST + 1..=MOST_STRIPED {
            assert!(hatches.contains(&format!("id=\"order{order}\"")) && filled(order) == format!("url(#order{order})"));
        }
        assert_eq!(hatches.matches("M0 4H").count(), (MOST_STRIPED - DARKEST - 1) as usize, "one stripe more for each");
    }

    #[test]
    fn each_order_is_darker_than_the_one_before() {
        let light = |order: u32| {
            let colour = fill(State::Folio(Order::new(order).unwrap()));
            let part = |at: usize| f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap());
            0.299 * part(1) + 0.587 * part(3) + 0.114 * part(5)
        };
        for order in 0..DARKEST {
            assert!(light(order) > light(order + 1) + 5.0, "{order}: {} {}", light(order), light(order + 1));
        }
        assert!(light(0) < 210.0, "idle memory is lighter than all of them");
    }
}
