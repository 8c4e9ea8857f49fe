//! Opening an upgrade: a new one, one that exists, one that the reference left, or one in memory.

use std::sync::{Arc, Mutex};

use tracking_journal::{DataDir, Journal, storage};
use tracking_model::{CommandError, Snapshot, StreamId, UpgradeCommand, UpgradeId, UpgradeProgress};

use crate::callbacks::Callbacks;
use crate::control::Control;
use crate::history::LearnedHistory;
use crate::observer::Observer;
use crate::snapshot::{self, FileSystem, ReplaceFile, SnapshotWriter};
use crate::tracker::Inner;
use crate::{NewUpgrade, ProgressError, ProgressTracker, ProgressTrackerOptions, import};

/// Opening.
impl ProgressTracker {
    /// Opens an upgrade, creating it if it does not exist. Blocks while it reads what is there; in async code call it
    /// on a blocking thread.
    ///
    /// A file that the reference left for this upgrade is taken over, see [`import_reference`](crate::import_reference).
    ///
    /// # Errors
    /// [`ProgressError::OtherUpgrade`] if it exists for another plan or cluster; [`ProgressError::Refused`] for an
    /// invalid cluster name or metadata; [`ProgressError::Journal`] if the journal cannot be opened or written.
    pub fn open_or_create(
        dir: &DataDir,
        upgrade: NewUpgrade,
        options: ProgressTrackerOptions,
    ) -> Result<Self, ProgressError> {
        Self::start(
            Some(dir),
            &upgrade.upgrade_id.clone(),
            &options,
            Box::new(FileSystem),
            |journal| {
                import::take_over(dir, journal, &upgrade.upgrade_id)?;
                create(journal, upgrade)
            },
        )
    }

    /// Opens an upgrade that exists. Blocks while it reads what is there; in async code call it on a blocking thread.
    ///
    /// A file that the reference left for this upgrade is taken over, see [`import_reference`](crate::import_reference).
    ///
    /// # Errors
    /// [`ProgressError::UnknownUpgrade`] if it does not exist, and then nothing is created; [`ProgressError::Journal`]
    /// if its journal cannot be opened.
    pub fn open(
        dir: &DataDir,
        upgrade_id: &UpgradeId,
        options: ProgressTrackerOptions,
    ) -> Result<Self, ProgressError> {
        let unknown = || ProgressError::UnknownUpgrade {
            upgrade_id: upgrade_id.clone(),
            data_dir: dir.path().to_owned(),
        };
        if !import::is_known(dir, upgrade_id)? {
            return Err(unknown());
        }
        Self::start(Some(dir), upgrade_id, &options, Box::new(FileSystem), |journal| {
            import::take_over(dir, journal, upgrade_id)?;
            if journal.read(|state, _| state.exists()) {
                Ok(())
            } else {
                Err(unknown())
            }
        })
    }

    /// Creates an upgrade that exists in memory alone and ends with the last clone; for tests and trials.
    ///
    /// # Errors
    /// [`ProgressError::Refused`] for an invalid cluster name or metadata.
    pub fn in_memory(upgrade: NewUpgrade, options: ProgressTrackerOptions) -> Result<Self, ProgressError> {
        Self::start(
            None,
            &upgrade.upgrade_id.clone(),
            &options,
            Box::new(FileSystem),
            |journal| create(journal, upgrade),
        )
    }

