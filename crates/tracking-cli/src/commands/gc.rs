//! `ekstrack gc`: retention.

mod remote;

use serde::Serialize;
use tracking_facade::{
    ArtifactError, ArtifactId, ArtifactStatus, CleanupMode, CleanupOptions, CleanupReport, FileKind,
    OrphanMode, PlannedSession, RetentionPolicy, RetentionRule, SessionId, SessionMeta, SessionOutcome,
    SparedSession, StreamId, Timestamp, UpgradeId, storage,
};

use remote::RemoteDocument;

use super::runtime::block_on;
use crate::args::GcArgs;
use crate::exit::{Failure, Kind, chain};
use crate::failure::cannot;
use crate::render::{Cell, Palette, Table, bytes, one_line, several, time};
use crate::settings::{Settings, close_artifacts};
use crate::work::Work;

pub(crate) fn gc(args: GcArgs, settings: &Settings) -> Result<(), Failure> {
    if !settings.asks_bucket {
        if args.archive.is_some() {
            let cause = "only what is in the bucket can be moved to another storage class";
            return Err(Failure::new(Kind::Usage, "archive artifacts", cause).hint("add --remote"));
        }
        if !args.incomplete.is_empty() {
            let cause = "only of sessions in the bucket may a part be missing";
            return Err(Failure::new(Kind::Usage, "clean up sessions", cause).hint("add --remote"));
        }
        let (document, ended) = here(&args, settings)?;
        settings
            .output
            .result(&document, |palette| document.to_text(palette))?;
        return ended;
    }
    let remote = super::remote::open(settings)?;
    // Before anything is deleted here.
    block_on(remote.bucket().check())?
        .map_err(cannot(|| format!("clean up {}", remote.bucket().location())))?;
    // A machine that only reads the bucket has no data directory; and who archives there keeps what is here.
    let here = if storage::exists(&settings.data_dir) && args.archive.is_none() {
        Some(here(&args, settings)?)
    } else {
        None
    };
    let (there, ended_there) = remote::there(&args, settings, &remote, remote_policy(&args))?;
    let (local, ended) = here.map_or((None, Ok(())), |(local, ended)| (Some(local), ended));
    let document = BothDocument { local, remote: there };
    settings.output.result(&document, |palette| {
        let local = document.local.as_ref();
        let local = local.map_or_else(String::new, |local| local.to_text(palette));
        format!("{local}{}", document.remote.to_text(palette))
    })?;
    ended.and(ended_there)
}

/// What was done in the data directory and in the bucket.
#[derive(Debug, Serialize)]
struct BothDocument {
    #[serde(flatten)]
    local: Option<GcDocument>,
    remote: RemoteDocument,
}

/// Cleans up the data directory.
fn here(args: &GcArgs, settings: &Settings) -> Result<(GcDocument, Result<(), Failure>), Failure> {
    let attempted = || format!("clean up {}", settings.data_dir.display());
    let manager = settings.artifacts().map_err(cannot(attempted))?;
    let mut options = CleanupOptions::default();
    if args.dry_run {
        options = options.dry_run();
    }
    if args.orphans {
        options = options.with_orphans(OrphanMode::Remove);
    }
    let work = Work::begin("cleaning up", settings.output);
    let shown = work.clone();
    let report = block_on(async {
        let report = manager
            .cleanup_old_artifacts(policy(args), options, move |progress| {
                shown.say(&format!(
                    "{} sessions, {} artifacts, {} files",
                    progress.sessions, progress.artifacts, progress.files
                ));
            })
            .await;
        close_artifacts(&manager).await;
        report
    });
    work.end();
    let report = report?.map_err(cannot(attempted))?;
    if report.mode == CleanupMode::Delete {
        for planned in &report.plan.delete {
            let session = planned.session.session_id.clone();
            settings.sinks.touched(StreamId::Session(session));
        }
    }
    let document = GcDocument::new(&report);
    let failed = report.failed;
    let ended = match report.failures.into_iter().next() {
        None => Ok(()),
        Some(first) => {
            let what = format!("clean up session {}", first.session_id);
            let failure = cannot::<ArtifactError>(|| what)(first.error);
            Err(match failed {
                1 => failure,
                failed => failure.hint(format!(
                    "{failed} things could not be done; the others were, and the next run tries again"
                )),
            })
        }
    };
    Ok((document, ended))
}

/// In the bucket there is also what machines have no bytes of any more.
fn remote_policy(args: &GcArgs) -> RetentionPolicy {
    let policy = policy(args);
    if args.status.is_empty() {
        let all = ArtifactStatus::ALL.into_iter();
        policy.with_statuses(all.filter(|status| status.can_become(ArtifactStatus::Deleted)))
    } else {
        policy
    }
}

