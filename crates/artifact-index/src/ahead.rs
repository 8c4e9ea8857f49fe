//! What is made of artifacts before it is known which rows they get: beside the writing of those before.

use std::collections::HashMap;
use std::sync::Arc;

use artifact_core::{ArtifactTexts, IndexBatch};
use tracking_model::{Artifact, ArtifactStatus, SessionEvent};

use crate::error::Cause;
use crate::expression::{DELETED, LIVE};
use crate::facets::add_facets;

/// The parts of a row that are an artifact's alone.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) name_key: String,
    /// All that full-text search knows of it, but for its cluster and its status.
    pub(crate) words: String,
    pub(crate) record: String,
}

impl Parts {
    /// What is short comes first among the words, for places in a list are written in fewer bytes the smaller they are.
    pub(crate) fn of(artifact: &Artifact, texts: &dyn ArtifactTexts) -> Result<Self, Cause> {
        let name_key = artifact.name.to_lowercase();
        let words = texts.words(artifact);
        let mut list = String::with_capacity(words.as_str().len() + 768);
        add_facets(&mut list, artifact, &name_key);
        list.push_str(if artifact.status == ArtifactStatus::Deleted {
            DELETED
        } else {
            LIVE
        });
        list.push(' ');
        list.push_str(words.as_str());
        Ok(Self {
            name_key,
            words: list,
            record: serde_json::to_string(artifact)?,
        })
    }

    fn size(&self) -> usize {
        self.name_key.len() + self.words.len() + self.record.len()
    }
}

/// Parts of artifacts, by the place of each in memory, which is its own as long as it is held here.
#[derive(Debug, Default)]
pub(crate) struct Ahead(HashMap<usize, (Arc<Artifact>, Parts)>);

impl Ahead {
    /// Those of artifacts that `batches` add, up to about so many bytes.
    pub(crate) fn of(
        batches: &[IndexBatch],
        texts: &dyn ArtifactTexts,
        most_bytes: usize,
    ) -> Result<Self, Cause> {
        let mut parts = HashMap::new();
        let mut bytes = 0;
        for record in batches.iter().flat_map(|batch| &batch.records) {
            if bytes >= most_bytes {
                break;
            }
            if let SessionEvent::ArtifactAdded(artifact) = &record.event {
                let of_artifact = Parts::of(artifact, texts)?;
                bytes += of_artifact.size();
                parts.insert(place(artifact), (Arc::clone(artifact), of_artifact));
            }
        }
        Ok(Self(parts))
    }

    /// Those of one artifact, made now if they were not before, or of another state of it.
    pub(crate) fn take(&mut self, artifact: &Artifact, texts: &dyn ArtifactTexts) -> Result<Parts, Cause> {
        match self.0.remove(&place(artifact)) {
            Some((_, parts)) => Ok(parts),
            None => Parts::of(artifact, texts),
        }
    }
}

fn place(artifact: &Artifact) -> usize {
    std::ptr::from_ref(artifact).addr()
}
