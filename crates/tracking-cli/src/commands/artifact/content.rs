//! The bytes of artifacts on stdout: `artifact cat`, `artifact download ID -`.

use std::io::{self, Read};

use serde::Serialize;
use serde_json::json;
use tempfile::TempDir;
use tracking_facade::{Artifact, ArtifactId, TestArtifactsManager, VerifyScope, storage};

use super::one::{is_elsewhere, touched};
use super::prefix::resolve;
use crate::commands::runtime::block_on;
use crate::exit::{Failure, Kind, chain};
use crate::failure::cannot;
use crate::output::{note, stdout};
use crate::render::bytes;
use crate::settings::{Settings, close_artifacts};
use crate::work::Work;

/// The most that a JSON document holds.
const MOST_IN_JSON: u64 = 64 << 20;

/// The verified bytes of an artifact.
pub(in crate::commands) struct Content {
    reader: Box<dyn Read>,
    size: u64,
    /// Hold what came from the bucket.
    directories: Vec<TempDir>,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl Content {
    /// Bytes that nobody vouches for.
    pub(in crate::commands) fn unverified(reader: impl Read + 'static, size: u64) -> Self {
        Self {
            reader: Box::new(reader),
            size,
            directories: Vec::new(),
        }
    }

    /// These bytes, and then others.
    pub(in crate::commands) fn then(self, next: Self) -> Self {
        Self {
            size: self.size + next.size,
            directories: self.directories.into_iter().chain(next.directories).collect(),
            reader: Box::new(self.reader.chain(next.reader)),
        }
    }

    /// Puts bytes back that were read.
    pub(in crate::commands) fn after(self, head: Vec<u8>) -> Self {
        Self {
            reader: Box::new(io::Cursor::new(head).chain(self.reader)),
            ..self
        }
    }

    /// Verifies the bytes of an artifact, here or from the bucket, and opens them.
    pub(in crate::commands) fn open(
        settings: &Settings,
        manager: &TestArtifactsManager,
        artifact: &Artifact,
        attempted: impl Fn() -> String,
    ) -> Result<Self, Failure> {
        match &settings.sinks.bucket {
            Some(_) if settings.remote.is_some() || is_elsewhere(manager, artifact) => {
                Self::fetch(settings, artifact, attempted)
            }
            _ => Self::open_here(settings, manager, &artifact.artifact_id, attempted),
        }
    }

    fn open_here(
        settings: &Settings,
        manager: &TestArtifactsManager,
        id: &ArtifactId,
        attempted: impl Fn() -> String,
    ) -> Result<Self, Failure> {
        let work = Work::begin("verifying", settings.output);
        let shown = work.clone();
        let scope = VerifyScope::Artifact(id.clone());
        let report =
            block_on(manager.verify_artifacts(scope, move |progress| shown.say(&bytes(progress.bytes))));
        work.end();
        if let Some(finding) = report?.map_err(cannot(&attempted))?.findings.first() {
            let cause = format!("{} is {}", finding.local_path, finding.problem);
            return Err(Failure::new(Kind::Refused, attempted(), cause));
        }
        let reader = block_on(manager.open_artifact(id))?.map_err(cannot(attempted))?;
        let size = reader.size();
        Ok(Self::unverified(reader, size))
    }

    fn fetch(
        settings: &Settings,
        artifact: &Artifact,
        attempted: impl Fn() -> String,
    ) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::of(Kind::Unavailable, attempted(), &error);
        let directory = tempfile::tempdir().map_err(failed)?;
        let path = super::shared::fetch(settings, artifact, &directory.path().join("content"), &attempted)?;
        let file = storage::open(&path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        Ok(Self {
            reader: Box::new(file),
            size,
            directories: vec![directory],
        })
    }

    /// Prints the bytes as they are; with `--json`, `document` with the bytes in it.
    pub(in crate::commands) fn print(
        mut self,
        settings: &Settings,
        document: &impl Serialize,
        attempted: impl Fn() -> String,
    ) -> Result<(), Failure> {
        if settings.output.is_json() {
            return self.print_json(settings, document, attempted);
        }
        let mut out = stdout();
        let copied = io::copy(&mut self.reader, &mut out);
        copied
            .and_then(|_| io::Write::flush(&mut out))
            .map_err(|error| Failure::output(&error))
    }

    fn print_json(
        self,
        settings: &Settings,
        document: &impl Serialize,
        attempted: impl Fn() -> String,
    ) -> Result<(), Failure> {
        let failed = |error: &dyn std::error::Error| Failure::of(Kind::Failed, attempted(), error);
        if self.size > MOST_IN_JSON {
            let cause = format!(
                "{} are too many for a JSON document, which holds {} at most",
                bytes(self.size),
                bytes(MOST_IN_JSON)
            );
            return Err(Failure::new(Kind::Refused, attempted(), cause).hint("leave --json out"));
        }
        let mut content = Vec::new();
        let read = self.reader.take(MOST_IN_JSON).read_to_end(&mut content);
        read.map_err(|error| failed(&error))?;
        let mut document = serde_json::to_value(document).map_err(|error| failed(&error))?;
        document["bytes"] = json!(content.len());
        match String::from_utf8(content) {
            Ok(text) => document["text"] = json!(text),
            Err(error) => document["base64"] = json!(base64(error.as_bytes())),
        }
        settings.output.document(&document)
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Document around an artifact's bytes.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    artifact_id: &'a ArtifactId,
    session_id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<bool>,
}

impl<'a> Printed<'a> {
    fn new(artifact: &'a Artifact) -> Self {
        Self {
            artifact_id: &artifact.artifact_id,
            session_id: artifact.session_id.as_str(),
            name: &artifact.name,
            recorded: None,
        }
    }
}

pub(super) fn cat(settings: &Settings, id: &ArtifactId) -> Result<(), Failure> {
    let attempted = || format!("print artifact {id}");
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let artifact = resolve(settings, &manager, id, attempted)?;
    let content = Content::open(settings, &manager, &artifact, attempted)?;
    content.print(settings, &Printed::new(&artifact), attempted)
}

/// As [`cat`], and the history of the session tells of it where its bytes are here.
pub(super) fn download(
    settings: &Settings,
    manager: &TestArtifactsManager,
    artifact: &Artifact,
    attempted: impl Fn() -> String,
) -> Result<(), Failure> {
    let content = Content::open(settings, manager, artifact, &attempted)?;
    let is_copy_of_bucket = !content.directories.is_empty();
    let recorded = if is_copy_of_bucket {
        false
    } else {
        let recorded = block_on(async {
            let recorded = manager.record_download(&artifact.artifact_id).await;
            close_artifacts(manager).await;
            recorded
        })?;
        touched(settings, artifact);
        if let Err(error) = &recorded {
            let why = chain(error).join(": ");
            note(
                "warning",
                &format!("the history does not tell of this copy: {why}"),
            );
        }
        recorded.is_ok()
    };
    let printed = Printed {
        recorded: Some(recorded),
        ..Printed::new(artifact)
    };
    content.print(settings, &printed, attempted)
}
