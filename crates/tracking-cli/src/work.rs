//! Work that may take longer than a second: a spinner or a bar on stderr, if a person looks at it.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;

/// How far some work is. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    bar: ProgressBar,
}

impl Work {
    /// Shows nothing with `--json`, and nothing where stderr is no terminal.
    pub(crate) fn begin(what: &'static str, output: Output) -> Self {
        let shown = io::stderr().is_terminal() && !output.is_json();
        let target = if shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        if shown {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar }
    }

    pub(crate) fn say(&self, message: &str) {
        self.bar.set_message(message.to_owned());
    }

    /// Shows how many bytes of how many are done.
    pub(crate) fn measure(&self, bytes: u64, total: u64, message: String) {
        if self.bar.is_hidden() {
            return;
        }
        if self.bar.length().is_none()
            && let Ok(style) = ProgressStyle::with_template(
                "{prefix} {bar:30} {binary_bytes}/{binary_total_bytes} {msg} {elapsed}",
            )
        {
            self.bar.set_style(style);
        }
        self.bar.set_length(total.max(bytes));
        self.bar.set_position(bytes);
        self.bar.set_message(message);
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
