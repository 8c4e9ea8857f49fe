//! Which changes of artifacts a session allows in its state, and the events that they cause. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use crate::session_check::{Checked, check_description, check_tags, existing, unique};
use crate::{
    Artifact, ArtifactAction, ArtifactChange, ArtifactChangeKind, ArtifactStatus, ChangeArtifact,
    ExpireArtifacts, IfPinned, Session, SessionCommandError, SessionEvent,
};

pub(crate) fn change_artifact(state: &Session, change: ChangeArtifact) -> Checked {
    existing(state)?;
    let artifact = change.artifact;
    refuse_stale(state, change.as_of, &artifact)?;
    if let ArtifactAction::Tag { add, remove } = change.action {
        return tag(&artifact, add, &remove);
    }
    let (kind, to) = match change.action {
        ArtifactAction::MarkUploaded { .. } => (ArtifactChangeKind::Uploaded, ArtifactStatus::Uploaded),
        ArtifactAction::MarkArchived { .. } => (ArtifactChangeKind::Archived, ArtifactStatus::Archived),
        ArtifactAction::MarkFailed { .. } => (ArtifactChangeKind::Failed, ArtifactStatus::Failed),
        ArtifactAction::MarkDeleted { .. } => (ArtifactChangeKind::Deleted, ArtifactStatus::Deleted),
        ArtifactAction::Tag { .. } => unreachable!("returned above"),
    };
    refuse_transition(&artifact, to)?;
    let mut changed = ArtifactChange::new(&artifact, to);
    match change.action {
        ArtifactAction::MarkUploaded {
            s3_bucket,
            s3_key,
            s3_url,
        } => {
            changed.s3_bucket = Some(s3_bucket);
            changed.s3_key = Some(s3_key);
            changed.s3_url = Some(s3_url);
        }
        ArtifactAction::MarkArchived { reason } => changed.reason = reason,
        ArtifactAction::MarkDeleted { reason, pinned } => {
            if state.pinned && pinned == IfPinned::Refuse {
                return Err(SessionCommandError::SessionPinned(state.session_id.clone()));
            }
            changed.reason = reason;
        }
        ArtifactAction::MarkFailed { reason } => changed.reason = Some(reason),
        ArtifactAction::Tag { .. } => unreachable!("returned above"),
    }
    check_description(changed.reason.as_ref())?;
    Ok(vec![SessionEvent::Artifact(kind, changed)])
}

fn tag(artifact: &Artifact, add: Vec<Arc<str>>, remove: &[Arc<str>]) -> Checked {
    if artifact.status == ArtifactStatus::Deleted {
        return Err(SessionCommandError::ArtifactDeleted(artifact.artifact_id.clone()));
    }
    check_tags(&add)?;
    let mut tags: Vec<Arc<str>> = artifact.tags.clone();
    tags.extend(add);
    let mut tags = unique(tags);
    tags.retain(|tag| !remove.contains(tag));
    check_tags(&tags)?;
    if tags == artifact.tags {
        return Ok(Vec::new());
    }
    let mut change = ArtifactChange::new(artifact, artifact.status);
    change.tags = Some(tags);
    Ok(vec![SessionEvent::Artifact(ArtifactChangeKind::Tagged, change)])
}

fn refuse_stale(state: &Session, as_of: u64, artifact: &Artifact) -> Result<(), SessionCommandError> {
    if as_of < state.last_change_seq {
        return Err(SessionCommandError::Stale {
            session_id: state.session_id.clone(),
            artifact_id: artifact.artifact_id.clone(),
        });
    }
    Ok(())
}

fn refuse_transition(artifact: &Artifact, to: ArtifactStatus) -> Result<(), SessionCommandError> {
    if !artifact.status.can_become(to) {
        return Err(SessionCommandError::Transition {
            artifact_id: artifact.artifact_id.clone(),
            from: artifact.status,
            to,
        });
    }
    Ok(())
}

/// Retention read the session some time ago. What holds now is decided here, within the journal's lock.
pub(crate) fn expire(state: &Session, expire: ExpireArtifacts) -> Checked {
    existing(state)?;
    if state.is_open() {
        return Err(SessionCommandError::SessionOpen(state.session_id.clone()));
    }
    if state.pinned {
        return Err(SessionCommandError::SessionPinned(state.session_id.clone()));
    }
    check_description(Some(&expire.reason))?;
    let mut seen = HashSet::with_capacity(expire.artifacts.len());
    let mut events = Vec::with_capacity(expire.artifacts.len());
    for artifact in &expire.artifacts {
        refuse_stale(state, expire.as_of, artifact)?;
        // What is in S3 too is there for others: only the bytes here go.
        let (kind, to) = if artifact.status == ArtifactStatus::Uploaded && artifact.s3_key.is_some() {
            (ArtifactChangeKind::Archived, ArtifactStatus::Archived)
        } else {
            (ArtifactChangeKind::Deleted, ArtifactStatus::Deleted)
        };
        refuse_transition(artifact, to)?;
        if seen.insert(&artifact.artifact_id) {
            let mut change = ArtifactChange::new(artifact, to);
            change.reason = Some(Arc::clone(&expire.reason));
            events.push(SessionEvent::Artifact(kind, change));
        }
    }
    Ok(events)
}