    pub(crate) fn start(
        dir: Option<&DataDir>,
        upgrade_id: &UpgradeId,
        options: &ProgressTrackerOptions,
        files: Box<dyn ReplaceFile>,
        prepare: impl FnOnce(&Journal<UpgradeProgress>) -> Result<(), ProgressError>,
    ) -> Result<Self, ProgressError> {
        let stream = StreamId::Upgrade(upgrade_id.clone());
        let journal = match dir {
            Some(dir) => Journal::open(dir, stream.clone(), options.journal())?,
            None => Journal::in_memory(stream.clone(), options.journal()),
        };
        prepare(&journal)?;
        let snapshots = dir
            .map(|dir| snapshots(dir, &stream, journal.clone(), files))
            .transpose()?
            .map(Arc::new);
        let control = Arc::new(Control::new(journal.read(|state, _| state.status)));
        let callbacks = Callbacks::new(options.callback_queue);
        let observer = Observer {
            journal: journal.clone(),
            control: Arc::clone(&control),
            callbacks: Arc::clone(&callbacks),
            snapshots: snapshots.clone(),
        };
        let observer = observer
            .start()
            .map_err(|source| ProgressError::io("start the tracker's thread", None, source))?;
        // What happened between the first look at the status and the observer's subscription.
        control.status_is(journal.read(|state, _| state.status));
        let inner = Inner {
            upgrade_id: upgrade_id.clone(),
            data_dir: dir.cloned(),
            journal,
            clock: Arc::clone(&options.clock),
            actor: Arc::clone(&options.actor),
            callbacks,
            control,
            snapshots,
            history: LearnedHistory::default(),
            observer: Mutex::new(Some(observer)),
            callback_patience: options.callback_patience,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }
}

/// Writes the first record, unless the upgrade exists for the same plan and cluster.
fn create(journal: &Journal<UpgradeProgress>, upgrade: NewUpgrade) -> Result<(), ProgressError> {
    let NewUpgrade {
        upgrade_id,
        plan_id,
        cluster_name,
        metadata,
    } = upgrade;
    let existing = journal.read(|state, _| {
        state
            .plan_id
            .clone()
            .map(|plan| (plan, Arc::clone(&state.cluster_name)))
    });
    let existing = match existing {
        Some(existing) => existing,
        None => {
            let command = UpgradeCommand::Create {
                plan_id: plan_id.clone(),
                cluster_name: Arc::clone(&cluster_name),
                metadata,
            };
            match journal.submit_blocking(command).map_err(ProgressError::from) {
                Ok(_) => return Ok(()),
                // Another process was faster.
                Err(ProgressError::Refused(CommandError::UpgradeExists {
                    plan_id,
                    cluster_name,
                })) => (plan_id, cluster_name),
                Err(error) => return Err(error),
            }
        }
    };
    if existing == (plan_id, cluster_name) {
        Ok(())
    } else {
        let (plan_id, cluster_name) = existing;
        Err(ProgressError::OtherUpgrade {
            upgrade_id,
            plan_id,
            cluster_name,
        })
    }
}

fn snapshots(
    dir: &DataDir,
    stream: &StreamId,
    journal: Journal<UpgradeProgress>,
    files: Box<dyn ReplaceFile>,
) -> Result<SnapshotWriter, ProgressError> {
    let path = dir.snapshot_path(stream);
    snapshot::remove_leftovers(&path)
        .map_err(|source| ProgressError::io("remove old temporary files of", path.clone(), source))?;
    let journal_path = dir.journal_path(stream);
    let render = Box::new(move || {
        // A snapshot without its journal would look like a file of the reference, to be taken over.
        if !storage::exists(&journal_path) {
            return None;
        }
        // Cloned under the lock and rendered outside of it, so that commits wait for the copy alone.
        let state = journal.read(|state, _| state.clone());
        state
            .exists()
            .then(|| Snapshot::of(&state).to_json().into_bytes())
    });
    let writer = SnapshotWriter::start(path, files, render)
        .map_err(|source| ProgressError::io("start the thread that writes snapshots", None, source))?;
    // The file may be missing, older than the journal, or the reference's.
    writer.mark_dirty();
    Ok(writer)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use tracking_model::{PlanId, Status};

    use super::*;

    #[derive(Debug)]
    struct FullDisk;

    impl ReplaceFile for FullDisk {
        fn replace(&self, _: &Path, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    #[test]
    fn fault_11_snapshots_that_fail_harm_no_command_and_are_told() {
        const COMMANDS: u64 = 100;
        let temporary = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temporary.path()).unwrap();
        let upgrade_id = UpgradeId::new("u").unwrap();
        let upgrade = NewUpgrade::new(upgrade_id.clone(), PlanId::new("p").unwrap(), "c");
        let options = ProgressTrackerOptions::default();
        let tracker =
            ProgressTracker::start(Some(&dir), &upgrade_id, &options, Box::new(FullDisk), |journal| {
                create(journal, upgrade)
            })
            .unwrap();
        let submit = |command| tracker.submit(command).wait().unwrap();
        submit(UpgradeCommand::Start { phase: "x".into() });
        for n in 1..COMMANDS {
            submit(UpgradeCommand::SetPhase {
                phase: n.to_string().into(),
            });
        }
        let error = tracker.close_blocking().unwrap_err();
        assert!(matches!(error, ProgressError::Snapshot { .. }), "{error}");
        let snapshots = tracker.system_info().storage.snapshots.unwrap();
        assert!(snapshots.failed > 0 && snapshots.written == 0);
        assert!(snapshots.last_error.unwrap().contains("upgrade_u.json"));
        drop(tracker);
        let again = ProgressTracker::open(&dir, &upgrade_id, options).unwrap();
        assert_eq!(
            (again.head().seq, again.state().status),
            (COMMANDS + 1, Status::InProgress)
        );
        again.close_blocking().unwrap();
        assert!(dir.snapshot_path(again.journal().stream()).exists());
        println!("FAULT row=11 name=tracker_without_snapshots commands={COMMANDS} refused=0 lost=0");
    }
}
