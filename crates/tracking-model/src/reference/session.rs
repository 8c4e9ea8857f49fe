//! A session's file: what it says of the session, of its collections and of their artifacts.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::ReferenceError;
use super::json::Json;
use super::read::{Fields, Findings, valid_id};
use crate::{
    Artifact, ArtifactId, ArtifactStatus, ArtifactType, CollectionCreated, CollectionId,
    DEFAULT_RETENTION_DAYS, Details, SessionCreated, SessionId, SessionImported, TaskId, Timestamp,
    UpgradeId,
};

/// Stands for what a file does not name.
const UNKNOWN: &str = "unknown";

/// What the reference's `session_<id>.json` says, with ids mapped to valid ones.
///
/// All that is impossible in it is a warning; its value is kept under the session's `metadata.imported`.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceSession {
    /// The session itself.
    pub session: SessionImported,
    /// Its collections.
    pub collections: Vec<CollectionCreated>,
    /// Their artifacts.
    pub artifacts: Vec<ReferenceArtifact>,
    /// The directory that it names as the session's own.
    pub base_directory: Option<Arc<str>>,
}

/// An artifact as the file describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceArtifact {
    /// Its record, without a place for its bytes.
    pub artifact: Artifact,
    /// Where the file says that its bytes are.
    pub path: Option<Arc<str>>,
}

impl ReferenceSession {
    /// Reads a file of the reference, or a snapshot of ours.
    ///
    /// # Errors
    /// [`ReferenceError`] if `file` is not JSON, not an object, or has no `session_id`.
    pub fn read(file: &[u8]) -> Result<Self, ReferenceError> {
        let (json, warnings) = Json::parse(file)?;
        let Json::Object(entries) = &json else {
            return Err(ReferenceError::NotAnObject { found: json.kind() });
        };
        let mut found = Findings::default();
        let mut fields = Fields::new("", entries, &mut found);
        let original = fields
            .id("session_id", &mut found)
            .ok_or(ReferenceError::NoId { field: "session_id" })?;
        let session_id = SessionId::new(valid_id(&original)).expect("`valid_id` returns valid ids");
        let mut metadata = object_of(&mut fields, "metadata", &mut found);
        note_original(
            &mut metadata,
            "original_id",
            &original,
            session_id.as_str(),
            &mut found,
        );
        let mut reader = Reader {
            upgrade_id: upgrade_id(&mut fields, &mut metadata, &mut found),
            session_id,
            started_at: fields.time("started_at", &mut found),
            artifact_ids: HashSet::new(),
        };
        let collections = fields.object("collections", &mut found).unwrap_or_default();
        let (collections, artifacts) = reader.collections(collections, &mut found);
        let base_directory = fields.text("base_directory", &mut found);
        let mut session = reader.session(&mut fields, &mut found);
        fields.keep_rest(&mut found);

        let (kept, more) = found.into_parts();
        if !kept.is_empty() {
            metadata.insert("imported".to_owned(), Value::Object(kept));
        }
        session.created.metadata = metadata.into();
        session.warnings = warnings;
        session.warnings.extend(more);
        let own = entries.iter().filter(|(key, _)| key != "collections").cloned();
        session.state = Details::from_object_text(Json::Object(own.collect()).to_compact());
        Ok(Self {
            session,
            collections,
            artifacts,
            base_directory,
        })
    }
}

struct Reader {
    session_id: SessionId,
    upgrade_id: UpgradeId,
    started_at: Option<Timestamp>,
    artifact_ids: HashSet<ArtifactId>,
}

