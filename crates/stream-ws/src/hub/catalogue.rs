//! Which upgrades a data directory holds, of which clusters, and whose sessions its sessions are.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracking_journal::{DataDir, DataDirError, JournalError, JournalReader, Record, load, storage};
use tracking_model::{
    SessionEvent, SessionId, StreamId, Timestamp, UpgradeEvent, UpgradeId, UpgradeProgress,
};

use crate::protocol::Interest;

/// What the first records of the streams say. Kept, as they never change.
#[derive(Debug)]
pub(crate) struct Catalogue {
    dir: DataDir,
    owners: Mutex<HashMap<StreamId, Owner>>,
    ranks: Mutex<HashMap<UpgradeId, (FileState, Rank)>>,
}

/// Whose stream it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    upgrade_id: UpgradeId,
    cluster_name: String,
}

/// Tells whether a journal has changed since it was read.
type FileState = (u64, Option<SystemTime>);

/// The greatest is what a viewer who names no upgrade most likely means: the one that started last and is not finished,
/// else the one that ended last.
type Rank = (bool, Option<Timestamp>);

impl Catalogue {
    pub(crate) fn new(dir: DataDir) -> Self {
        Self {
            dir,
            owners: Mutex::default(),
            ranks: Mutex::default(),
        }
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<StreamId, Owner>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists the directory, and reads the first record of each stream that is new. Whether anything changed. Blocks.
    pub(crate) fn refresh(&self) -> Result<bool, DataDirError> {
        let streams = self.dir.streams()?;
        let unknown: Vec<_> = {
            let owners = self.owners();
            let unknown = streams.iter().filter(|stream| !owners.contains_key(stream));
            unknown.cloned().collect()
        };
        let found: Vec<_> = unknown
            .into_iter()
            .filter_map(|stream| Some((stream.clone(), self.owner(&stream)?)))
            .collect();
        let mut owners = self.owners();
        let before = owners.len();
        owners.retain(|stream, _| streams.binary_search(stream).is_ok());
        let changed = before != owners.len() || !found.is_empty();
        owners.extend(found);
        Ok(changed)
    }

    /// `None` while nothing is recorded, or if what is recorded first cannot be read.
    fn owner(&self, stream: &StreamId) -> Option<Owner> {
        let first = || -> Result<Option<Record>, JournalError> {
            JournalReader::open(&self.dir, stream)?.next_record()
        };
        let record = first()
            .inspect_err(|error| tracing::debug!(%error, %stream, "cannot tell whose stream this is"))
            .ok()??;
        match stream {
            StreamId::Upgrade(upgrade_id) => {
                let cluster_name = match record.decode::<UpgradeEvent>().ok()? {
                    UpgradeEvent::Created(created) => created.cluster_name,
                    UpgradeEvent::Imported(imported) => imported.cluster_name,
                    _ => "".into(),
                };
                Some(Owner {
                    upgrade_id: upgrade_id.clone(),
                    cluster_name: cluster_name.to_string(),
                })
            }
            StreamId::Session(_) => {
                let created = match record.decode::<SessionEvent>().ok()? {
                    SessionEvent::Created(created) => created,
                    SessionEvent::Imported(imported) => imported.created,
                    _ => return None,
                };
                Some(Owner {
                    upgrade_id: created.upgrade_id,
                    cluster_name: created.cluster_name.to_string(),
                })
            }
        }
    }

    /// The upgrades that somebody is interested in.
    pub(crate) fn upgrades(&self, interest: &Interest) -> Vec<UpgradeId> {
        let owners = self.owners();
        let mut upgrades: Vec<_> = owners
            .iter()
            .filter(|(stream, _)| matches!(stream, StreamId::Upgrade(_)))
            .filter(|(_, owner)| interest.admits(&owner.upgrade_id, &owner.cluster_name))
            .map(|(_, owner)| owner.upgrade_id.clone())
            .collect();
        // One that is named is watched even where its first record cannot be read: its feed says why.
        upgrades.extend(interest.upgrades.iter().cloned());
        upgrades.sort();
        upgrades.dedup();
        upgrades
    }

    /// The sessions of an upgrade.
    pub(crate) fn sessions(&self, upgrade_id: &UpgradeId) -> Vec<SessionId> {
        let owners = self.owners();
        let mut sessions: Vec<_> = owners
            .iter()
            .filter(|(_, owner)| owner.upgrade_id == *upgrade_id)
            .filter_map(|(stream, _)| match stream {
                StreamId::Session(id) => Some(id.clone()),
                StreamId::Upgrade(_) => None,
            })
            .collect();
        sessions.sort();
        sessions
    }

    /// The upgrade that a viewer who names none most likely means. Reads the journals that changed since the last time;
    /// blocks.
    pub(crate) fn latest(&self) -> Result<Option<UpgradeId>, DataDirError> {
        let mut ranks = self.ranks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latest = HashMap::new();
        for stream in self.dir.streams()? {
            let StreamId::Upgrade(id) = &stream else { continue };
            let Ok(metadata) = storage::metadata(&self.dir.journal_path(&stream)) else {
                continue;
            };
            let state = (metadata.len(), metadata.modified().ok());
            let known = ranks.get(id).filter(|(known, _)| *known == state);
            let rank = known.map(|(_, rank)| *rank).or_else(|| self.rank(&stream));
            latest.extend(rank.map(|rank| (id.clone(), (state, rank))));
        }
        *ranks = latest;
        let latest = ranks.iter().max_by_key(|(id, (_, rank))| (*rank, (*id).clone()));
        Ok(latest.map(|(id, _)| id.clone()))
    }

    fn rank(&self, stream: &StreamId) -> Option<Rank> {
        let loaded = load::<UpgradeProgress>(&self.dir, stream)
            .inspect_err(|error| tracing::warn!(%error, %stream, "cannot tell how an upgrade stands"))
            .ok()?;
        let state = loaded.state;
        state.exists().then_some(match state.completed_at {
            Some(ended) => (false, Some(ended)),
            None => (true, state.started_at),
        })
    }
}
