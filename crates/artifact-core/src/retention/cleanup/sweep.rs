//! Comparing a session's directory with its records, and removing files of no live artifact.

use std::sync::Arc;

use tracking_model::{ArtifactStatus, CollectionId, Session, SessionId, Span};

use super::{Cleanup, CleanupMode, LeftBecause, OrphanFile, OrphanMode};
use crate::dir::{Entry, FileAge};
use crate::path_set::PathSet;
use crate::{ArtifactError, FileKind};

/// Entries without a record are reported only when they are older: until then they may belong to an artifact that is being
/// added.
const ORPHAN_AGE: Span = Span::from_secs(86_400);
/// Most entries of one directory that are collected before they are removed, which is made durable once for all of them.
const CHUNK: usize = 1024;

/// Entries of one directory that may be removed.
#[derive(Default)]
struct Found {
    leftovers: Vec<Entry>,
    orphans: Vec<Entry>,
}

impl Found {
    /// True if these entries are to be removed before `next` is taken.
    fn is_due(&self, next: &Entry) -> bool {
        let first = self.leftovers.first().or_else(|| self.orphans.first());
        first.is_some_and(|first| !Arc::ptr_eq(&first.place, &next.place) && first.place != next.place)
            || self.leftovers.len() + self.orphans.len() >= CHUNK
    }
}

