//! Which events are sent.

use std::fmt;

/// Every event that can be sent, and whether it is sent where nothing else was chosen. Heartbeats are not among them:
/// they never leave the journal.
const KINDS: [(&str, bool); 19] = [
    ("upgrade.created", false),
    ("upgrade.imported", false),
    ("upgrade.started", true),
    ("upgrade.phase_changed", true),
    ("upgrade.paused", true),
    ("upgrade.resumed", true),
    ("upgrade.completed", true),
    ("upgrade.failed", true),
    ("upgrade.cancelled", true),
    ("task.added", false),
    ("task.started", true),
    ("task.progress", false),
    ("task.completed", true),
    ("task.failed", true),
    ("task.retried", true),
    ("task.paused", true),
    ("task.resumed", true),
    ("task.cancelled", true),
    ("task.waiting", true),
];
/// Stands for the events that are sent where nothing was chosen.
const DEFAULT: &str = "default";
/// Kinds of the journal that are never sent, for a relay to pass them by without asking.
const NEVER: [&str; 15] = [
    "task.heartbeat",
    "session.created",
    "session.imported",
    "session.outcome",
    "session.completed",
    "session.pinned",
    "session.unpinned",
    "collection.created",
    "artifact.added",
    "artifact.tagged",
    "artifact.uploaded",
    "artifact.archived",
    "artifact.downloaded",
    "artifact.failed",
    "artifact.deleted",
];

/// A choice of events, by their position in [`KINDS`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds([bool; KINDS.len()]);

impl Default for Kinds {
    fn default() -> Self {
        Self(KINDS.map(|(_, sent)| sent))
    }
}

impl Kinds {
    /// The events that any of `patterns` means: a name, a name with `*` at one end, or `default`. The error is those
    /// that mean none.
    pub(crate) fn chosen(patterns: &[String]) -> Result<Self, Vec<String>> {
        let mut chosen = [false; KINDS.len()];
        let mut empty = Vec::new();
        for pattern in patterns {
            let mut any = false;
            for (slot, (kind, sent)) in chosen.iter_mut().zip(KINDS) {
                if (pattern == DEFAULT && sent) || matches(pattern, kind) {
                    *slot = true;
                    any = true;
                }
            }
            if !any {
                empty.push(pattern.clone());
            }
        }
        if empty.is_empty() {
            Ok(Self(chosen))
        } else {
            Err(empty)
        }
    }

    /// Whether events of this kind are sent.
    pub(crate) fn has(&self, kind: &str) -> bool {
        self.names().any(|name| name == kind)
    }

    /// The kinds that are sent.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.with(true)
    }

    /// The known kinds that are not sent.
    pub(crate) fn others(&self) -> impl Iterator<Item = &'static str> {
        self.with(false).chain(NEVER)
    }

    fn with(&self, sent: bool) -> impl Iterator<Item = &'static str> {
        let pairs = self.0.into_iter().zip(KINDS);
        pairs
            .filter(move |(slot, _)| *slot == sent)
            .map(|(_, (kind, _))| kind)
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

fn matches(pattern: &str, kind: &str) -> bool {
    if let Some(start) = pattern.strip_suffix('*') {
        kind.starts_with(start)
    } else if let Some(end) = pattern.strip_prefix('*') {
        kind.ends_with(end)
    } else {
        pattern == kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(patterns: &[&str]) -> Result<Vec<&'static str>, Vec<String>> {
        let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Kinds::chosen(&patterns).map(|kinds| kinds.names().collect())
    }

    #[test]
    fn progress_is_sent_only_when_asked_for() {
        assert!(!Kinds::default().has("task.progress"));
        let names = chosen(&["default", "task.progress"]).unwrap();
        assert_eq!(names.len(), Kinds::default().names().count() + 1);
        assert!(names.contains(&"task.progress") && names.contains(&"upgrade.failed"));
    }

    #[test]
    fn patterns_choose_by_one_end() {
        assert_eq!(chosen(&["*.failed"]).unwrap(), ["upgrade.failed", "task.failed"]);
        assert_eq!(chosen(&["upgrade.*"]).unwrap().len(), 9);
        assert_eq!(chosen(&["*"]).unwrap().len(), KINDS.len());
        assert_eq!(
            chosen(&["task.heartbeat", "task.*", "x"]).unwrap_err(),
            ["task.heartbeat", "x"]
        );
    }

    #[test]
    fn what_is_not_sent_is_passed_by() {
        let kinds = Kinds::default();
        let others: Vec<_> = kinds.others().collect();
        assert!(others.contains(&"task.progress") && others.contains(&"task.heartbeat"));
        assert!(others.iter().all(|kind| !kinds.has(kind)));
    }
}
