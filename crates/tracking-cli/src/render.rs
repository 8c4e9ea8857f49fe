//! How results look to people: colours, bars, tables, spans of time, the task tree.

mod table;
mod tree;

use std::io::{self, IsTerminal};

use anstyle::{AnsiColor, Color, Style};
use tracking_model::{Percent, Span, Status, Timestamp};

use crate::redact::messages;

pub(crate) use table::{Cell, Table};
pub(crate) use tree::task_tree;

/// Colours, or none: only on a terminal, and not if `NO_COLOR` is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Palette {
    coloured: bool,
}

impl Palette {
    /// No colours.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { coloured: false };

    pub(crate) fn for_stdout() -> Self {
        Self::new(io::stdout().is_terminal())
    }

    pub(crate) fn for_stderr() -> Self {
        Self::new(messages::is_terminal())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the command is where the environment is read"
    )]
    fn new(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            coloured: terminal && !refused && !dumb,
        }
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.coloured {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn colour(self, colour: AnsiColor, text: &str) -> String {
        self.paint(Style::new().fg_color(Some(Color::Ansi(colour))), text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.colour(AnsiColor::Green, text)
    }

    pub(crate) fn active(self, text: &str) -> String {
        self.colour(AnsiColor::Cyan, text)
    }

    pub(crate) fn warn(self, text: &str) -> String {
        self.colour(AnsiColor::Yellow, text)
    }

    pub(crate) fn error(self, text: &str) -> String {
        self.paint(
            Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Red))),
            text,
        )
    }

    /// In the colour of a status.
    pub(crate) fn status(self, status: Status, text: &str) -> String {
        match status {
            Status::NotStarted | Status::Cancelled => self.dim(text),
            Status::InProgress => self.active(text),
            Status::Completed => self.good(text),
            Status::Failed => self.error(text),
            Status::Paused => self.warn(text),
        }
    }
}

/// The sign of a status, one column wide.
pub(crate) const fn sign(status: Status) -> &'static str {
    match status {
        Status::NotStarted => "·",
        Status::InProgress => "▶",
        Status::Completed => "✔",
        Status::Failed => "✘",
        Status::Paused => "⏸",
        Status::Cancelled => "⊘",
    }
}

/// A bar of `width` columns.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a percentage of a width that fits a terminal"
)]
pub(crate) fn bar(percent: Percent, width: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (percent.value() / 100.0 * (width * 8) as f64).floor() as usize;
    let (full, part) = (eighths / 8, eighths % 8);
    let mut bar = "█".repeat(full);
    bar.push_str(PARTS[part]);
    let used = full + usize::from(part > 0);
    bar.push_str(&"░".repeat(width.saturating_sub(used)));
    bar
}

/// A span in its two largest units: `45s`, `12m 03s`, `2h 05m`, `3d 04h`.
pub(crate) fn span(span: Span) -> String {
    let seconds = span.as_micros().max(0) / 1_000_000;
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    if days > 0 {
        format!("{days}d {hours:02}h")
    } else if hours > 0 {
        format!("{hours}h {minutes:02}m")
    } else if minutes > 0 {
        format!("{minutes}m {seconds:02}s")
    } else {
        format!("{seconds}s")
    }
}

/// A time to the second: `2025-01-31 05:25:01Z`.
pub(crate) fn time(at: Timestamp) -> String {
    let text = at.to_rfc3339();
    let (to_the_second, _) = text.split_once('.').unwrap_or((&text, ""));
    format!("{}Z", to_the_second.replacen('T', " ", 1))
}

/// A number of bytes: `812 B`, `4.2 KiB`, `1.5 GiB`.
#[expect(clippy::cast_precision_loss, reason = "shown to one decimal")]
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Free text on one line: what could steer the terminal, or pass for something else, is shown as `�`.
pub(crate) fn one_line(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

/// As [`one_line`], but lines stay lines.
pub(crate) fn printable(text: &str) -> String {
    let shown = |c| match c {
        '\n' | '\t' => c,
        '\u{2028}' | '\u{2029}' => ' ',
        c if c.is_control() || is_hidden(c) => '\u{FFFD}',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Whether a character has no look of its own, but turns what stands around it round or hides in it: the controls of
/// direction and format. The joiners U+200C and U+200D stay: scripts and emoji are spelled with them.
const fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{AD}'
            | '\u{61C}'
            | '\u{180E}'
            | '\u{200B}'
            | '\u{200E}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E007F}'
    )
}

/// `1 file`, `2 files`.
pub(crate) fn several(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bar(Percent::new(50.0).unwrap(), 4), "██░░");
        assert_eq!(bar(Percent::new(99.9).unwrap(), 4), "███▉");
        assert_eq!(bar(Percent::ZERO, 4), "░░░░");
        assert_eq!(bar(Percent::FULL, 4), "████");
        assert_eq!(span(Span::from_secs(45)), "45s");
        assert_eq!(span(Span::from_secs(723)), "12m 03s");
        assert_eq!(span(Span::from_secs(7_500)), "2h 05m");
        assert_eq!(span(Span::from_secs(3 * 86_400 + 4 * 3_600)), "3d 04h");
        assert_eq!(span(Span::from_secs(-5)), "0s");
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(4_301), "4.2 KiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
        assert_eq!(
            time(Timestamp::from_micros(1_738_301_101_056_236)),
            "2025-01-31 05:25:01Z"
        );
        assert_eq!(one_line("a\nb\u{1b}[31m"), "a b\u{FFFD}[31m");
        for hidden in [
            '\u{202E}',
            '\u{2066}',
            '\u{200F}',
            '\u{61C}',
            '\u{FEFF}',
            '\u{E0041}',
        ] {
            assert_eq!(one_line(&format!("gpj{hidden}.exe")), "gpj\u{FFFD}.exe");
        }
        assert_eq!(one_line("a\u{2028}b"), "a b");
        assert_eq!(one_line("👩\u{200D}🚀 é שלום"), "👩\u{200D}🚀 é שלום");
        assert_eq!(printable("a\n\tb\r"), "a\n\tb\u{FFFD}");
    }
}
