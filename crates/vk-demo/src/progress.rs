//! Live progress on the standard error, only where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of `total` steps; hidden when `quiet`, and by itself where nobody watches.
pub(crate) fn bar(what: &'static str, total: u64, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(total), target).with_prefix(what);
    // The template is a constant: were it wrong, indicatif's own style would do.
    if let Ok(style) = ProgressStyle::with_template("{prefix:>10} {bar:40} {pos:>7}/{len} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar
}