fn policy(args: &GcArgs) -> RetentionPolicy {
    let mut policy = RetentionPolicy::new()
        .with_failed_factor(args.failed_factor)
        .with_min_age(args.min_age);
    policy.retention_days = args.retention_days;
    policy.max_total_bytes = args.max_total_size;
    if !args.status.is_empty() {
        policy = policy.with_statuses(args.status.iter().copied());
    }
    policy
}

/// What `gc` did, or would do.
#[derive(Debug, Serialize)]
struct GcDocument {
    dry_run: bool,
    at: Timestamp,
    delete: Vec<SessionDocument>,
    spare: Vec<SessionDocument>,
    total_bytes: u64,
    planned_artifacts: u64,
    planned_bytes: u64,
    /// Bytes above --max-total-size that may not be deleted.
    bytes_over: u64,
    deleted_artifacts: u64,
    deleted_bytes: u64,
    removed_files: u64,
    removed_directories: u64,
    /// Files of deleted artifacts that are still there.
    leftover_files: u64,
    orphans: Vec<OrphanDocument>,
    orphan_files: u64,
    spared_meanwhile: Vec<FailureDocument>,
    failures: Vec<FailureDocument>,
    failed: u64,
}

#[derive(Debug, Serialize)]
struct SessionDocument {
    session_id: SessionId,
    name: String,
    upgrade_id: Option<UpgradeId>,
    completed_at: Option<Timestamp>,
    outcome: Option<SessionOutcome>,
    pinned: bool,
    artifacts: u64,
    bytes: u64,
    /// The rule that chose it, or the reason for which it is spared.
    rule: serde_json::Value,
    why: String,
}

#[derive(Debug, Serialize)]
struct OrphanDocument {
    path: String,
    kind: &'static str,
    size: u64,
    since: Timestamp,
    removed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_because: Option<String>,
    /// Empty for a regular file.
    #[serde(skip)]
    kind_in_words: String,
}

#[derive(Debug, Serialize)]
struct FailureDocument {
    session_id: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_id: Option<ArtifactId>,
    error: String,
}

impl SessionDocument {
    fn new(session: &SessionMeta, rule: &impl Serialize, why: String) -> Self {
        Self {
            session_id: session.session_id.clone(),
            name: session.name.to_string(),
            upgrade_id: session.upgrade_id.clone(),
            completed_at: session.completed_at,
            outcome: session.outcome,
            pinned: session.pinned,
            artifacts: session.artifacts(),
            bytes: session.bytes(),
            rule: serde_json::to_value(rule).unwrap_or_default(),
            why,
        }
    }

    fn planned(planned: &PlannedSession) -> Self {
        let why = match planned.rule {
            RetentionRule::TotalSize { max_bytes, .. } => format!("more than {} in all", bytes(max_bytes)),
            rule => rule.to_string(),
        };
        Self {
            artifacts: planned.artifacts,
            bytes: planned.bytes,
            ..Self::new(&planned.session, &planned.rule, why)
        }
    }

    fn spared(spared: &SparedSession) -> Self {
        use tracking_facade::SpareReason::{FailedKeptLonger, NotDue, Young};
        let why = match spared.reason {
            NotDue { until } | Young { until } => format!("kept until {}", time(until)),
            FailedKeptLonger { until, factor } => {
                format!("failed, kept {factor} times longer, until {}", time(until))
            }
            reason => reason.to_string(),
        };
        Self::new(&spared.session, &spared.reason, why)
    }
}

impl SessionDocument {
    fn in_a_line(&self) -> String {
        format!(
            "{} ({}): {}, {}: {}",
            self.session_id,
            one_line(&self.name),
            several(self.artifacts, "artifact"),
            bytes(self.bytes),
            one_line(&self.why)
        )
    }
}

