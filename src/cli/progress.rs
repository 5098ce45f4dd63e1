//! Progress bars on a terminal, nothing into a pipe.

use crate::client::{Doing, Progress};
use annals_engine::round::Files;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// A bar that follows what the client reports.
pub(crate) struct Bar {
    terminal: bool,
    shown: Option<ProgressBar>,
}

impl Bar {
    /// A bar that is shown, or one that stays silent.
    pub(crate) fn new(terminal: bool) -> Self {
        Self { terminal, shown: None }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

impl Progress for Bar {
    fn step(&mut self, doing: &Doing) {
        if !self.terminal {
            return;
        }
        let Doing { what, files: Files { done, of, bytes, .. } } = doing;
        let (done, of, bytes) = (*done, *of, *bytes);
        let bar = self.shown.get_or_insert_with(spinner);
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

    fn rest(&mut self) {
        if let Some(bar) = self.shown.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.rest();
    }
}
