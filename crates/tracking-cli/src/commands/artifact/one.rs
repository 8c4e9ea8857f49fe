//! What is done with one artifact.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tracking_facade::{
    Artifact, ArtifactId, ArtifactStatus, DeleteOptions, DeletedBytes, Deletion, Download, DownloadRecord,
    IfPinned, StreamId, TestArtifactsManager, VerifyScope, storage,
};

use super::prefix::resolve;
use crate::commands::runtime::block_on;
use crate::exit::{Failure, Kind, chain};
use crate::failure::cannot;
use crate::output::{note, path_text};
use crate::render::{Palette, bytes, one_line, time};
use crate::settings::{Settings, close_artifacts};
use crate::work::Work;

pub(super) fn show(settings: &Settings, id: &ArtifactId) -> Result<(), Failure> {
    let attempted = || format!("show artifact {id}");
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let artifact = resolve(settings, &manager, id, attempted)?;
    settings
        .output
        .result(&*artifact, |palette| artifact_text(&artifact, palette))
}

fn artifact_text(artifact: &Artifact, palette: Palette) -> String {
    let mut rows = vec![
        ("type", artifact.artifact_type.to_string()),
        ("status", artifact.status.to_string()),
        ("upgrade", artifact.upgrade_id.to_string()),
        ("session", artifact.session_id.to_string()),
        ("collection", artifact.collection_id.to_string()),
    ];
    let mut optional =
        |name: &'static str, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    optional("task", artifact.task_id.as_ref().map(ToString::to_string));
    optional("step", artifact.step_id.as_deref().map(one_line));
    optional("about", artifact.description.as_deref().map(one_line));
    optional(
        "tags",
        (!artifact.tags.is_empty()).then(|| one_line(&artifact.tags.join(", "))),
    );
    optional("size", artifact.file_size.map(bytes));
    optional("sha-256", artifact.file_hash.as_ref().map(ToString::to_string));
    optional("file", artifact.local_path.as_deref().map(one_line));
    optional("in S3", artifact.s3_url.as_deref().map(one_line));
    optional(
        "metadata",
        (!artifact.metadata.is_empty()).then(|| one_line(artifact.metadata.as_json())),
    );
    rows.push(("added", time(artifact.created_at)));
    let mut text = format!(
        "{} ({})\n",
        palette.bold(&one_line(&artifact.name)),
        artifact.artifact_id
    );
    for (name, value) in rows {
        text.push_str(&format!("  {name:<11} {value}\n"));
    }
    text
}

pub(super) fn verify(settings: &Settings, id: &ArtifactId) -> Result<(), Failure> {
    let attempted = || format!("verify artifact {id}");
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let id = &resolve(settings, &manager, id, attempted)?.artifact_id;
    let work = Work::begin("verifying", settings.output);
    let shown = work.clone();
    let scope = VerifyScope::Artifact(id.clone());
    let report = block_on(manager.verify_artifacts(scope, move |progress| shown.say(&bytes(progress.bytes))));
    work.end();
    let report = report?.map_err(cannot(attempted))?;
    if let Some(finding) = report.findings.first() {
        let cause = format!("{} is {}", finding.local_path, finding.problem);
        return Err(Failure::new(Kind::Refused, attempted(), cause));
    }
    if report.artifacts == 0 {
        return Err(Failure::new(
            Kind::NotFound,
            attempted(),
            "its bytes are not in this data directory",
        ));
    }
    let document = json!({"artifact_id": id, "ok": true, "bytes": report.bytes});
    settings.output.result(&document, |palette| {
        format!("{} {id}: {}\n", palette.good("intact"), bytes(report.bytes))
    })
}

