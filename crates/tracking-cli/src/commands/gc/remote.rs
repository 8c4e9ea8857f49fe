//! Retention in the bucket of the team.

use std::sync::Arc;

use serde::Serialize;
use tracking_facade::s3::{
    Expiry, OrphanedObjects, RemoteArchive, RemoteCleanupOptions, RemoteCleanupReport,
};
use tracking_facade::{RetentionPolicy, SessionId};

use super::SessionDocument;
use crate::args::GcArgs;
use crate::commands::runtime::block_on;
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::render::{Palette, bytes, one_line, several};
use crate::settings::Settings;
use crate::work::Work;

/// What `gc` did in the bucket, or would do.
#[derive(Debug, Serialize)]
pub(super) struct RemoteDocument {
    bucket: String,
    dry_run: bool,
    archive: bool,
    delete: Vec<SessionDocument>,
    spare: Vec<SessionDocument>,
    planned_artifacts: u64,
    planned_bytes: u64,
    /// Artifacts whose records say now that they are deleted, or archived.
    artifacts: u64,
    bytes: u64,
    /// Objects that were removed; in a dry run those of artifacts that were deleted before.
    objects: u64,
    /// Objects that a listing afterwards still shows.
    remaining: Vec<String>,
    stale_uploads: u64,
    /// What there was of sessions whose beginning is gone.
    remains: Vec<OrphanedObjectsDocument>,
    failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct OrphanedObjectsDocument {
    session_id: SessionId,
    objects: u64,
    bytes: u64,
    segments: u64,
}

pub(super) fn there(
    args: &GcArgs,
    settings: &Settings,
    remote: &RemoteArchive,
    policy: RetentionPolicy,
) -> Result<(RemoteDocument, Result<(), Failure>), Failure> {
    let location = remote.bucket().location().to_string();
    let attempted = || format!("clean up {location}");
    let mut options = RemoteCleanupOptions::new(Arc::clone(&settings.actor));
    if args.dry_run {
        options = options.dry_run();
    }
    if let Some(class) = args.archive {
        options = options.with_expiry(Expiry::Archive(class));
    }
    for session in &args.incomplete {
        options = options.with_incomplete(session.clone());
    }
    let work = Work::begin("cleaning up the bucket", settings.output);
    let shown = work.clone();
    let report = block_on(remote.cleanup(policy, options, move |report| {
        shown.say(&format!(
            "{} artifacts, {} objects",
            report.artifacts, report.objects
        ));
    }));
    work.end();
    let report = report?.map_err(cannot(attempted))?;
    let document = RemoteDocument::new(args, location.clone(), &report);
    let undone = document.failures.len() + document.remaining.len();
    let ended = match document.failures.first().or(document.remaining.first()) {
        None => Ok(()),
        Some(first) => Err(
            Failure::new(Kind::Unavailable, attempted(), first.clone()).hint(format!(
                "{} could not be done; the rest was, and the next run tries again",
                several(undone as u64, "thing")
            )),
        ),
    };
    Ok((document, ended))
}

impl RemoteDocument {
    fn new(args: &GcArgs, bucket: String, report: &RemoteCleanupReport) -> Self {
        let plan = &report.plan;
        let failure = |failure: &tracking_facade::s3::RemoteCleanupFailure| {
            let what = match (&failure.session_id, &failure.key) {
                (_, Some(key)) => format!("{key}: "),
                (Some(session), None) => format!("session {session}: "),
                (None, None) => String::new(),
            };
            format!("{what}{}", failure.reason)
        };
        let orphaned = |objects: &OrphanedObjects| OrphanedObjectsDocument {
            session_id: objects.session_id.clone(),
            objects: objects.objects,
            bytes: objects.bytes,
            segments: objects.segments,
        };
        Self {
            bucket,
            dry_run: args.dry_run,
            archive: args.archive.is_some(),
            delete: plan.delete.iter().map(SessionDocument::planned).collect(),
            spare: plan.spare.iter().map(SessionDocument::spared).collect(),
            planned_artifacts: plan.deleted_artifacts,
            planned_bytes: plan.deleted_bytes,
            artifacts: report.artifacts,
            bytes: report.bytes,
            objects: report.objects,
            remaining: report.remaining.clone(),
            stale_uploads: report.stale_uploads,
            remains: report.orphaned.iter().map(orphaned).collect(),
            failures: report.failures.iter().map(failure).collect(),
        }
    }

    pub(super) fn to_text(&self, palette: Palette) -> String {
        let mut text = String::new();
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        line(palette.bold(&self.bucket));
        for session in &self.delete {
            let what = if self.archive { "archive" } else { "delete" };
            line(format!("{} {}", palette.warn(what), session.in_a_line()));
        }
        for session in &self.spare {
            line(format!("{} {}", palette.dim("spare"), session.in_a_line()));
        }
        for remains in &self.remains {
            line(format!(
                "{} what is left of {}: {}, {}, and {} of its records",
                palette.warn("delete"),
                remains.session_id,
                several(remains.objects, "object"),
                bytes(remains.bytes),
                several(remains.segments, "segment"),
            ));
        }
        for key in &self.remaining {
            line(format!(
                "{} {} is still there",
                palette.error("failed"),
                one_line(key)
            ));
        }
        for failure in &self.failures {
            line(format!("{} {}", palette.error("failed"), one_line(failure)));
        }
        line(self.conclusion());
        text
    }

    fn conclusion(&self) -> String {
        let verb = match (self.archive, self.dry_run) {
            (false, true) => "would delete",
            (false, false) => "deleted",
            (true, true) => "would archive",
            (true, false) => "archived",
        };
        if self.dry_run {
            return format!(
                "{verb} {}, {}; {} of artifacts that are deleted would go; nothing was changed",
                several(self.planned_artifacts, "artifact"),
                bytes(self.planned_bytes),
                several(self.objects, "object"),
            );
        }
        format!(
            "{verb} {}, {}; removed {}, gone by a listing; gave up {}",
            several(self.artifacts, "artifact"),
            bytes(self.bytes),
            several(self.objects, "object"),
            several(self.stale_uploads, "stale upload"),
        )
    }
}