impl Cleanup<'_> {
    /// Removes the files of a completed session whose records say that they are deleted, and the directories that are
    /// empty then; looks for what has no record.
    pub(super) fn sweep(&mut self, id: &SessionId) -> Result<(), ArtifactError> {
        let inner = self.inner;
        let (stored, completed) = (
            &inner.artifacts,
            inner
                .sessions
                .with_session(id, |session: &Session| !session.is_open())?,
        );
        let mut is_empty = true;
        stored.each_entry(id, &mut |_| is_empty = false)?;
        if !is_empty {
            self.sweep_entries(id, completed)?;
        }
        if completed {
            self.sweep_in_flight(id)?;
        }
        if completed && self.options.mode == CleanupMode::Delete {
            let removed = stored.tidy(id)?;
            self.report.removed_directories += removed;
            if removed > 0 {
                self.steps.add(&self.steps.files, 0);
            }
        }
        Ok(())
    }

    fn sweep_entries(&mut self, id: &SessionId, completed: bool) -> Result<(), ArtifactError> {
        let inner = self.inner;
        let (mut live, mut dead) = (PathSet::new(), PathSet::new());
        inner.sessions.each_recorded(id, |artifact| {
            if let Some(path) = &artifact.local_path {
                match artifact.status {
                    ArtifactStatus::Deleted | ArtifactStatus::Archived => dead.insert(path),
                    _ => live.insert(path),
                }
            }
        })?;
        let mut found = Found::default();
        let mut walked = Ok(());
        inner.artifacts.each_entry(id, &mut |entry| {
            if walked.is_ok() && found.is_due(&entry) {
                walked = self.deal_with(id, std::mem::take(&mut found), completed);
            }
            // Directories of collections are removed later, when they are empty.
            if walked.is_err() || entry.is_collection() {
                return;
            }
            let path = entry.key.as_ref().map(|key| key.local_path());
            match path {
                // Verification reports an entry that replaced the file of a live artifact.
                Some(path) if live.contains(&path) => {}
                Some(path) if entry.kind.is_none() && dead.contains(&path) => found.leftovers.push(entry),
                _ => found.orphans.push(entry),
            }
        })?;
        walked?;
        self.deal_with(id, found, completed)
    }

    /// Finds the files that dead writers left in a completed session, to which nobody adds any more.
    fn sweep_in_flight(&mut self, id: &SessionId) -> Result<(), ArtifactError> {
        let mut left = Found::default();
        let stored = &self.inner.artifacts;
        stored.each_in_flight(id, &mut |entry, found| match (found.dead, found.alone) {
            (false, _) => {}
            (true, true) => left.orphans.push(entry),
            (true, false) => left.leftovers.push(entry),
        })?;
        self.deal_with(id, left, true)
    }

    fn deal_with(&mut self, id: &SessionId, found: Found, completed: bool) -> Result<(), ArtifactError> {
        if completed && self.options.mode == CleanupMode::Delete {
            self.remove(id, &found.leftovers);
        } else {
            self.report.leftover_files += found.leftovers.len() as u64;
        }
        let stays = match (self.options.orphans, self.options.mode) {
            (OrphanMode::Report, _) => Some(LeftBecause::NotAsked),
            (OrphanMode::Remove, CleanupMode::DryRun) => Some(LeftBecause::DryRun),
            (OrphanMode::Remove, CleanupMode::Delete) => (!completed).then_some(LeftBecause::SessionOpen),
        };
        let (mut removable, mut ages) = (Vec::new(), Vec::new());
        for entry in found.orphans {
            // A directory is as old as the last change in it, which may be ours: if it is empty it may go.
            if entry.kind == Some(FileKind::Directory) && stays.is_none() && self.remove_directory(id, &entry)
            {
                continue;
            }
            let Some(age) = self.old(&entry)? else { continue };
            let stays = match stays {
                None => self.stays(id, &entry)?,
                stays => stays,
            };
            match stays {
                Some(reason) => self.report_orphan(&entry, age, Some(reason)),
                None => {
                    removable.push(entry);
                    ages.push(age);
                }
            }
        }
        let gone = self.remove(id, &removable);
        for ((entry, age), gone) in removable.iter().zip(ages).zip(gone) {
            self.report_orphan(entry, age, (!gone).then_some(LeftBecause::Failed));
        }
        Ok(())
    }

    /// The reason why an entry is not removed.
    fn stays(&self, id: &SessionId, entry: &Entry) -> Result<Option<LeftBecause>, ArtifactError> {
        let collection = entry
            .name()
            .and_then(|name| CollectionId::from_encoded(name).ok());
        if let (1, Some(collection)) = (entry.depth(), collection)
            && self
                .inner
                .sessions
                .with_session(id, |session| session.collection(&collection).is_some())?
        {
            return Ok(Some(LeftBecause::InPlaceOfCollection));
        }
        Ok(match entry.kind {
            None | Some(FileKind::Symlink | FileKind::Fifo) => None,
            Some(FileKind::Directory) => Some(LeftBecause::NotEmpty),
            Some(_) => Some(LeftBecause::Special),
        })
    }

    /// The age of an entry that is old enough to be an orphan.
    fn old(&self, entry: &Entry) -> Result<Option<FileAge>, ArtifactError> {
        let now = self.inner.options.journal.clock.now();
        let age = self.inner.artifacts.age(entry)?;
        Ok(age.filter(|age| now >= age.changed + ORPHAN_AGE))
    }

    fn report_orphan(&mut self, entry: &Entry, age: FileAge, left: Option<LeftBecause>) {
        self.report.orphan(OrphanFile {
            local_path: entry.local_path().into(),
            kind: entry.kind,
            size: age.size,
            since: age.changed,
            removed: left.is_none(),
            left,
        });
    }

    fn remove_directory(&mut self, id: &SessionId, entry: &Entry) -> bool {
        match self.inner.artifacts.remove_directory(entry) {
            Ok(removed) => {
                self.report.removed_directories += u64::from(removed);
                removed
            }
            Err(error) => {
                self.report.fail(id, None, error.into());
                false
            }
        }
    }

    /// Removes entries of one directory; returns true for each that is gone.
    fn remove(&mut self, id: &SessionId, entries: &[Entry]) -> Vec<bool> {
        let steps = &self.steps;
        let unlinked = self
            .inner
            .artifacts
            .unlink_all(entries, &|| steps.add(&steps.files, 1));
        let mut gone = Vec::with_capacity(entries.len());
        for result in unlinked.each {
            gone.push(result.is_ok());
            match result {
                Ok(()) => self.report.removed_files += 1,
                Err(error) => self.report.fail(id, None, error.into()),
            }
        }
        if let Err(error) = unlinked.durable {
            self.report.fail(id, None, error.into());
        }
        gone
    }
}
