//! The artifacts of a run.
use crate::args::RunArgs;
use crate::exit::Failure;
use crate::process::{Ended, Keep};
use crate::settings::Settings;
use serde::Serialize;
use tracking_facade::{CollectionId, SessionId};

pub(super) struct Evidence;
#[derive(Debug, Serialize)]
pub(super) struct Kept {
    artifact_id: String,
}
impl Evidence {
    pub(super) fn begin(_args: &RunArgs, _settings: &Settings) -> Self {
        Self
    }
    pub(super) fn keep(&mut self) -> Keep {
        Keep {
            stdout: None,
            stderr: None,
        }
    }
    pub(super) fn abandon(self) {}
    pub(super) async fn finish(self, _ended: &Ended, _artifacts: &[String]) -> Vec<Kept> {
        Vec::new()
    }
}
pub(super) fn globs(globs: &[String]) -> Result<Vec<String>, Failure> {
    Ok(globs.to_vec())
}
pub(super) fn place(args: &RunArgs) -> (SessionId, CollectionId) {
    (
        SessionId::new(args.upgrade.as_str()).expect("same rule"),
        CollectionId::new(args.task.as_str()).expect("same rule"),
    )
}
