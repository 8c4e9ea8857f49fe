//! The sessions of a data directory: their journals, opened on demand, and their headers, brought up to date from the
//! journals before they are read.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracking_journal::{
    DataDir, Journal, JournalError, JournalOptions, JournalReader, Position, Receipt, Record, storage,
};
use tracking_model::{
    Collection, CollectionId, Fold, Session, SessionCommand, SessionEvent, SessionId, StreamId,
};

use super::Sessions;
use crate::{ArtifactError, Unreadable};

#[derive(Debug)]
pub(crate) struct SessionRegistry {
    home: DataDir,
    journal_options: JournalOptions,
    sessions: Mutex<HashMap<SessionId, Arc<SessionEntry>>>,
}

/// A session, as far as this process has read it.
#[derive(Debug)]
pub(crate) struct SessionEntry {
    id: SessionId,
    journal: Mutex<Option<Journal<Session>>>,
    written: AtomicBool,
    view: Mutex<View>,
    /// The position of the index, as far as this process knows.
    fed: Mutex<Option<Fed>>,
}

/// The position of an index.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fed {
    pub(crate) position: Position,
    /// True for the fallback in memory.
    pub(crate) in_memory: bool,
}

#[derive(Debug)]
struct View {
    session: Session,
    position: Option<Position>,
}

impl View {
    fn empty(stream: StreamId) -> Self {
        Self {
            session: Session::empty(&stream),
            position: None,
        }
    }
}

impl SessionEntry {
    fn new(id: SessionId) -> Arc<Self> {
        Arc::new(Self {
            journal: Mutex::new(None),
            written: AtomicBool::new(false),
            view: Mutex::new(View::empty(StreamId::Session(id.clone()))),
            fed: Mutex::new(None),
            id,
        })
    }

    pub(crate) const fn id(&self) -> &SessionId {
        &self.id
    }

    pub(crate) fn stream(&self) -> StreamId {
        StreamId::Session(self.id.clone())
    }

