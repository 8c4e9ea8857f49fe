//! What is done with artifacts in the bucket of the team.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tracking_facade::s3::{ProgressCallback, SharedBucket, UploadReport};
use tracking_facade::{Artifact, ArtifactId, Span, StreamId};

use super::prefix::resolve;
use crate::commands::runtime::block_on;
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::output::{note, path_text};
use crate::render::{bytes, one_line};
use crate::settings::{Settings, close_artifacts};
use crate::work::Work;

/// The bucket, which must be configured for what is attempted.
pub(in crate::commands) fn bucket(
    settings: &Settings,
    attempted: impl FnOnce() -> String,
) -> Result<&SharedBucket, Failure> {
    settings.sinks.bucket.as_ref().ok_or_else(|| {
        Failure::new(Kind::Usage, attempted(), "no bucket is given")
            .hint("name it with --s3 s3://bucket/prefix, or in the section [s3] of ekstrack.toml")
    })
}

pub(super) fn upload(settings: &Settings, ids: &[ArtifactId]) -> Result<(), Failure> {
    let attempted = || {
        let ids: Vec<&str> = ids.iter().map(ArtifactId::as_str).collect();
        format!("upload {}", ids.join(", "))
    };
    let bucket = bucket(settings, attempted)?;
    let archive = settings.archive().map_err(cannot(attempted))?;
    let manager = settings.manager(archive.data_dir().clone());
    let whole = ids.iter().map(|id| {
        let artifact = resolve(settings, &manager, id, attempted)?;
        Ok(artifact.artifact_id.clone())
    });
    let ids = &whole.collect::<Result<Vec<_>, Failure>>()?;
    let work = Work::begin("uploading", settings.output);
    let shown = work.clone();
    let report = block_on(async {
        let progress = move |progress| shown.uploading(&progress);
        let report = bucket.upload_artifacts(&archive, &manager, ids, progress).await;
        close_artifacts(&manager).await;
        report
    });
    work.end();
    let report = report?.map_err(cannot(attempted))?;
    for artifact in &report.artifacts {
        let session = artifact.session_id.clone();
        settings.sinks.touched(StreamId::Session(session));
    }
    tell(settings, &report, attempted)
}

fn tell(settings: &Settings, report: &UploadReport, attempted: impl Fn() -> String) -> Result<(), Failure> {
    let uploaded: Vec<_> = report.artifacts.iter().map(document).collect();
    let failed: Vec<_> = report
        .failed
        .iter()
        .map(|failure| json!({"artifact_id": failure.artifact_id, "name": failure.name, "reason": failure.reason}))
        .collect();
    settings
        .output
        .result(&json!({"artifacts": uploaded, "failed": failed}), |_| {
            let line = |artifact: &Arc<Artifact>| {
                let url = artifact.s3_url.as_deref().unwrap_or("-");
                format!("{} ({}) {url}\n", artifact.artifact_id, one_line(&artifact.name))
            };
            report.artifacts.iter().map(line).collect()
        })?;
    for failure in &report.failed {
        let what = format!(
            "artifact {} ({}) is not uploaded: {}",
            failure.artifact_id, failure.name, failure.reason
        );
        note("error", &what);
    }
    match report.failed.as_slice() {
        [] => Ok(()),
        failed => {
            let cause = format!("{} of them could not be uploaded", failed.len());
            Err(Failure::new(Kind::Unavailable, attempted(), cause)
                .hint("`ekstrack sync` tries again; `ekstrack sinks` shows what waits"))
        }
    }
}

fn document(artifact: &Arc<Artifact>) -> serde_json::Value {
    json!({
        "artifact_id": artifact.artifact_id, "session_id": artifact.session_id, "name": artifact.name,
        "s3_url": artifact.s3_url, "status": artifact.status, "file_size": artifact.file_size,
    })
}

pub(super) fn url(settings: &Settings, id: &ArtifactId, expires: Span) -> Result<(), Failure> {
    let attempted = || format!("make an address of artifact {id}");
    if !(1..=7 * 86_400).contains(&(expires.as_micros() / 1_000_000)) {
        let cause = "an address can be valid for 1 second to 7 days";
        return Err(Failure::new(Kind::Usage, attempted(), cause).hint("say so with --expires, as 2h or 7d"));
    }
    let bucket = bucket(settings, attempted)?;
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let seconds = u64::try_from(expires.as_micros() / 1_000_000).unwrap_or(0);
    let artifact = resolve(settings, &manager, id, attempted)?;
    let id = &artifact.artifact_id;
    let made = block_on(bucket.presigned_url(&artifact, Duration::from_secs(seconds)));
    let url = made?.map_err(settings.cannot(attempted))?;
    let document = json!({
        "artifact_id": id, "url": url.as_str(), "expires_in_seconds": url.valid_for.as_secs(),
    });
    settings
        .output
        .result(&document, |_| format!("{}\n", url.as_str()))
}

/// Copies an artifact's verified bytes from the bucket into a file.
pub(super) fn fetch(
    settings: &Settings,
    artifact: &Artifact,
    dest: &Path,
    attempted: impl Fn() -> String,
) -> Result<PathBuf, Failure> {
    let bucket = bucket(settings, &attempted)?;
    let work = Work::begin("downloading", settings.output);
    let shown = work.clone();
    let progress = ProgressCallback::new(move |progress| shown.transfer(&progress));
    let downloaded = block_on(bucket.download(artifact, dest, Some(progress)));
    work.end();
    downloaded?.map_err(cannot(attempted))
}

/// Copies an artifact out of the bucket.
pub(super) fn download(settings: &Settings, artifact: &Artifact, dest: &Path) -> Result<(), Failure> {
    let id = &artifact.artifact_id;
    let attempted = || format!("download artifact {id} to {}", dest.display());
    let path = fetch(settings, artifact, dest, attempted)?;
    let (text, path_bytes) = path_text(&path);
    let mut document = json!({
        "artifact_id": id, "path": text, "recorded": false, "from": artifact.s3_url,
        "bytes": artifact.file_size,
    });
    if let Some(path_bytes) = path_bytes {
        document["path_bytes"] = json!(path_bytes);
    }
    settings.output.result(&document, |_| {
        let size = artifact
            .file_size
            .map_or_else(String::new, |size| format!(", {}", bytes(size)));
        format!("{} (verified{size})\n", one_line(&path.display().to_string()))
    })
}
