//! What the two kinds of streams have in common for viewers.

use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use tracking_journal::{Liveness, Record};
use tracking_model::{
    DecodeError, Fold, RecordMeta, Session, SessionEvent, Snapshot, StreamId, UpgradeEvent, UpgradeId,
    UpgradeProgress,
};
use uuid::Uuid;

use crate::frame::Frame;
use crate::protocol::{artifact_frame, progress_frame};
use crate::source::{SummarySource, UpgradeView};

/// The state of a stream that viewers watch.
pub(crate) trait Followed: Fold + DeserializeOwned {
    /// What viewers get for a record, if anything.
    fn frame(names: &Names, epoch: Uuid, meta: &RecordMeta, event: &Self::Event) -> Option<Frame>;

    /// Whether there is anything that viewers could watch.
    fn has_begun(&self) -> bool;

    /// How it stands, if that is a thing to tell.
    fn view(&self, source: &dyn SummarySource, liveness: Option<Liveness>) -> Option<UpgradeView>;

    /// The upgrade whose writers [`Self::view`] is told of, if any are asked for.
    fn written_for(&self) -> Option<UpgradeId>;

    /// All of it that a viewer needs to show it, if that is a thing to show.
    fn snapshot(&self) -> Option<Box<RawValue>>;
}

impl Followed for UpgradeProgress {
    fn frame(names: &Names, epoch: Uuid, meta: &RecordMeta, event: &UpgradeEvent) -> Option<Frame> {
        match &names.stream {
            StreamId::Upgrade(id) => progress_frame((&names.text, id), epoch, meta, event),
            StreamId::Session(_) => None,
        }
    }

    fn has_begun(&self) -> bool {
        self.exists()
    }

    fn view(&self, source: &dyn SummarySource, liveness: Option<Liveness>) -> Option<UpgradeView> {
        self.exists().then(|| source.view(self, liveness))
    }

    fn written_for(&self) -> Option<UpgradeId> {
        self.exists().then(|| self.upgrade_id.clone())
    }

    fn snapshot(&self) -> Option<Box<RawValue>> {
        let snapshot = to_raw_value(&Snapshot::brief(self));
        Some(snapshot.expect("texts and finite numbers serialise into memory"))
    }
}

impl Followed for Session {
    fn frame(names: &Names, epoch: Uuid, meta: &RecordMeta, event: &SessionEvent) -> Option<Frame> {
        artifact_frame(&names.text, epoch, meta, event)
    }

    fn has_begun(&self) -> bool {
        // Its records are told one by one, from the first on.
        true
    }

    fn view(&self, _: &dyn SummarySource, _: Option<Liveness>) -> Option<UpgradeView> {
        None
    }

    fn written_for(&self) -> Option<UpgradeId> {
        None
    }

    fn snapshot(&self) -> Option<Box<RawValue>> {
        None
    }
}

/// A stream, and its name as it is written in messages.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) stream: StreamId,
    pub(crate) text: String,
}

impl Names {
    pub(crate) fn new(stream: StreamId) -> Self {
        let text = stream.to_string();
        Self { stream, text }
    }

    /// What viewers get for a record read from the journal, if anything.
    pub(crate) fn frame_of(&self, record: &Record) -> Result<Option<Frame>, DecodeError> {
        let (epoch, meta) = (record.epoch, record.meta());
        Ok(match &self.stream {
            StreamId::Upgrade(_) => UpgradeProgress::frame(self, epoch, &meta, &record.decode()?),
            StreamId::Session(_) => Session::frame(self, epoch, &meta, &record.decode()?),
        })
    }
}