impl GcDocument {
    fn new(report: &CleanupReport) -> Self {
        let plan = &report.plan;
        let orphan = |orphan: &tracking_facade::OrphanFile| OrphanDocument {
            path: orphan.local_path.to_string(),
            kind: orphan.kind.map_or("file", FileKind::as_str),
            size: orphan.size,
            since: orphan.since,
            removed: orphan.removed,
            left_because: orphan.left.map(|left| left.to_string()),
            kind_in_words: orphan.kind.map_or_else(String::new, |kind| format!("{kind}, ")),
        };
        let failure = |failure: &tracking_facade::CleanupFailure| FailureDocument {
            session_id: failure.session_id.clone(),
            artifact_id: failure.artifact_id.clone(),
            error: chain(&failure.error).join(": "),
        };
        let meanwhile = |spared: &tracking_facade::SparedMeanwhile| FailureDocument {
            session_id: spared.session_id.clone(),
            artifact_id: None,
            error: spared.reason.to_string(),
        };
        Self {
            dry_run: report.mode == CleanupMode::DryRun,
            at: plan.at,
            delete: plan.delete.iter().map(SessionDocument::planned).collect(),
            spare: plan.spare.iter().map(SessionDocument::spared).collect(),
            total_bytes: plan.total_bytes,
            planned_artifacts: plan.deleted_artifacts,
            planned_bytes: plan.deleted_bytes,
            bytes_over: plan.bytes_over,
            deleted_artifacts: report.deleted_artifacts,
            deleted_bytes: report.deleted_bytes,
            removed_files: report.removed_files,
            removed_directories: report.removed_directories,
            leftover_files: report.leftover_files,
            orphans: report.orphans.iter().map(orphan).collect(),
            orphan_files: report.orphan_files,
            spared_meanwhile: report.spared_meanwhile.iter().map(meanwhile).collect(),
            failures: report.failures.iter().map(failure).collect(),
            failed: report.failed,
        }
    }

    fn to_text(&self, palette: Palette) -> String {
        let mut table = Table::new(["", "SESSION", "NAME", "OUTCOME", "ARTIFACTS", "SIZE", "WHY"]);
        let mut row = |head: Cell, session: &SessionDocument| {
            table.row([
                head,
                session.session_id.as_str().into(),
                (&session.name).into(),
                session.outcome.map_or("-", SessionOutcome::as_str).into(),
                session.artifacts.to_string().into(),
                bytes(session.bytes).into(),
                (&session.why).into(),
            ]);
        };
        for session in &self.delete {
            row(Cell::painted("delete", |text| palette.warn(text)), session);
        }
        for session in &self.spare {
            row(Cell::painted("spare", |text| palette.dim(text)), session);
        }
        let mut text = if table.is_empty() {
            String::new()
        } else {
            table.render(palette)
        };
        for line in self.lines(palette) {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    fn lines(&self, palette: Palette) -> Vec<String> {
        let mut lines = Vec::new();
        for orphan in &self.orphans {
            let head = if orphan.removed { "removed" } else { "orphan" };
            let left = orphan.left_because.as_ref();
            lines.push(format!(
                "{} {}: {}{}, there since {}, no record speaks of it{}",
                palette.warn(head),
                one_line(&orphan.path),
                orphan.kind_in_words,
                bytes(orphan.size),
                time(orphan.since),
                left.map_or_else(String::new, |left| format!("; left: {left}"))
            ));
        }
        for spared in &self.spared_meanwhile {
            lines.push(format!("{} {}", palette.dim("spared"), one_line(&spared.error)));
        }
        for failure in &self.failures {
            lines.push(format!(
                "{} {}",
                palette.error("failed"),
                one_line(&failure.error)
            ));
        }
        lines.push(if self.dry_run {
            format!(
                "would delete {}, {}, of {}; spares {}; nothing was changed",
                several(self.planned_artifacts, "artifact"),
                bytes(self.planned_bytes),
                several(self.delete.len() as u64, "session"),
                several(self.spare.len() as u64, "session")
            )
        } else {
            format!(
                "deleted {}, {}, of {}; spared {}; removed {}",
                several(self.deleted_artifacts, "artifact"),
                bytes(self.deleted_bytes),
                several(
                    (self.delete.len() - self.spared_meanwhile.len()) as u64,
                    "session"
                ),
                several((self.spare.len() + self.spared_meanwhile.len()) as u64, "session"),
                several(self.removed_files, "file")
            )
        });
        if self.bytes_over > 0 {
            lines.push(format!(
                "{} more than allowed: the rest is open, pinned, too young, or of a status that stays",
                bytes(self.bytes_over)
            ));
        }
        if self.leftover_files > 0 {
            let when = if self.dry_run {
                "`ekstrack gc` removes those in completed sessions"
            } else {
                "they go once their sessions are completed"
            };
            lines.push(format!(
                "{} of deleted artifacts left; {when}",
                several(self.leftover_files, "file")
            ));
        }
        if self.orphans.iter().any(|orphan| !orphan.removed) {
            lines.push(
                "`ekstrack gc --orphans` removes files, links and pipes that no record speaks of, in completed sessions"
                    .to_owned(),
            );
        }
        lines
    }
}