impl Reader {
    fn session(&self, fields: &mut Fields<'_>, found: &mut Findings) -> SessionImported {
        let name = fields.name("name", found);
        let cluster_name = fields.name("cluster_name", found).unwrap_or_else(|| {
            found.warn(format!("cluster_name is missing: imported as {UNKNOWN:?}"));
            UNKNOWN.into()
        });
        let completed_at = fields.time("completed_at", found);
        if let (Some(started), Some(completed)) = (self.started_at, completed_at)
            && completed < started
        {
            found.warn(format!("completed_at {completed} is before started_at {started}"));
        }
        let retention_days = fields.count_u32("retention_days", found).filter(|days| *days > 0);
        SessionImported {
            created: SessionCreated {
                session_id: self.session_id.clone(),
                name: name.unwrap_or_else(|| self.session_id.as_str().into()),
                description: fields.text("description", found),
                upgrade_id: self.upgrade_id.clone(),
                cluster_name,
                started_at: self.started_at.unwrap_or(Timestamp::EPOCH),
                s3_bucket: fields.text("s3_bucket", found),
                s3_prefix: fields.text("s3_prefix", found),
                retention_days: retention_days.unwrap_or(DEFAULT_RETENTION_DAYS),
                metadata: Details::NONE,
            },
            completed_at,
            outcome: fields.named("outcome", "an outcome", found),
            pinned: fields.flag("pinned", found).unwrap_or(false),
            state: Details::NONE,
            warnings: Vec::new(),
        }
    }

    fn collections(
        &mut self,
        entries: &[(String, Json)],
        found: &mut Findings,
    ) -> (Vec<CollectionCreated>, Vec<ReferenceArtifact>) {
        let (mut collections, mut artifacts) = (Vec::new(), Vec::new());
        let mut ids = HashSet::new();
        for (key, value) in entries {
            let path = format!("collections.{key}");
            let Json::Object(entries) = value else {
                found.keep(&path, value, "is not a collection");
                continue;
            };
            let mut fields = Fields::new(path, entries, found);
            let collection = self.collection(key, &mut fields, found);
            let items = fields.list("artifacts", found).unwrap_or_default();
            for (index, item) in items.iter().enumerate() {
                let path = fields.path_of(&format!("artifacts.{index}"));
                let Json::Object(entries) = item else {
                    found.keep(&path, item, "is not an artifact");
                    continue;
                };
                let mut fields = Fields::new(path, entries, found);
                artifacts.push(self.artifact(&collection, &mut fields, found));
                fields.keep_rest(found);
            }
            fields.keep_rest(found);
            if ids.insert(collection.collection_id.clone()) {
                collections.push(collection);
            } else {
                found.warn(format!(
                    "collection {} occurs twice: taken as one",
                    collection.collection_id
                ));
            }
        }
        (collections, artifacts)
    }

    fn collection(&self, key: &str, fields: &mut Fields<'_>, found: &mut Findings) -> CollectionCreated {
        let original = fields.id("collection_id", found).unwrap_or(Cow::Borrowed(key));
        let collection_id = CollectionId::new(valid_id(&original)).expect("`valid_id` returns valid ids");
        let mut metadata = object_of(fields, "metadata", found);
        note_original(
            &mut metadata,
            "original_id",
            &original,
            collection_id.as_str(),
            found,
        );
        let upgrade_id = fields.id("upgrade_id", found).map(|id| valid_upgrade_id(&id));
        CollectionCreated {
            session_id: self.session_id.clone(),
            name: fields
                .name("name", found)
                .unwrap_or_else(|| collection_id.as_str().into()),
            collection_id,
            description: fields.text("description", found),
            upgrade_id: upgrade_id.unwrap_or_else(|| self.upgrade_id.clone()),
            task_id: task_id(fields, &mut metadata, found),
            created_at: self.time(fields, "created_at", found),
            metadata: metadata.into(),
        }
    }

