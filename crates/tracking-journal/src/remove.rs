//! Removing a stream for good.

use std::fs;
use std::io;
use std::time::Duration;

use tracking_model::StreamId;

use crate::log::Log;
use crate::place::Place;
use crate::{DataDir, JournalError};

/// Removes a stream: its snapshot, journal, checkpoint, cursors and locks. Waits up to `lock_timeout` for a commit that
/// is under way; writers that have the stream open are answered `Removed` from then on.
///
/// The journal goes last, under its lock: until then nobody begins the stream anew, so nothing of a new life is removed,
/// and the snapshot is at no moment there without it; alone it would look like a file of the reference, to be taken over.
///
/// # Errors
/// [`JournalError::NoSuchStream`] if there is none, [`JournalError::Locked`] if a writer keeps the lock, else as the
/// system says; called again, it goes on where it failed.
pub fn remove(dir: &DataDir, stream: &StreamId, lock_timeout: Duration) -> Result<(), JournalError> {
    let place = Place::on_disk(dir, stream);
    let mut log = Log::new(place.clone(), lock_timeout, None);
    let found = place.io.identity(&place.journal);
    if found
        .map_err(|error| JournalError::io("look at", &place.journal, error))?
        .is_none()
    {
        return Err(JournalError::NoSuchStream {
            stream: stream.clone(),
            path: place.journal,
        });
    }
    let _lock = log.lock()?;
    let sync = || {
        let directory = place.directory();
        let synced = place.io.sync_dir(&directory);
        synced.map_err(|error| JournalError::io("sync", &directory, error))
    };
    let delete = |path: &std::path::Path| {
        place
            .io
            .remove(path)
            .map_err(|error| JournalError::io("remove", path, error))
    };
    delete(&dir.snapshot_path(stream))?;
    delete(&place.checkpoint)?;
    delete(&crate::checkpoint::temporary(&place))?;
    delete(&place.agent)?;
    delete(&place.sidecar)?;
    for directory in [dir.runs_dir(stream), dir.cursors_dir().join(stream.file_stem())] {
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(JournalError::io("remove", &directory, error));
            }
            _ => {}
        }
    }
    sync()?;
    delete(&place.journal)?;
    sync()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracking_model::{PlanId, UpgradeCommand, UpgradeId, UpgradeProgress};

    use super::*;
    use crate::{Journal, JournalOptions, SubmitError};

    #[test]
    fn a_stream_is_removed_and_its_writers_are_told() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::open(temp.path()).unwrap();
        let stream = StreamId::Upgrade(UpgradeId::new("u").unwrap());
        let create = || UpgradeCommand::Create {
            plan_id: PlanId::new("p").unwrap(),
            cluster_name: Arc::from("c"),
            metadata: tracking_model::Details::NONE,
        };
        let patience = Duration::from_secs(5);
        assert!(matches!(
            remove(&dir, &stream, patience),
            Err(JournalError::NoSuchStream { .. })
        ));

        let journal =
            Journal::<UpgradeProgress>::open(&dir, stream.clone(), JournalOptions::default()).unwrap();
        journal.submit(create()).wait().unwrap();
        std::fs::write(dir.checkpoint_path(&stream).with_extension("checkpoint.new"), "").unwrap();
        remove(&dir, &stream, patience).unwrap();
        let progress = dir.journal_path(&stream);
        let mut left = std::fs::read_dir(progress.parent().unwrap()).unwrap();
        assert!(left.next().is_none());
        let phase = UpgradeCommand::SetPhase { phase: "x".into() };
        let refused = journal.submit(phase).wait().unwrap_err();
        assert!(
            matches!(refused, SubmitError::Journal(JournalError::Removed { .. })),
            "{refused:?}"
        );
        journal.close_blocking();
        assert_eq!(dir.streams().unwrap(), []);

        let journal = Journal::<UpgradeProgress>::open(&dir, stream, JournalOptions::default()).unwrap();
        journal.submit(create()).wait().unwrap();
        assert_eq!(journal.head().seq, 1);
    }
}
