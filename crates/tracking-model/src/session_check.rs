//! Which commands a session allows in its state, and the events that they cause. Pure.

use std::sync::Arc;

use crate::session_change::{change_artifact, expire};
use crate::{
    AddArtifact, Artifact, ArtifactDownloaded, ArtifactStatus, ArtifactType, Collection, CollectionCreated,
    CollectionId, Details, MAX_ARTIFACT_NAME_BYTES, MAX_DETAILS_BYTES, MAX_TAGS, NewArtifact, NewCollection,
    NewSession, Session, SessionCommand, SessionCommandError, SessionCompleted, SessionCreated, SessionEvent,
    SessionOutcome, SessionOutcomeSet, SessionPinned, Span, TextError, Timestamp, UpgradeId, check_name,
    check_text,
};

pub(crate) type Checked = Result<Vec<SessionEvent>, SessionCommandError>;

pub(crate) fn check(state: &Session, command: SessionCommand, now: Timestamp) -> Checked {
    match command {
        SessionCommand::Create(new) => create(state, new, now),
        SessionCommand::Import(import) => {
            refuse_existing(state)?;
            let mut events = vec![SessionEvent::Imported(import.session)];
            events.extend(
                import
                    .collections
                    .into_iter()
                    .map(SessionEvent::CollectionCreated),
            );
            events.extend(import.artifacts.into_iter().map(SessionEvent::ArtifactAdded));
            Ok(events)
        }
        SessionCommand::CreateCollection(new) => create_collection(state, new, now),
        SessionCommand::AddArtifact(add) => add_artifact(state, *add, now),
        SessionCommand::ChangeArtifact(change) => change_artifact(state, *change),
        SessionCommand::Expire(chosen) => expire(state, *chosen),
        SessionCommand::RecordDownload(artifact) => {
            existing(state)?;
            Ok(vec![SessionEvent::Downloaded(ArtifactDownloaded::new(&artifact))])
        }
        SessionCommand::SetOutcome { outcome } => set_outcome(state, outcome),
        SessionCommand::Complete { outcome } => complete(state, outcome),
        SessionCommand::Pin { pinned } => {
            existing(state)?;
            if state.pinned == pinned {
                return Ok(Vec::new());
            }
            let session_id = state.session_id.clone();
            Ok(vec![SessionEvent::Pinned(SessionPinned { session_id, pinned })])
        }
    }
}

fn complete(state: &Session, outcome: Option<SessionOutcome>) -> Checked {
    let upgrade_id = open(state)?.clone();
    let counts = state.counts();
    Ok(vec![SessionEvent::Completed(SessionCompleted {
        session_id: state.session_id.clone(),
        upgrade_id,
        outcome: outcome.or(state.outcome),
        total_artifacts: counts.artifacts(),
        total_size_bytes: counts.bytes(),
    })])
}

/// An outcome may be noted again while the session is open, as when an upgrade is retried; and once where it was
/// completed without one.
fn set_outcome(state: &Session, outcome: SessionOutcome) -> Checked {
    let upgrade_id = existing(state)?.clone();
    match state.outcome {
        Some(settled) if settled == outcome => return Ok(Vec::new()),
        Some(settled) if !state.is_open() => {
            return Err(SessionCommandError::OutcomeSettled {
                session_id: state.session_id.clone(),
                outcome: settled,
            });
        }
        _ => {}
    }
    Ok(vec![SessionEvent::Outcome(SessionOutcomeSet {
        session_id: state.session_id.clone(),
        upgrade_id,
        outcome,
    })])
}

fn refuse_existing(state: &Session) -> Result<(), SessionCommandError> {
    state.upgrade_id.as_ref().map_or(Ok(()), |upgrade_id| {
        Err(SessionCommandError::SessionExists {
            session_id: state.session_id.clone(),
            upgrade_id: upgrade_id.clone(),
        })
    })
}

pub(crate) fn existing(state: &Session) -> Result<&UpgradeId, SessionCommandError> {
    state
        .upgrade_id
        .as_ref()
        .ok_or_else(|| SessionCommandError::UnknownSession(state.session_id.clone()))
}

fn open(state: &Session) -> Result<&UpgradeId, SessionCommandError> {
    let upgrade_id = existing(state)?;
    match state.completed_at {
        Some(at) => Err(SessionCommandError::SessionCompleted {
            session_id: state.session_id.clone(),
            at,
        }),
        None => Ok(upgrade_id),
    }
}

fn check_metadata(metadata: &Details) -> Result<(), SessionCommandError> {
    let bytes = metadata.as_json().len();
    if bytes > MAX_DETAILS_BYTES {
        return Err(SessionCommandError::MetadataTooLarge {
            bytes,
            limit: MAX_DETAILS_BYTES,
        });
    }
    Ok(())
}

pub(crate) fn check_description(description: Option<&Arc<str>>) -> Result<(), SessionCommandError> {
    description.map_or(Ok(()), |text| Ok(check_text("description", text)?))
}

fn create(state: &Session, new: NewSession, now: Timestamp) -> Checked {
    refuse_existing(state)?;
    check_name("cluster name", &new.cluster_name)?;
    check_description(new.description.as_ref())?;
    check_metadata(&new.metadata)?;
    if new.retention_days == 0 {
        return Err(SessionCommandError::InvalidRetention);
    }
    let name = match new.name {
        Some(name) => {
            check_name("session name", &name)?;
            name
        }
        None => default_name(&new.upgrade_id, now),
    };
    Ok(vec![SessionEvent::Created(SessionCreated {
        session_id: state.session_id.clone(),
        name,
        description: new.description,
        upgrade_id: new.upgrade_id,
        cluster_name: new.cluster_name,
        started_at: now,
        s3_bucket: new.s3_bucket,
        s3_prefix: new.s3_prefix,
        retention_days: new.retention_days,
        metadata: new.metadata,
    })])
}

