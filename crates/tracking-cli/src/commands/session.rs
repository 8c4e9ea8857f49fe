//! `ekstrack session` and `ekstrack collection`.

mod history;
mod show;

use std::sync::Arc;

use serde::Serialize;
use tracking_facade::{
    ArtifactError, Collection, CollectionId, NewCollection, NewSession, Session, SessionId, SessionOutcome,
    SessionSummary, StreamId, TaskId, Timestamp, UpgradeId,
};

use super::runtime::block_on;
use crate::args::{CollectionCommand, SessionCommand};
use crate::exit::{Failure, chain};
use crate::failure::cannot;
use crate::render::{Cell, Palette, Table, bytes, one_line, time};
use crate::settings::{Settings, close_artifacts};

/// A collection as scripts get it.
#[derive(Debug, Serialize)]
struct CollectionDocument {
    session_id: SessionId,
    collection_id: CollectionId,
    name: Arc<str>,
    description: Option<Arc<str>>,
    upgrade_id: UpgradeId,
    task_id: Option<TaskId>,
    created_at: Timestamp,
    artifacts: u64,
    bytes: u64,
}

impl CollectionDocument {
    fn new(session_id: &SessionId, collection: &Collection) -> Self {
        Self {
            session_id: session_id.clone(),
            collection_id: collection.collection_id.clone(),
            name: Arc::clone(&collection.name),
            description: collection.description.clone(),
            upgrade_id: collection.upgrade_id.clone(),
            task_id: collection.task_id.clone(),
            created_at: collection.created_at,
            artifacts: collection.counts.artifacts(),
            bytes: collection.counts.bytes(),
        }
    }
}

/// `session list`.
#[derive(Debug, Serialize)]
struct ListDocument {
    sessions: Vec<SessionSummary>,
    unreadable: Vec<UnreadableSession>,
}

/// A session whose journal cannot be read.
#[derive(Debug, Serialize)]
pub(super) struct UnreadableSession {
    session_id: SessionId,
    error: String,
}

impl UnreadableSession {
    /// Those that the manager named, and those of which something in the bucket could not be read.
    pub(super) fn all(unreadable: &[tracking_facade::Unreadable], settings: &Settings) -> Vec<Self> {
        let one = |found: &tracking_facade::Unreadable| Self {
            session_id: found.session_id.clone(),
            error: chain(&found.error).join(": "),
        };
        let unread = settings.unread.iter().filter_map(|unread| match &unread.stream {
            StreamId::Session(id) => Some(Self {
                session_id: id.clone(),
                error: unread.error.clone(),
            }),
            StreamId::Upgrade(_) => None,
        });
        unreadable.iter().map(one).chain(unread).collect()
    }

    pub(super) fn line(&self, palette: Palette) -> String {
        format!(
            "{} session {}: {}\n",
            palette.error("unreadable:"),
            self.session_id,
            one_line(&self.error)
        )
    }
}

pub(crate) fn session(command: SessionCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        SessionCommand::Create {
            upgrade,
            cluster,
            name,
            id,
            retention_days,
        } => {
            let mut new = NewSession::new(upgrade, cluster);
            new.name = name.map(Arc::from);
            new.retention_days = retention_days.unwrap_or(new.retention_days);
            create(settings, id.unwrap_or_else(SessionId::generate), new)
        }
        SessionCommand::List { upgrade } => list(settings, upgrade.as_ref()),
        SessionCommand::Show {
            session,
            history: true,
        } => history::history(settings, &session),
        SessionCommand::Show { session, .. } => show::show(settings, &session),
        SessionCommand::Pin { session, off } => pin(settings, &session, !off),
        SessionCommand::Complete { session, outcome } => complete(settings, &session, outcome),
    }
}

fn touched(settings: &Settings, session: &SessionId) {
    settings.sinks.touched(StreamId::Session(session.clone()));
}

fn complete(settings: &Settings, id: &SessionId, outcome: Option<SessionOutcome>) -> Result<(), Failure> {
    let attempted = || format!("complete session {id}");
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let completed = block_on(async {
        if let Some(remote) = &settings.remote {
            return remote
                .complete_session(id, outcome, Arc::clone(&settings.actor))
                .await;
        }
        let completed = manager.complete_session(id, outcome).await;
        close_artifacts(&manager).await;
        Ok(completed?)
    });
    let summary = completed?.map_err(settings.cannot(attempted))?.summary();
    touched(settings, id);
    settings.output.result(&summary, |_| match summary.outcome {
        Some(outcome) => format!("session {id} is completed as {outcome}\n"),
        None => format!("session {id} is completed\n"),
    })
}

fn pin(settings: &Settings, id: &SessionId, pinned: bool) -> Result<(), Failure> {
    let attempted = || format!("{} session {id}", if pinned { "pin" } else { "unpin" });
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let done = block_on(async {
        if let Some(remote) = &settings.remote {
            return remote.pin_session(id, pinned, Arc::clone(&settings.actor)).await;
        }
        let done = manager.pin_session(id, pinned).await;
        close_artifacts(&manager).await;
        Ok(done?)
    });
    let summary = done?.map_err(settings.cannot(attempted))?.summary();
    touched(settings, id);
    settings.output.result(&summary, |_| {
        if pinned {
            format!("session {id} is pinned\n")
        } else {
            format!("session {id} is not pinned any more\n")
        }
    })
}

