//! Comparing a session's files with its records, and removing those that no live artifact has.

use std::sync::{Mutex, PoisonError};

use tracking_model::{ArtifactStatus, Session, SessionId, Span};

use super::{Cleanup, CleanupMode, OrphanFile, OrphanMode};
use crate::on_disk::Paths;
use crate::{ArtifactError, ArtifactKey};

/// A file without a record is only reported when it is older: until then it may belong to an artifact that is being
/// added.
const ORPHAN_AGE: Span = Span::from_secs(86_400);
/// Files that are collected before they are removed.
const CHUNK: usize = 1024;
/// Files that are removed at once: each removal waits for the disk, and the disk takes several in one go.
const REMOVERS: usize = 4;

/// The files that nobody needs, as far as they were found.
#[derive(Default)]
struct Found {
    leftovers: Vec<ArtifactKey>,
    orphans: Vec<ArtifactKey>,
}

impl Cleanup<'_> {
    /// Removes the files of a completed session whose records say that they are deleted, and the directories that are
    /// empty then; looks for files without a record.
    pub(super) fn sweep(&mut self, id: &SessionId) -> Result<(), ArtifactError> {
        let inner = self.inner;
        let (vault, completed) = (
            inner.catalogue.vault(),
            inner.catalogue.look(id, |session: &Session| !session.is_open())?,
        );
        let mut is_empty = true;
        vault.each_key(id, &mut |_| is_empty = false)?;
        if !is_empty {
            self.sweep_files(id, completed)?;
        }
        if completed && self.options.mode == CleanupMode::Delete {
            let removed = vault.tidy(id)?;
            self.report.removed_directories += removed;
            if removed > 0 {
                self.steps.add(&self.steps.files, 0);
            }
        }
        Ok(())
    }

    fn sweep_files(&mut self, id: &SessionId, completed: bool) -> Result<(), ArtifactError> {
        let inner = self.inner;
        let (mut live, mut dead) = (Paths::new(), Paths::new());
        inner.each_recorded(id, |artifact| {
            if let Some(path) = &artifact.local_path {
                match artifact.status {
                    ArtifactStatus::Deleted => dead.insert(path),
                    _ => live.insert(path),
                }
            }
        })?;
        let removes = completed && self.options.mode == CleanupMode::Delete;
        let mut found = Found::default();
        let mut walked = Ok(());
        inner.catalogue.vault().each_key(id, &mut |key| {
            let path = key.local_path();
            if live.contains(&path) {
                return;
            }
            if dead.contains(&path) {
                found.leftovers.push(key);
            } else {
                found.orphans.push(key);
            }
            if found.leftovers.len() + found.orphans.len() >= CHUNK && walked.is_ok() {
                walked = self.deal_with(id, std::mem::take(&mut found), removes);
            }
        })?;
        walked?;
        self.deal_with(id, found, removes)
    }

    fn deal_with(&mut self, id: &SessionId, found: Found, removes: bool) -> Result<(), ArtifactError> {
        if removes {
            self.remove(id, &found.leftovers);
        } else {
            self.report.leftover_files += found.leftovers.len() as u64;
        }
        let now = self.inner.options.journal.clock.now();
        for key in found.orphans {
            let Some(age) = self.inner.catalogue.vault().age(&key)? else {
                continue;
            };
            if now < age.changed + ORPHAN_AGE {
                continue;
            }
            let removed = removes
                && self.options.orphans == OrphanMode::Remove
                && self.remove(id, std::slice::from_ref(&key));
            self.report.orphan(OrphanFile {
                local_path: key.local_path().into(),
                size: age.size,
                since: age.changed,
                removed,
            });
        }
        Ok(())
    }

    /// Removes files, several at once; tells whether all are gone.
    fn remove(&mut self, id: &SessionId, keys: &[ArtifactKey]) -> bool {
        let (vault, steps) = (self.inner.catalogue.vault(), &self.steps);
        let (rest, failed) = (Mutex::new(keys.iter()), Mutex::new(Vec::new()));
        let work = || {
            loop {
                let next = rest.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(key) = next else { return };
                match vault.unlink(key) {
                    Ok(()) => steps.add(&steps.files, 1),
                    Err(error) => failed.lock().unwrap_or_else(PoisonError::into_inner).push(error),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..REMOVERS.min(keys.len()) {
                scope.spawn(work);
            }
            work();
        });
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.report.removed_files += (keys.len() - failed.len()) as u64;
        let all = failed.is_empty();
        for error in failed {
            self.report.fail(id, None, error.into());
        }
        all
    }
}
