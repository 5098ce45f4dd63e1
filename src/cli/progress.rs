//! Progress bars on a terminal, nothing into a pipe.

use crate::client::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar that follows what the client reports.
pub(crate) struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar that is shown, or one that stays silent.
    pub(crate) fn new(terminal: bool) -> Self {
        Self(terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        }))
    }
}

impl Progress for Bar {
    fn step(&mut self, what: &'static str, done: u64, of: u64, bytes: u64) {
        let Some(bar) = &self.0 else { return };
        let size = if bytes == 0 { String::new() } else { format!(" ({})", super::size::human(bytes)) };
        if of == 0 {
            let done = if done == 0 { String::new() } else { format!(" {done}") };
            bar.set_message(format!("{what}{done}{size}"));
            return;
        }
        if bar.length() != Some(of) {
            let style = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len} {eta}");
            bar.set_style(style.expect("the template is fixed"));
            bar.set_length(of);
        }
        bar.set_position(done);
        bar.set_message(format!("{what}{size}"));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
