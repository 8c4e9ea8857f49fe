//! Work that may take longer than a second: a spinner or a bar on stderr, if a person looks at it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracking_facade::s3::{TransferProgress, UploadProgress};

use crate::output::Output;
use crate::redact::messages;
use crate::render::bytes;

/// How far some work is. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    bar: ProgressBar,
}

impl Work {
    /// Shows nothing with `--json`, and nothing where stderr is no terminal.
    pub(crate) fn begin(what: &'static str, output: Output) -> Self {
        let shown = messages::is_terminal() && !output.is_json();
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

    /// Shows how far a transfer is, how fast it goes, and how long it will take.
    pub(crate) fn transfer(&self, progress: &TransferProgress) {
        self.measure(progress.done, progress.total, pace(progress));
    }

    /// The same of many artifacts.
    pub(crate) fn uploading(&self, progress: &UploadProgress) {
        let count = format!("{} of {} artifacts", progress.artifacts, progress.total_artifacts);
        let transfer = &progress.transfer;
        self.measure(
            transfer.done,
            transfer.total,
            format!("{count} {}", pace(transfer)),
        );
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// `12.3 MiB/s, 40 s left`
fn pace(progress: &TransferProgress) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive, and shown in three digits"
    )]
    let rate = progress.rate as u64;
    let left = progress
        .left
        .map_or_else(String::new, |left| format!(", {} s left", left.as_secs()));
    format!("{}/s{left}", bytes(rate))
}