    fn artifact(
        &mut self,
        collection: &CollectionCreated,
        fields: &mut Fields<'_>,
        found: &mut Findings,
    ) -> ReferenceArtifact {
        let mut metadata = object_of(fields, "metadata", found);
        let path = fields.text("local_path", found);
        let file_name = path.as_deref().and_then(|path| path.rsplit('/').next());
        let name = fields
            .text("name", found)
            .filter(|name| !name.is_empty())
            .or_else(|| file_name.filter(|name| !name.is_empty()).map(Into::into))
            .unwrap_or_else(|| UNKNOWN.into());
        let artifact_type = fields.named("artifact_type", "a type of artifact", found);
        let upgrade_id = fields.id("upgrade_id", found).map(|id| valid_upgrade_id(&id));
        let tags = fields.list("tags", found).unwrap_or_default();
        let artifact = Artifact {
            artifact_id: self.artifact_id(fields, &mut metadata, found),
            session_id: self.session_id.clone(),
            collection_id: collection.collection_id.clone(),
            upgrade_id: upgrade_id.unwrap_or_else(|| self.upgrade_id.clone()),
            artifact_type: artifact_type.unwrap_or_else(|| ArtifactType::guess(&name)),
            name,
            name_bytes: fields.text("name_bytes", found),
            description: fields.text("description", found),
            local_path: None,
            file_size: fields.count("file_size", found),
            file_hash: fields
                .read("file_hash", "a SHA-256", found, |value| {
                    match value.as_text()? {
                        "" => Some(None),
                        text => text.parse().ok().map(Some),
                    }
                })
                .flatten(),
            s3_bucket: fields.text("s3_bucket", found),
            s3_key: fields.text("s3_key", found),
            s3_url: fields.text("s3_url", found),
            created_at: self.time(fields, "created_at", found),
            uploaded_at: fields.time("uploaded_at", found),
            status: fields
                .named("status", "a status of artifacts", found)
                .unwrap_or(ArtifactStatus::Created),
            task_id: task_id(fields, &mut metadata, found).or_else(|| collection.task_id.clone()),
            step_id: fields.text("step_id", found),
            tags: tags
                .iter()
                .filter_map(|tag| tag.as_text().map(Arc::from))
                .collect(),
            metadata: metadata.into(),
        };
        ReferenceArtifact { artifact, path }
    }

    /// The artifact's id; one that occurred before gets a number.
    fn artifact_id(
        &mut self,
        fields: &mut Fields<'_>,
        metadata: &mut Map<String, Value>,
        found: &mut Findings,
    ) -> ArtifactId {
        let original = fields.id("artifact_id", found).unwrap_or_else(|| {
            found.warn(format!("{} is missing: made up", fields.path_of("artifact_id")));
            Cow::Owned(fields.path_of("artifact_id"))
        });
        let valid = |id: &str| ArtifactId::new(valid_id(id)).expect("`valid_id` returns valid ids");
        let mut id = valid(&original);
        let mut number = 1;
        while !self.artifact_ids.insert(id.clone()) {
            number += 1;
            id = valid(&format!("{original}#{number}"));
        }
        note_original(metadata, "original_id", &original, id.as_str(), found);
        id
    }

    /// A time that defaults to when the session was opened.
    fn time(&self, fields: &mut Fields<'_>, key: &str, found: &mut Findings) -> Timestamp {
        fields
            .time(key, found)
            .or(self.started_at)
            .unwrap_or(Timestamp::EPOCH)
    }
}

fn valid_upgrade_id(original: &str) -> UpgradeId {
    UpgradeId::new(valid_id(original)).expect("`valid_id` returns valid ids")
}

fn upgrade_id(fields: &mut Fields<'_>, metadata: &mut Map<String, Value>, found: &mut Findings) -> UpgradeId {
    let original = fields.id("upgrade_id", found).unwrap_or_else(|| {
        found.warn(format!("upgrade_id is missing: imported as {UNKNOWN:?}"));
        Cow::Borrowed(UNKNOWN)
    });
    let id = valid_upgrade_id(&original);
    note_original(metadata, "original_upgrade_id", &original, id.as_str(), found);
    id
}

fn task_id(
    fields: &mut Fields<'_>,
    metadata: &mut Map<String, Value>,
    found: &mut Findings,
) -> Option<TaskId> {
    let original = fields.id("task_id", found).filter(|id| !id.is_empty())?;
    let id = TaskId::new(valid_id(&original)).expect("`valid_id` returns valid ids");
    note_original(metadata, "original_task_id", &original, id.as_str(), found);
    Some(id)
}