pub(super) fn download(settings: &Settings, id: &ArtifactId, dest: &Path) -> Result<(), Failure> {
    let attempted = || format!("download artifact {id} to {}", dest.display());
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let artifact = resolve(settings, &manager, id, attempted)?;
    let id = &artifact.artifact_id;
    if dest == Path::new("-") {
        return super::content::download(settings, &manager, &artifact, attempted);
    }
    if settings.sinks.bucket.is_some() && (settings.remote.is_some() || is_elsewhere(&manager, &artifact)) {
        return super::shared::download(settings, &artifact, dest);
    }
    let work = Work::begin("downloading", settings.output);
    let downloaded = block_on(async {
        let downloaded = manager.download_artifact(id, dest).await;
        close_artifacts(&manager).await;
        downloaded
    });
    work.end();
    let Download {
        path,
        artifact,
        record,
        ..
    } = downloaded?.map_err(cannot(attempted))?;
    touched(settings, &artifact);
    let recorded = matches!(record, DownloadRecord::Written);
    if let DownloadRecord::NotWritten(error) = record {
        let why = chain(&error).join(": ");
        note(
            "warning",
            &format!("the copy is whole, but the history does not tell of it: {why}"),
        );
    }
    let (text, bytes) = path_text(&path);
    let mut document = json!({"artifact_id": id, "path": text, "recorded": recorded});
    if let Some(bytes) = bytes {
        document["path_bytes"] = json!(bytes);
    }
    settings
        .output
        .result(&document, |_| one_line(&path.display().to_string()) + "\n")
}

pub(super) fn touched(settings: &Settings, artifact: &Artifact) {
    let session = artifact.session_id.clone();
    settings.sinks.touched(StreamId::Session(session));
}

/// Whether its bytes are only in the bucket.
pub(super) fn is_elsewhere(manager: &TestArtifactsManager, artifact: &Artifact) -> bool {
    let here = manager
        .local_path(artifact)
        .is_some_and(|path| storage::exists(&path));
    artifact.s3_key.is_some() && (artifact.status == ArtifactStatus::Archived || !here)
}

pub(super) fn tag(
    settings: &Settings,
    id: &ArtifactId,
    add: &[String],
    remove: &[String],
) -> Result<(), Failure> {
    let attempted = || format!("tag artifact {id}");
    let tags = |tags: &[String]| tags.iter().map(|tag| Arc::from(tag.as_str())).collect();
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let id = &resolve(settings, &manager, id, attempted)?.artifact_id;
    let tagged = block_on(async {
        let tagged = manager.tag_artifact(id, tags(add), tags(remove)).await;
        close_artifacts(&manager).await;
        tagged
    });
    let artifact = tagged?.map_err(cannot(attempted))?;
    touched(settings, &artifact);
    settings.output.result(&*artifact, |_| {
        let tags = match artifact.tags.as_slice() {
            [] => "no tags".to_owned(),
            tags => format!("the tags {}", tags.join(", ")),
        };
        one_line(&format!("artifact {id} ({}) has {tags}", artifact.name)) + "\n"
    })
}

pub(super) fn remove(
    settings: &Settings,
    id: &ArtifactId,
    reason: Option<String>,
    force: bool,
) -> Result<(), Failure> {
    let attempted = || format!("delete artifact {id}");
    let mut options = DeleteOptions::default();
    options.reason = reason.map(Arc::from);
    if force {
        options = options.with_pinned(IfPinned::Delete);
    }
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let id = &resolve(settings, &manager, id, attempted)?.artifact_id;
    let deleted = block_on(async {
        let deleted = manager.delete_artifact(id, options).await;
        close_artifacts(&manager).await;
        deleted
    });
    let Deletion { artifact, bytes, .. } = deleted?.map_err(cannot(attempted))?;
    touched(settings, &artifact);
    let what_of_bytes = match bytes {
        DeletedBytes::Removed => "removed",
        DeletedBytes::Shared => {
            note(
                "note",
                "other records may name the same file: it stays until `ekstrack gc` finds that none does",
            );
            "shared"
        }
        DeletedBytes::LeftBehind(error) => {
            let why = chain(&error).join(": ");
            note(
                "warning",
                &format!(
                    "its file is still there: {why}; `ekstrack gc` removes it once the session is completed"
                ),
            );
            "left_behind"
        }
    };
    let document = json!({
        "artifact_id": id, "session_id": artifact.session_id, "deleted": true, "bytes": what_of_bytes,
    });
    settings.output.result(&document, |_| {
        one_line(&format!("artifact {id} ({}) is deleted", artifact.name)) + "\n"
    })
}