    pub(crate) fn fed(&self) -> MutexGuard<'_, Option<Fed>> {
        self.fed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionRegistry {
    pub(crate) fn new(home: DataDir, journal_options: JournalOptions) -> Self {
        Self {
            home,
            journal_options,
            sessions: Mutex::new(HashMap::new()),
        }
    }

    pub(crate) const fn data_dir(&self) -> &DataDir {
        &self.home
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<SessionEntry>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets how far an index was fed that is empty again.
    pub(crate) fn forget_index_positions(&self) {
        let entries: Vec<_> = self.lock().values().cloned().collect();
        for entry in entries {
            *entry.fed() = None;
        }
    }

    /// A session that may be new.
    pub(crate) fn entry(&self, id: &SessionId) -> Arc<SessionEntry> {
        let mut sessions = self.lock();
        let entry = sessions
            .entry(id.clone())
            .or_insert_with(|| SessionEntry::new(id.clone()));
        Arc::clone(entry)
    }

    /// A session that exists.
    pub(crate) fn existing(&self, id: &SessionId) -> Result<Arc<SessionEntry>, ArtifactError> {
        if let Some(entry) = self.lock().get(id) {
            return Ok(Arc::clone(entry));
        }
        let stream = StreamId::Session(id.clone());
        if journal_exists(&self.home.journal_path(&stream))? {
            Ok(self.entry(id))
        } else {
            Err(ArtifactError::UnknownSession(id.clone()))
        }
    }

    /// The ids of all sessions, in the order of ids.
    pub(crate) fn ids(&self) -> Result<Vec<SessionId>, ArtifactError> {
        let streams = self.home.streams()?.into_iter();
        Ok(streams
            .filter_map(|stream| match stream {
                StreamId::Session(id) => Some(id),
                StreamId::Upgrade(_) => None,
            })
            .collect())
    }

    /// All sessions, the one opened last first.
    pub(super) fn all(&self) -> Result<Sessions, ArtifactError> {
        let mut all = Sessions::default();
        for session_id in self.ids()? {
            match self.session(&session_id) {
                Ok(session) => all.sessions.push(session),
                // Its first record is not there yet.
                Err(ArtifactError::UnknownSession(_)) => {}
                Err(error) => all.unreadable.push(Unreadable { session_id, error }),
            }
        }
        all.sessions
            .sort_by_key(|session| std::cmp::Reverse(session.started_at));
        Ok(all)
    }

    pub(crate) fn collection(
        &self,
        id: &SessionId,
        collection_id: &CollectionId,
    ) -> Result<Collection, ArtifactError> {
        self.with_session(id, |session| session.collection(collection_id).cloned())?
            .ok_or_else(|| ArtifactError::UnknownCollection {
                session_id: id.clone(),
                collection_id: collection_id.clone(),
            })
    }

    /// The ids of the sessions that this process has read or written.
    pub(crate) fn known_ids(&self) -> Vec<SessionId> {
        self.lock().keys().cloned().collect()
    }

    /// The session's header, as of now.
    pub(crate) fn session(&self, id: &SessionId) -> Result<Session, ArtifactError> {
        self.with_session(id, Session::clone)
    }

    /// Passes the session's header, as of now, to `read`.
    pub(crate) fn with_session<R>(
        &self,
        id: &SessionId,
        read: impl FnOnce(&Session) -> R,
    ) -> Result<R, ArtifactError> {
        let entry = self.existing(id)?;
        let mut view = entry.view();
        self.catch_up(&entry, &mut view)?;
        if !view.session.exists() {
            return Err(ArtifactError::UnknownSession(id.clone()));
        }
        Ok(read(&view.session))
    }

    /// Brings a view up to date with what is durable, whoever wrote it.
    fn catch_up(&self, entry: &SessionEntry, view: &mut View) -> Result<(), ArtifactError> {
        let home = &self.home;
        let path = home.journal_path(&entry.stream());
        match (storage::metadata(&path), view.position) {
            (Ok(metadata), Some(position)) if metadata.len() == position.offset => return Ok(()),
            (Ok(_), _) => {}
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {
                *view = View::empty(entry.stream());
                return Ok(());
            }
            (Err(error), _) => return Err(ArtifactError::io("look at", path, error)),
        }
        match view.position {
            None => load(home, entry, view),
            Some(position) => match read_on(home, entry, view, position) {
                // A journal that was replaced, by a repair or by hand, does not go on where the old one ended.
                Err(ArtifactError::Journal(error)) if is_another(&error) => {
                    *view = View::empty(entry.stream());
                    load(home, entry, view)
                }
                read => read,
            },
        }
    }

    /// Commits a command: it is durable when this returns.
    pub(crate) fn submit(
        &self,
        entry: &SessionEntry,
        command: SessionCommand,
    ) -> Result<Receipt<Session>, ArtifactError> {
        Ok(self.journal(entry)?.submit_blocking(command)?)
    }

    /// Commits commands together, as far as other writers leave room: they are durable when this returns. The answers are in
    /// the order of the commands.
    pub(crate) fn submit_all(
        &self,
        entry: &SessionEntry,
        commands: Vec<SessionCommand>,
    ) -> Vec<Result<Receipt<Session>, ArtifactError>> {
        let mut waiting = Vec::with_capacity(commands.len());
        for command in commands {
            // A journal that cannot be opened is an answer for each command.
            waiting.push(self.journal(entry).map(|journal| journal.submit(command)));
        }
        let answers = waiting.into_iter();
        answers.map(|pending| Ok(pending?.wait()?)).collect()
    }

    /// True for the first call of this process for the session, which comes before bytes are added.
    pub(crate) fn is_first_write(&self, id: &SessionId) -> bool {
        !self.entry(id).written.swap(true, Ordering::Relaxed)
    }

    /// The session's journal, opened by the first who needs it.
    fn journal(&self, entry: &SessionEntry) -> Result<Journal<Session>, ArtifactError> {
        let mut open = entry.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(journal) = &*open {
            return Ok(journal.clone());
        }
        let journal = Journal::open(&self.home, entry.stream(), self.journal_options.clone())?;
        *open = Some(journal.clone());
        Ok(journal)
    }

    /// Commits what waits in all open journals and closes them. They open again on demand.
    pub(crate) fn close_journals(&self) {
        let entries: Vec<_> = self.lock().values().cloned().collect();
        for entry in entries {
            let journal = entry
                .journal
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(journal) = journal {
                journal.close_blocking();
            }
        }
    }
}

/// A journal that cannot be looked at is an error, not an absent journal.
fn journal_exists(path: &Path) -> Result<bool, ArtifactError> {
    match storage::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(ArtifactError::io("look at", path, error)),
    }
}

/// Reads a session's header from its journal's checkpoint on.
fn load(home: &DataDir, entry: &SessionEntry, view: &mut View) -> Result<(), ArtifactError> {
    match tracking_journal::load::<Session>(home, &entry.stream()) {
        Ok(loaded) => {
            view.session = loaded.state;
            view.position = Some(loaded.position);
            Ok(())
        }
        Err(JournalError::NoSuchStream { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn read_on(
    home: &DataDir,
    entry: &SessionEntry,
    view: &mut View,
    position: Position,
) -> Result<(), ArtifactError> {
    let mut reader = JournalReader::resume(home, &entry.stream(), position)?;
    while let Some(record) = reader.next_record()? {
        let event = decode(entry, &record)?;
        view.session.apply(&record.meta(), &event);
        view.position = Some(reader.position());
    }
    Ok(())
}

pub(crate) fn decode(entry: &SessionEntry, record: &Record) -> Result<SessionEvent, ArtifactError> {
    record.decode().map_err(|source| ArtifactError::Undecodable {
        session_id: entry.id.clone(),
        seq: record.seq,
        source,
    })
}

/// True if another journal has taken the place of the one that was read.
pub(crate) const fn is_another(error: &JournalError) -> bool {
    matches!(
        error,
        JournalError::Damaged(_)
            | JournalError::Replaced { .. }
            | JournalError::Removed { .. }
            | JournalError::NoSuchStream { .. }
    )
}