/// Keeps an id that had to be replaced.
fn note_original(
    metadata: &mut Map<String, Value>,
    key: &str,
    original: &str,
    id: &str,
    found: &mut Findings,
) {
    if original != id {
        found.warn(format!(
            "id {original:?} is not valid, or taken: imported as {id}"
        ));
        metadata.insert(key.to_owned(), original.into());
    }
}

fn object_of(fields: &mut Fields<'_>, key: &str, found: &mut Findings) -> Map<String, Value> {
    let entries = fields.object(key, found).unwrap_or_default();
    entries
        .iter()
        .map(|(key, value)| (key.clone(), value.to_value()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
      "session_id": "0d9f", "name": "upgrade-u-20250131", "description": null, "upgrade_id": "u 1", "cluster_name": "prod",
      "collections": {"c1": {"collection_id": "c1", "name": "Logs", "description": null, "upgrade_id": "u 1", "task_id": "t",
        "artifacts": [
          {"artifact_id": "a1", "name": "x.log", "description": "d", "artifact_type": "log_file", "local_path": "/base/0d9f/c1/x.log",
           "file_size": 3, "file_hash": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "s3_bucket": null,
           "created_at": "2025-01-31 05:25:01.056236+00:00", "status": "created", "metadata": {"k": 1}, "tags": ["t1"]},
          {"artifact_id": "a1", "name": "y.log", "artifact_type": "ArtifactType.REPORT", "file_hash": "", "file_size": -1}
        ], "created_at": "2025-01-31T05:25:01Z", "metadata": {}}},
      "started_at": "2025-01-31 05:25:00", "completed_at": "2025-01-31 05:20:00", "base_directory": "/base/0d9f",
      "s3_bucket": "b", "s3_prefix": "p/0d9f", "retention_days": 7, "surprise": true}"#;

    #[test]
    fn everything_in_a_file_is_taken_or_kept() {
        let read = ReferenceSession::read(FILE.as_bytes()).unwrap();
        let created = &read.session.created;
        assert_eq!(created.session_id.as_str(), "0d9f");
        assert!(created.upgrade_id.as_str().starts_with("u-1-"));
        assert_eq!(created.retention_days, 7);
        assert_eq!(read.base_directory.as_deref(), Some("/base/0d9f"));
        let metadata = created.metadata.to_map();
        assert_eq!(metadata["original_upgrade_id"], "u 1");
        assert_eq!(metadata["imported"]["surprise"], true);
        assert_eq!(metadata["imported"]["collections.c1.artifacts.1.file_size"], -1);
        let [first, second] = read.artifacts.as_slice() else {
            panic!("two artifacts")
        };
        assert_eq!(first.path.as_deref(), Some("/base/0d9f/c1/x.log"));
        assert_eq!(first.artifact.file_size, Some(3));
        assert_eq!(first.artifact.task_id.as_ref().unwrap().as_str(), "t");
        assert_eq!(first.artifact.metadata.as_json(), r#"{"k":1}"#);
        assert_eq!(second.artifact.artifact_type, ArtifactType::Report);
        assert_ne!(second.artifact.artifact_id, first.artifact.artifact_id);
        assert_eq!(second.artifact.file_hash, None);
        assert!(!read.session.state.as_json().contains("collections"));
        let warnings = read.session.warnings.join("\n");
        for part in ["before started_at", "surprise", "file_size", "\"u 1\""] {
            assert!(warnings.contains(part), "{part}: {warnings}");
        }
    }

    #[test]
    fn what_is_no_session_is_an_error() {
        assert!(matches!(
            ReferenceSession::read(b"{}"),
            Err(ReferenceError::NoId { .. })
        ));
        assert!(ReferenceSession::read(b"[]").is_err());
        assert!(ReferenceSession::read(b"{\"session_id\": \"a\"").is_err());
        let read = ReferenceSession::read(br#"{"session_id": "a"}"#).unwrap();
        assert_eq!(&*read.session.created.cluster_name, UNKNOWN);
    }
}
