//! Extras: files and other entries without a record.

use std::collections::HashMap;
use std::sync::Arc;

use tracking_journal::storage;
use tracking_model::{Artifact, ArtifactStatus, SessionId, StreamId};

use super::{Finding, Problem, Verification, VerifyReport, unreadable};
use crate::dir::{Entry, InFlight, has_bytes, is_content};
use crate::manager::Inner;
use crate::path_set::PathSet;
use crate::{ArtifactError, FileKind, StoreError};

/// Most extras that a report names one by one; the rest is counted.
const NAMED: usize = 10_000;
/// The endings of the files beside a session's directory, after `session_<id>`.
const SUFFIXES: [&str; 10] = [
    ".jsonl",
    ".json",
    ".lock",
    ".checkpoint",
    ".agent",
    ".jsonl.new",
    ".jsonl.repaired",
    ".checkpoint.new",
    ".json.part",
    ".json.lock",
];
/// Beginnings of the endings of files that a repair or an import in place keeps.
const BEGINNINGS: [&str; 2] = [".jsonl.damaged-", ".json.reference"];

/// Entries of a session's directory that were not yet found among its records.
pub(super) struct Unexplained(PathSet);

impl Unexplained {
    pub(super) fn new() -> Self {
        Self(PathSet::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn found(&mut self, entry: &Entry) {
        self.0.insert(&mark(entry));
    }

    /// Takes out the file of a record.
    pub(super) fn explain(&mut self, artifact: &Artifact) {
        let Some(local_path) = &artifact.local_path else {
            return;
        };
        self.0.remove(local_path);
        if has_bytes(artifact) {
            // An entry that has taken the place of its file is reported with the artifact.
            self.0.remove(&other(local_path));
        }
    }

    /// Takes out the directories of the collections that a session has now.
    pub(super) fn explain_collections(
        &mut self,
        run: &Verification<'_>,
        id: &SessionId,
    ) -> Result<(), ArtifactError> {
        run.inner.sessions.with_session(id, |session| {
            for collection in session.collections.keys() {
                let path = format!("artifacts/{}/{}", id.encoded(), collection.encoded());
                self.0.remove(&other(&path));
            }
        })
    }

    pub(super) fn contains(&self, entry: &Entry) -> bool {
        self.0.contains(&mark(entry))
    }
}

/// Files of a session that may have no record: they are being added, or their writer died.
pub(super) struct InFlightFiles {
    /// True for each inode whose writer died.
    dead: HashMap<u64, bool>,
    /// Files of dead writers that have no name in a collection.
    pub(super) unfinished: Vec<Arc<str>>,
}

impl InFlightFiles {
    pub(super) fn new() -> Self {
        Self {
            dead: HashMap::new(),
            unfinished: Vec::new(),
        }
    }

    pub(super) fn found(&mut self, entry: &Entry, found: InFlight) {
        let dead = self.dead.entry(found.inode).or_insert(true);
        *dead &= found.dead;
        if found.dead && found.alone {
            self.unfinished.push(entry.local_path().into());
        }
    }

    /// True if the file of an entry is one of them, and its writer died.
    pub(super) fn of(&self, entry: &Entry) -> Option<bool> {
        let dead = self.dead.get(&entry.inode).copied();
        dead.filter(|_| entry.key.is_some() && entry.kind.is_none())
    }
}

/// The mark of an entry: its path for a file that can be an artifact's, for other entries a text that no record has.
fn mark(entry: &Entry) -> String {
    let path = entry.local_path();
    if entry.key.is_some() && entry.kind.is_none() {
        path
    } else {
        other(&path)
    }
}

fn other(path: &str) -> String {
    format!("\0{path}")
}

impl VerifyReport {
    /// Notes a directory, or one below it, that could not be listed to its end.
    pub(super) fn note_unlisted(&mut self, local_path: &str, listed: Result<(), StoreError>) {
        if let Err(error) = listed {
            self.findings.push(Finding {
                local_path: local_path.into(),
                artifact: None,
                problem: unreadable(&error),
            });
        }
    }

    pub(super) fn extra(&mut self, entry: &Entry) {
        self.extras += 1;
        if self.extras <= NAMED as u64 {
            self.findings.push(Finding {
                local_path: entry.local_path().into(),
                artifact: None,
                problem: Problem::Extra { kind: entry.kind },
            });
        }
    }
}

impl Verification<'_> {
    /// Reports extra entries beside the directories of sessions.
    pub(super) fn beside(&mut self) {
        let (inner, report) = (self.inner, &mut self.report);
        let listed = inner.artifacts.each_beside(&mut |entry| {
            let belongs = match (entry.depth(), entry.kind) {
                (0, None) => entry.name().is_some_and(is_beside_a_session),
                (0, Some(FileKind::Directory)) => entry.name().is_some_and(|name| has_session(inner, name)),
                (1, None) => entry.name().is_some_and(is_content),
                _ => false,
            };
            if belongs {
                return;
            }
            if is_being_imported(inner, &entry) {
                report.unfinished.push(entry.local_path().into());
            } else {
                report.extra(&entry);
            }
        });
        report.note_unlisted("artifacts", listed);
    }

    /// Removes findings of missing artifacts that were deleted meanwhile.
    pub(super) fn forget_deleted(&mut self, since: usize, deleted: &PathSet) {
        let mut number = 0;
        self.report.findings.retain(|finding| {
            number += 1;
            let gone = |artifact: &Arc<Artifact>| deleted.contains(artifact.artifact_id.as_str());
            number <= since
                || finding.problem != Problem::Missing
                || !finding.artifact.as_ref().is_some_and(gone)
        });
    }
}

/// Notes an artifact that is deleted.
pub(super) fn note_deleted(deleted: &mut PathSet, artifact: &Artifact) {
    if artifact.status == ArtifactStatus::Deleted {
        deleted.insert(artifact.artifact_id.as_str());
    }
}

/// True if the directory belongs to a session with a journal, or to one that the Python implementation wrote.
fn has_session(inner: &Inner, name: &str) -> bool {
    let Ok(id) = SessionId::from_encoded(name) else {
        return false;
    };
    let home = inner.sessions.data_dir();
    let stream = StreamId::Session(id);
    // A journal that cannot be looked at counts as there.
    storage::exists(&home.journal_path(&stream)) || storage::exists(&home.snapshot_path(&stream))
}

/// True for the directory of a session whose import has not written the journal: the import creates the lock of
/// the journal before everything else.
fn is_being_imported(inner: &Inner, entry: &Entry) -> bool {
    let (0, Some(FileKind::Directory), Some(name)) = (entry.depth(), entry.kind, entry.name()) else {
        return false;
    };
    let Ok(id) = SessionId::from_encoded(name) else {
        return false;
    };
    storage::exists(&inner.sessions.data_dir().sidecar_path(&StreamId::Session(id)))
}

fn is_beside_a_session(name: &str) -> bool {
    let is_session = |stem: &str| matches!(StreamId::from_file_stem(stem), Ok(StreamId::Session(_)));
    let before = |beginning: &&str| name.rfind(beginning).and_then(|at| name.get(..at));
    let mut stems = SUFFIXES.iter().filter_map(|suffix| name.strip_suffix(suffix));
    stems.any(is_session) || BEGINNINGS.iter().filter_map(before).any(is_session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_beside_sessions_is_told_by_its_name() {
        for name in [
            "session_a.b.jsonl",
            "session_a%3Ab.json",
            "session_a.json.reference-2",
            "session_a.jsonl.damaged-20250131T052501Z",
            "session_a.lock",
        ] {
            assert!(is_beside_a_session(name), "{name}");
        }
        for name in [
            "notes.txt",
            "session_.json",
            "session_a",
            "upgrade_a.jsonl",
            "session_a.jsonl.orig",
        ] {
            assert!(!is_beside_a_session(name), "{name}");
        }
        assert!(is_content(&"0a".repeat(32)));
        for name in ["zzz".to_owned(), "0A".repeat(32), "0a".repeat(31)] {
            assert!(!is_content(&name), "{name}");
        }
    }
}
