//! What the terminal can show.

use std::borrow::Cow;

use tracking_facade::{Percent, Status};

use crate::render;

/// The characters that the terminal's locale has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    /// UTF-8.
    Unicode,
    /// Nothing is known beyond ASCII.
    Ascii,
}

impl Charset {
    /// That of the locale.
    #[expect(
        clippy::disallowed_methods,
        reason = "the command is where the environment is read"
    )]
    pub(crate) fn of_locale() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        Self::named(locale.as_deref().unwrap_or("C"))
    }

    fn named(locale: &str) -> Self {
        let locale = locale.to_ascii_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") {
            Self::Unicode
        } else {
            Self::Ascii
        }
    }

    /// The sign of a status, one column wide.
    pub(super) const fn sign(self, status: Status) -> &'static str {
        match (self, status) {
            (Self::Unicode, status) => render::sign(status),
            (Self::Ascii, Status::NotStarted) => ".",
            (Self::Ascii, Status::InProgress) => ">",
            (Self::Ascii, Status::Completed) => "+",
            (Self::Ascii, Status::Failed) => "x",
            (Self::Ascii, Status::Paused) => "=",
            (Self::Ascii, Status::Cancelled) => "/",
        }
    }

    /// A bar of `width` columns.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a percentage of a width that fits a terminal"
    )]
    pub(super) fn bar(self, percent: Percent, width: usize) -> String {
        match self {
            Self::Unicode => render::bar(percent, width),
            Self::Ascii => {
                let full = (percent.value() / 100.0 * width as f64).floor() as usize;
                format!("{}{}", "#".repeat(full), "-".repeat(width.saturating_sub(full)))
            }
        }
    }

    /// Branches of the tree: a level that goes on, one that has ended, a task with siblings below it, the last one.
    pub(super) const fn branches(self) -> [&'static str; 4] {
        match self {
            Self::Unicode => ["│  ", "   ", "├─ ", "└─ "],
            Self::Ascii => ["|  ", "   ", "|- ", "`- "],
        }
    }

    /// What stands between remarks.
    pub(super) const fn separator(self) -> &'static str {
        match self {
            Self::Unicode => " · ",
            Self::Ascii => ", ",
        }
    }

    /// What stands for text that did not fit.
    pub(super) const fn ellipsis(self) -> &'static str {
        match self {
            Self::Unicode => "…",
            Self::Ascii => "...",
        }
    }

    /// Text as it can be shown.
    pub(super) fn text(self, text: &str) -> Cow<'_, str> {
        if self == Self::Unicode || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_decides() {
        assert_eq!(Charset::named("en_GB.UTF-8"), Charset::Unicode);
        assert_eq!(Charset::named("C.utf8"), Charset::Unicode);
        assert_eq!(Charset::named("C"), Charset::Ascii);
        assert_eq!(Charset::named("de_DE.ISO-8859-1"), Charset::Ascii);
    }

    #[test]
    fn bars_are_full_only_at_the_end() {
        assert_eq!(Charset::Ascii.bar(Percent::new(99.9).unwrap(), 4), "###-");
        assert_eq!(Charset::Ascii.bar(Percent::FULL, 4), "####");
        assert_eq!(Charset::Ascii.text("Zürich"), "Z?rich");
    }
}