/// `upgrade-<id>-20250131-052501`.
fn default_name(upgrade_id: &UpgradeId, now: Timestamp) -> Arc<str> {
    let mut stamp: String = now
        .to_rfc3339()
        .chars()
        .filter(|c| c.is_ascii_digit() || *c == 'T')
        .map(|c| if c == 'T' { '-' } else { c })
        .collect();
    stamp.truncate("20250131-052501".len());
    format!("upgrade-{upgrade_id}-{stamp}").into()
}

fn create_collection(state: &Session, new: NewCollection, now: Timestamp) -> Checked {
    let upgrade_id = open(state)?.clone();
    check_name("collection name", &new.name)?;
    check_description(new.description.as_ref())?;
    check_metadata(&new.metadata)?;
    if state.collections.contains_key(&new.collection_id) {
        return Err(SessionCommandError::CollectionExists {
            session_id: state.session_id.clone(),
            collection_id: new.collection_id,
        });
    }
    Ok(vec![SessionEvent::CollectionCreated(CollectionCreated {
        collection_id: new.collection_id,
        session_id: state.session_id.clone(),
        name: new.name,
        description: new.description,
        upgrade_id,
        task_id: new.task_id,
        created_at: now,
        metadata: new.metadata,
    })])
}

impl Session {
    /// Tells whether an artifact could be added now, before its bytes are copied.
    ///
    /// # Errors
    /// What adding it would be refused for.
    pub fn check_add(
        &self,
        collection_id: &CollectionId,
        artifact: &NewArtifact,
    ) -> Result<(), SessionCommandError> {
        open(self)?;
        collection(self, collection_id)?;
        check_artifact(artifact)
    }
}

fn collection<'a>(state: &'a Session, id: &CollectionId) -> Result<&'a Collection, SessionCommandError> {
    state
        .collections
        .get(id)
        .ok_or_else(|| SessionCommandError::UnknownCollection {
            session_id: state.session_id.clone(),
            collection_id: id.clone(),
        })
}

fn check_artifact(artifact: &NewArtifact) -> Result<(), SessionCommandError> {
    if let Some(name) = &artifact.name {
        check_artifact_name(&name.text)?;
    }
    check_description(artifact.description.as_ref())?;
    if let Some(step) = &artifact.step_id {
        check_name("step id", step)?;
    }
    check_tags(&artifact.tags)?;
    check_metadata(&artifact.metadata)
}

/// Any text is a name, as any bytes can be a file's; only its length has limits.
fn check_artifact_name(name: &str) -> Result<(), TextError> {
    let field = "artifact name";
    if name.is_empty() {
        return Err(TextError::Empty { field });
    }
    if name.len() > MAX_ARTIFACT_NAME_BYTES {
        return Err(TextError::TooLong {
            field,
            bytes: name.len(),
            limit: MAX_ARTIFACT_NAME_BYTES,
        });
    }
    Ok(())
}

pub(crate) fn check_tags(tags: &[Arc<str>]) -> Result<(), SessionCommandError> {
    if tags.len() > MAX_TAGS {
        return Err(SessionCommandError::TooManyTags { count: tags.len() });
    }
    tags.iter().try_for_each(|tag| Ok(check_name("tag", tag)?))
}

/// The tags, each once, in the order in which they came.
pub(crate) fn unique(tags: Vec<Arc<str>>) -> Vec<Arc<str>> {
    let mut unique: Vec<Arc<str>> = Vec::with_capacity(tags.len());
    for tag in tags {
        if !unique.contains(&tag) {
            unique.push(tag);
        }
    }
    unique
}

fn add_artifact(state: &Session, add: AddArtifact, now: Timestamp) -> Checked {
    let upgrade_id = open(state)?.clone();
    let collection = collection(state, &add.collection_id)?;
    let new = add.artifact;
    check_artifact(&new)?;
    let Some(name) = new.name else {
        return Err(TextError::Empty {
            field: "artifact name",
        }
        .into());
    };
    let artifact_type = new
        .artifact_type
        .unwrap_or_else(|| ArtifactType::guess(&name.text));
    Ok(vec![SessionEvent::ArtifactAdded(Arc::new(Artifact {
        artifact_id: add.artifact_id,
        session_id: state.session_id.clone(),
        collection_id: add.collection_id,
        upgrade_id,
        name: name.text,
        name_bytes: name.bytes,
        description: new.description,
        artifact_type,
        local_path: Some(add.stored.local_path),
        file_size: Some(add.stored.file_size),
        file_hash: Some(add.stored.file_hash),
        s3_bucket: None,
        s3_key: None,
        s3_url: None,
        created_at: created_at(state, now),
        uploaded_at: None,
        status: ArtifactStatus::Created,
        task_id: new.task_id.or_else(|| collection.task_id.clone()),
        step_id: new.step_id,
        metadata: new.metadata,
        tags: unique(new.tags),
    }))])
}

/// Now, or just after the artifact before: see [`Session::last_created_at`].
fn created_at(state: &Session, now: Timestamp) -> Timestamp {
    let next = |last: Timestamp| last + Span::from_micros(1);
    state.last_created_at.map_or(now, |last| now.max(next(last)))
}
