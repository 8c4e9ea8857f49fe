//! A session as the JSON file that people and the reference's tools read.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::ser::{Error as _, SerializeMap, SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};

use crate::{Artifact, Collection, Session};

/// A session with its artifacts as the reference writes it: its fields, names and order, with absolute paths.
///
/// What the reference does not know follows after its fields, where its readers ignore it: `outcome`, `pinned` and
/// `metadata` of the session, `name_bytes` of an artifact.
/// [`ReferenceSession::read`](crate::ReferenceSession::read) reads all of it back.
#[derive(Debug)]
pub struct SessionSnapshot<'a> {
    session: &'a Session,
    artifacts: &'a dyn SnapshotArtifacts,
    data_dir: &'a str,
}

/// Where a snapshot gets its artifacts, so that it need not hold all of them.
pub trait SnapshotArtifacts: fmt::Debug {
    /// Passes those of a collection to `visit`, in the order in which they were added, until it fails. What it fails with
    /// is its own to keep.
    ///
    /// # Errors
    /// If they cannot be read, in words.
    fn each(
        &self,
        collection: &Collection,
        visit: &mut dyn FnMut(&Artifact) -> ControlFlow<()>,
    ) -> Result<(), String>;
}

impl SnapshotArtifacts for Vec<Arc<Artifact>> {
    fn each(
        &self,
        collection: &Collection,
        visit: &mut dyn FnMut(&Artifact) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let mut held = self
            .iter()
            .filter(|artifact| artifact.collection_id == collection.collection_id);
        // Whoever visits keeps why it stopped.
        match held.try_for_each(|artifact| visit(artifact)) {
            ControlFlow::Continue(()) | ControlFlow::Break(()) => Ok(()),
        }
    }
}

impl<'a> SessionSnapshot<'a> {
    /// The snapshot of a session in `data_dir` with all its artifacts, in the order in which they were added.
    #[must_use]
    pub const fn new(session: &'a Session, artifacts: &'a dyn SnapshotArtifacts, data_dir: &'a str) -> Self {
        Self {
            session,
            artifacts,
            data_dir,
        }
    }

    /// Writes it as indented JSON, piece by piece: give a buffered `out`.
    ///
    /// # Errors
    /// Those of `out`; what it has taken until then is no complete JSON.
    pub fn write_to(&self, out: impl io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(out, self).map_err(io::Error::from)
    }

    fn path(&self, relative: &str) -> String {
        format!("{}/{relative}", self.data_dir)
    }
}

impl Serialize for SessionSnapshot<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let session = self.session;
        let base_directory = self.path(&format!("artifacts/{}", session.session_id.encoded()));
        let mut out = serializer.serialize_struct("Session", 15)?;
        out.serialize_field("session_id", &session.session_id)?;
        out.serialize_field("name", &session.name)?;
        out.serialize_field("description", &session.description)?;
        out.serialize_field("upgrade_id", &session.upgrade_id)?;
        out.serialize_field("cluster_name", &session.cluster_name)?;
        out.serialize_field("collections", &Collections(self))?;
        out.serialize_field("started_at", &session.started_at)?;
        out.serialize_field("completed_at", &session.completed_at)?;
        out.serialize_field("base_directory", &base_directory)?;
        out.serialize_field("s3_bucket", &session.s3_bucket)?;
        out.serialize_field("s3_prefix", &session.s3_prefix)?;
        out.serialize_field("retention_days", &session.retention_days)?;
        out.serialize_field("outcome", &session.outcome)?;
        out.serialize_field("pinned", &session.pinned)?;
        out.serialize_field("metadata", &session.metadata)?;
        out.end()
    }
}

struct Collections<'a>(&'a SessionSnapshot<'a>);

impl Serialize for Collections<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let collections = &self.0.session.collections;
        let mut map = serializer.serialize_map(Some(collections.len()))?;
        for (id, collection) in collections {
            map.serialize_entry(id, &CollectionOut(self.0, collection))?;
        }
        map.end()
    }
}

struct CollectionOut<'a>(&'a SessionSnapshot<'a>, &'a Collection);

impl Serialize for CollectionOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let collection = self.1;
        let mut out = serializer.serialize_struct("Collection", 8)?;
        out.serialize_field("collection_id", &collection.collection_id)?;
        out.serialize_field("name", &collection.name)?;
        out.serialize_field("description", &collection.description)?;
        out.serialize_field("upgrade_id", &collection.upgrade_id)?;
        out.serialize_field("task_id", &collection.task_id)?;
        out.serialize_field("artifacts", &Artifacts(self.0, collection))?;
        out.serialize_field("created_at", &collection.created_at)?;
        out.serialize_field("metadata", &collection.metadata)?;
        out.end()
    }
}

struct Artifacts<'a>(&'a SessionSnapshot<'a>, &'a Collection);

impl Serialize for Artifacts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_seq(None)?;
        let mut failed = None;
        let visited = self.0.artifacts.each(self.1, &mut |artifact| match out
            .serialize_element(&ArtifactOut(self.0, artifact))
        {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        });
        match failed {
            Some(error) => Err(error),
            None => visited.map_err(S::Error::custom).and_then(|()| out.end()),
        }
    }
}

struct ArtifactOut<'a>(&'a SessionSnapshot<'a>, &'a Artifact);

impl Serialize for ArtifactOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let artifact = self.1;
        // The reference refuses a whole file for one empty path, so those without bytes are given one too.
        let local_path = artifact.local_path.as_deref().map_or_else(
            || {
                self.0
                    .path(&format!("missing/{}", artifact.artifact_id.encoded()))
            },
            |path| self.0.path(path),
        );
        let mut out = serializer.serialize_struct("Artifact", 18)?;
        out.serialize_field("artifact_id", &artifact.artifact_id)?;
        out.serialize_field("name", &artifact.name)?;
        out.serialize_field("description", &artifact.description)?;
        out.serialize_field("artifact_type", &artifact.artifact_type)?;
        out.serialize_field("local_path", &local_path)?;
        out.serialize_field("file_size", &artifact.file_size)?;
        out.serialize_field("file_hash", &artifact.file_hash)?;
        out.serialize_field("s3_bucket", &artifact.s3_bucket)?;
        out.serialize_field("s3_key", &artifact.s3_key)?;
        out.serialize_field("s3_url", &artifact.s3_url)?;
        out.serialize_field("created_at", &artifact.created_at)?;
        out.serialize_field("uploaded_at", &artifact.uploaded_at)?;
        out.serialize_field("status", &artifact.status)?;
        out.serialize_field("task_id", &artifact.task_id)?;
        out.serialize_field("step_id", &artifact.step_id)?;
        out.serialize_field("upgrade_id", &artifact.upgrade_id)?;
        out.serialize_field("metadata", &artifact.metadata)?;
        out.serialize_field("tags", &artifact.tags)?;
        if artifact.name_bytes.is_some() {
            out.serialize_field("name_bytes", &artifact.name_bytes)?;
        }
        out.end()
    }
}