fn create(settings: &Settings, id: SessionId, new: NewSession) -> Result<(), Failure> {
    let attempted = || format!("create session {id} for upgrade {}", new.upgrade_id);
    settings.create_data_dir().map_err(cannot(attempted))?;
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let created = block_on(async {
        let created = manager.create_session_as(id.clone(), new.clone()).await;
        close_artifacts(&manager).await;
        created
    });
    let summary = created?.map_err(cannot(attempted))?.summary();
    touched(settings, &summary.session_id);
    settings.output.result(&summary, |_| {
        format!("session {} is created\n", summary.session_id)
    })
}

fn list(settings: &Settings, upgrade: Option<&UpgradeId>) -> Result<(), Failure> {
    let attempted = || format!("list the sessions in {}", settings.place());
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let found = block_on(manager.sessions())?.map_err(cannot(attempted))?;
    let wanted =
        |session: &&Session| upgrade.is_none_or(|upgrade| session.upgrade_id.as_ref() == Some(upgrade));
    let document = ListDocument {
        sessions: found
            .sessions
            .iter()
            .filter(wanted)
            .map(Session::summary)
            .collect(),
        unreadable: UnreadableSession::all(&found.unreadable, settings),
    };
    settings.output.result(&document, |palette| {
        let mut table = Table::new([
            "SESSION",
            "NAME",
            "UPGRADE",
            "ARTIFACTS",
            "SIZE",
            "STARTED",
            "COMPLETED",
            "OUTCOME",
        ]);
        for session in &document.sessions {
            let when = |at: Option<Timestamp>| Cell::from(at.map_or_else(|| "-".to_owned(), time));
            table.row([
                session.session_id.as_str().into(),
                (&session.name).into(),
                session
                    .upgrade_id
                    .as_ref()
                    .map_or("-", |upgrade| upgrade.as_str())
                    .into(),
                session.total_artifacts.to_string().into(),
                bytes(session.total_size_bytes).into(),
                when(session.started_at),
                when(session.completed_at),
                outcome(session).into(),
            ]);
        }
        let mut text = if table.is_empty() {
            "no sessions\n".to_owned()
        } else {
            table.render(palette)
        };
        text.extend(
            document
                .unreadable
                .iter()
                .map(|unreadable| unreadable.line(palette)),
        );
        text
    })
}

/// How the upgrade ended, and whether the session is pinned.
fn outcome(session: &SessionSummary) -> String {
    match (session.outcome, session.pinned) {
        (Some(outcome), true) => format!("{outcome}, pinned"),
        (None, true) => "pinned".to_owned(),
        (outcome, false) => outcome.map_or("-", SessionOutcome::as_str).to_owned(),
    }
}

pub(crate) fn collection(command: CollectionCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        CollectionCommand::Create {
            session,
            name,
            task,
            id,
        } => create_collection(settings, &session, &name, (task, id)),
        CollectionCommand::List { session } => list_collections(settings, &session),
    }
}

/// `collection list`.
#[derive(Debug, Serialize)]
struct CollectionsDocument {
    session_id: SessionId,
    collections: Vec<CollectionDocument>,
}

fn list_collections(settings: &Settings, id: &SessionId) -> Result<(), Failure> {
    let attempted = || format!("list the collections of session {id}");
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let session = block_on(manager.session(id))?.map_err(settings.cannot(attempted))?;
    let all = session.collections.values();
    let document = CollectionsDocument {
        session_id: id.clone(),
        collections: all.map(|one| CollectionDocument::new(id, one)).collect(),
    };
    settings.output.result(&document, |palette| {
        let mut table = Table::new(["COLLECTION", "NAME", "TASK", "ARTIFACTS", "SIZE", "CREATED"]);
        for collection in &document.collections {
            table.row([
                collection.collection_id.as_str().into(),
                (&collection.name).into(),
                collection
                    .task_id
                    .as_ref()
                    .map_or("-", |task| task.as_str())
                    .into(),
                collection.artifacts.to_string().into(),
                bytes(collection.bytes).into(),
                time(collection.created_at).into(),
            ]);
        }
        if table.is_empty() {
            "no collections\n".to_owned()
        } else {
            table.render(palette)
        }
    })
}

fn create_collection(
    settings: &Settings,
    session: &SessionId,
    name: &str,
    (task, id): (Option<TaskId>, Option<CollectionId>),
) -> Result<(), Failure> {
    let attempted = || format!("create collection {name:?} in session {session}");
    let mut new = NewCollection::new(name);
    new.collection_id = id.unwrap_or(new.collection_id);
    new.task_id = task;
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let created: Result<Collection, ArtifactError> = block_on(async {
        let created = manager.create_collection(session, new).await;
        close_artifacts(&manager).await;
        created
    })?;
    let document = CollectionDocument::new(session, &created.map_err(cannot(attempted))?);
    touched(settings, session);
    settings.output.result(&document, |_| {
        format!("collection {} is created\n", document.collection_id)
    })
}
