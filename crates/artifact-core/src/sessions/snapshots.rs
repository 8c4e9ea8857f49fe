//! Snapshots of sessions, `session_<id>.json` as the reference writes it: replaced whole, never more often than they are
//! worth, and exact when the manager is closed.

use std::collections::HashMap;
use std::error::Error as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tracking_journal::storage;
use tracking_model::{
    Artifact, ArtifactStatus, Collection, SessionId, SessionSnapshot, SnapshotArtifacts, StreamId,
};

use crate::manager::Inner;
use crate::{ArtifactError, ArtifactQuery, Sort};

/// A snapshot is never younger than this when it is replaced…
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// …nor than so many times what writing it took, so that large sessions cost a twentieth of a core at most.
const SHARE: u32 = 20;

/// Which snapshots are behind, and when each may be written.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Sessions whose snapshots are behind, and when they are due.
    due: HashMap<SessionId, Instant>,
    /// When each may be replaced again.
    not_before: HashMap<SessionId, Instant>,
    has_thread: bool,
    /// True while the thread writes a snapshot.
    writing: bool,
    closed: bool,
}

impl Snapshots {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one is due; `None` once the manager is gone.
    fn next(&self) -> Option<SessionId> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let now = Instant::now();
            let first = state.due.iter().min_by_key(|(_, at)| **at);
            let first = first.map(|(id, at)| (id.clone(), *at));
            state = match first {
                Some((id, at)) if at <= now => {
                    state.due.remove(&id);
                    state.writing = true;
                    return Some(id);
                }
                Some((_, at)) => {
                    let waited = self.changed.wait_timeout(state, at - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// The snapshots that are behind, after the thread has ended its current one: the process may end once these are written.
    fn take_all(&self) -> Vec<SessionId> {
        let mut state = self.lock();
        while state.writing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.due.drain().map(|(id, _)| id).collect()
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Has the snapshot of a session written soon, by a thread that ends with the manager.
    pub(crate) fn write_later(self: &Arc<Self>, inner: &Arc<Inner>, id: &SessionId) {
        let mut state = self.lock();
        if state.due.contains_key(id) {
            return;
        }
        let at = state.not_before.get(id).copied().unwrap_or_else(Instant::now);
        state.due.insert(id.clone(), at);
        if !state.has_thread {
            let (snapshots, inner) = (Arc::clone(self), Arc::downgrade(inner));
            let name = "session-snapshots".to_owned();
            match thread::Builder::new()
                .name(name)
                .spawn(move || run(&snapshots, &inner))
            {
                Ok(_) => state.has_thread = true,
                // They are still written when the manager is closed.
                Err(error) => tracing::warn!(%error, "cannot start the thread that writes snapshots"),
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Writes all snapshots that are behind.
    pub(crate) fn write_all(&self, inner: &Inner) -> Result<(), ArtifactError> {
        let mut first_error = None;
        for id in self.take_all() {
            if let Err(error) = self.write(inner, &id) {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Replaces a session's snapshot by the state that is durable now.
    fn write(&self, inner: &Inner, id: &SessionId) -> Result<(), ArtifactError> {
        let home = inner.sessions.data_dir();
        let began = Instant::now();
        let path = home.snapshot_path(&StreamId::Session(id.clone()));
        // One writer at a time, in all processes: the last writer has read last.
        let lock_path = path.with_extension("json.lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let lock = storage::open_with(&lock_path, &mut options)
            .and_then(|lock| storage::lock(&lock).map(|()| lock))
            .map_err(|error| ArtifactError::io("lock", &lock_path, error))?;
        let session = inner.sessions.session(id)?;
        let artifacts = OfSession { inner, id };
        let data_dir = home.path().to_string_lossy();
        let snapshot = SessionSnapshot::new(&session, &artifacts, &data_dir);
        replace(&path, |out| snapshot.write_to(out))
            .map_err(|error| ArtifactError::io("write the snapshot", &path, error))?;
        drop(lock);
        let interval = SHORTEST_INTERVAL.max(began.elapsed() * SHARE);
        self.lock()
            .not_before
            .insert(id.clone(), Instant::now() + interval);
        Ok(())
    }
}

/// The artifacts of a session, read from the index in pages.
#[derive(Debug)]
struct OfSession<'a> {
    inner: &'a Inner,
    id: &'a SessionId,
}

impl SnapshotArtifacts for OfSession<'_> {
    fn each(
        &self,
        collection: &Collection,
        visit: &mut dyn FnMut(&Artifact) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let mut query = ArtifactQuery::new()
            .in_session(self.id.clone())
            .in_collection(collection.collection_id.clone())
            .with_sort(Sort::Oldest);
        query.statuses = ArtifactStatus::ALL.to_vec();
        let mut going_on = ControlFlow::Continue(());
        let read = self.inner.searcher().each_artifact(query, |artifact| {
            if going_on.is_continue() {
                going_on = visit(&artifact);
            }
            Ok(())
        });
        read.map_err(|error| match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })
    }
}

/// Writes a file beside `path`, then gives it that name: at every moment `path` is the old or the new file, whole.
fn replace(
    path: &std::path::Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    let part = path.with_extension("json.part");
    let file = storage::create_anew(&part)?;
    let mut out = BufWriter::new(&file);
    let written = write(&mut out)
        .and_then(|()| out.flush())
        .and_then(|()| file.sync_all());
    match written.and_then(|()| fs::rename(&part, path)) {
        Ok(()) => Ok(()),
        Err(error) => {
            if let Err(left) = fs::remove_file(&part) {
                tracing::debug!(part = %part.display(), error = %left, "leaving half a snapshot behind");
            }
            Err(error)
        }
    }
}

fn run(snapshots: &Snapshots, inner: &Weak<Inner>) {
    while let Some(id) = snapshots.next() {
        let written = Written(snapshots);
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = snapshots.write(&inner, &id) {
            tracing::warn!(session = %id, error = &error as &dyn std::error::Error, "cannot write a snapshot; trying again");
            let mut state = snapshots.lock();
            state.due.insert(id, Instant::now() + SHORTEST_INTERVAL);
        }
        // Before the manager is let go: if this was its last handle, closing it waits for us.
        drop(written);
    }
}

/// Says that the thread has ended what it was writing, be it by a panic.
struct Written<'a>(&'a Snapshots);

impl Drop for Written<'_> {
    fn drop(&mut self) {
        self.0.lock().writing = false;
        self.0.changed.notify_all();
    }
}
