//! `ekstrack sync`.

use std::time::Duration;

use serde_json::json;
use tracking_facade::s3::SyncReport;
use tracking_facade::{SessionId, StreamId, TrackingError};

use super::runtime::block_on;
use crate::args::SyncArgs;
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::output::note;
use crate::render::{Palette, bytes, several};
use crate::settings::{Settings, close_artifacts};
use crate::sinks::{tell_parked, tell_undrained};
use crate::work::Work;

pub(crate) fn sync(args: &SyncArgs, settings: &Settings) -> Result<(), Failure> {
    let attempted = || match &args.session {
        Some(session) => format!("sync session {session}"),
        None => format!("sync {}", settings.data_dir.display()),
    };
    if !settings.sinks.are_configured() {
        let cause = "neither a bucket nor a bus is given";
        return Err(Failure::new(Kind::Usage, attempted(), cause).hint(
            "name a bucket with --s3 s3://bucket/prefix or a bus with --eventbridge BUS, or in the sections [s3] and \
             [eventbridge] of ekstrack.toml",
        ));
    }
    if args.session.is_some() && settings.sinks.bucket.is_none() {
        let cause = "a bus is told of upgrades alone, and no bucket is given";
        return Err(Failure::new(Kind::Usage, attempted(), cause)
            .hint("name a bucket with --s3 s3://bucket/prefix, or leave the session out"));
    }
    let archive = settings.archive().map_err(cannot(attempted))?;
    let manager = settings.manager(archive.data_dir().clone());
    let time = u64::try_from(args.timeout.as_micros()).map_or(Duration::ZERO, Duration::from_micros);
    let work = Work::begin("syncing", settings.output);
    let shown = work.clone();
    let synced = block_on(async {
        let synced = async {
            if let Some(session) = &args.session {
                manager.session(session).await?;
            }
            let progress = move |progress| shown.uploading(&progress);
            let session = args.session.as_ref();
            let mut report = match &settings.sinks.bucket {
                Some(bucket) => bucket.sync(&archive, &manager, session, time, progress).await?,
                None => SyncReport::default(),
            };
            let announced = settings.sinks.announce(&archive, session, time).await?;
            let announced = announced.map(|bus| {
                report.undrained.extend(bus.undrained);
                bus.delivered
            });
            Ok((report, announced))
        };
        let synced: Result<_, TrackingError> = synced.await;
        close_artifacts(&manager).await;
        synced
    });
    work.end();
    let (report, announced) = synced?.map_err(cannot(attempted))?;
    let location = settings.sinks.places();
    let sinks = settings.sinks.set(&archive, &manager);
    let only = args
        .session
        .as_ref()
        .map(|session| [StreamId::Session(session.clone())]);
    let only = only.as_ref().map(<[StreamId; 1]>::as_slice);
    let parked = settings.sinks.parked(&archive, &sinks, only);
    let parked = parked.map_err(cannot(attempted))?;
    let synced = Synced {
        bucket: settings.sinks.bucket.is_some(),
        report: &report,
        announced,
        parked: parked
            .iter()
            .map(|status| status.cursor.parked.len() as u64)
            .sum(),
        location: &location,
    };
    settings
        .output
        .result(&synced.document(), |palette| synced.text(palette))?;
    for one in &report.taken_over.deleted {
        let (id, name, by) = (&one.artifact_id, &one.name, &one.by);
        if let Some(why) = &one.left {
            let what = format!(
                "artifact {id} ({name}) was deleted in the bucket by {by}; it is not sent, but its file is still here: {why}"
            );
            note("warning", &what);
        }
    }
    for failure in &report.uploads.failed {
        let (id, name, reason) = (&failure.artifact_id, &failure.name, &failure.reason);
        note(
            "error",
            &format!("artifact {id} ({name}) is not uploaded: {reason}"),
        );
    }
    for one in &report.lost {
        let (id, name, reason) = (&one.artifact_id, &one.name, &one.reason);
        note(
            "error",
            &format!("archived artifact {id} ({name}) is lost: {reason}"),
        );
    }
    if report.elsewhere > 0 {
        let count = several(report.elsewhere, "artifact");
        note(
            "warning",
            &format!(
                "the records of {count} name another bucket or prefix, where they were uploaded first: they are not in this one"
            ),
        );
    }
    if let Some(why) = &report.unrecovered {
        note(
            "error",
            &format!("output of commands that were killed is not recovered: {why}"),
        );
    }
    for one in &report.unchecked {
        let (stream, why) = (&one.stream, &one.reason);
        note(
            "error",
            &format!("it is not known whether all of {stream} is there: {why}"),
        );
    }
    tell_undrained(&report.undrained, settings.sinks.bucket.as_ref());
    tell_parked(&parked);
    if synced.is_clean() {
        return Ok(());
    }
    if report.is_delivered() && parked.is_empty() {
        let unchecked = report.unchecked.first();
        let unchecked = unchecked.map(|one| format!("{} could not be looked at: {}", one.stream, one.reason));
        let lost = report.lost.len() as u64;
        let lost = (lost > 0).then(|| format!("of {} no bytes are left", several(lost, "archived artifact")));
        let cause = unchecked
            .or_else(|| report.unrecovered.clone())
            .or(lost)
            .unwrap_or_default();
        return Err(Failure::new(Kind::Unavailable, attempted(), cause)
            .hint("all else is there; sync again tries it again"));
    }
    let hint = if report.is_clean() {
        "put right what is said above, then `ekstrack sinks retry`, and sync again"
    } else {
        "the rest is; sync again goes on from there"
    };
    Err(Failure::new(Kind::Unavailable, attempted(), synced.missing()).hint(hint))
}

/// What was done, and what is left.
struct Synced<'a> {
    /// Whether there is one.
    bucket: bool,
    report: &'a SyncReport,
    /// Events that the bus got now, if there is one.
    announced: Option<u64>,
    /// Records that sinks cannot take as they are.
    parked: u64,
    location: &'a str,
}

impl Synced<'_> {
    fn is_clean(&self) -> bool {
        self.report.is_clean() && self.parked == 0
    }

    fn missing(&self) -> String {
        let failed = self.report.uploads.failed.len() as u64;
        let undrained = self.report.undrained.iter();
        let records = undrained.filter_map(|left| left.records).sum::<u64>() + self.parked;
        let counts = [(failed, "artifact"), (records, "record")];
        let counts: Vec<(u64, String)> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| (count, several(count, what)))
            .collect();
        match counts.as_slice() {
            // How much it is nobody knows.
            [] => "something is not there".to_owned(),
            [(1, one)] => format!("{one} is not there"),
            counts => {
                let counts: Vec<&str> = counts.iter().map(|(_, text)| text.as_str()).collect();
                format!("{} are not there", counts.join(" and "))
            }
        }
    }

    fn document(&self) -> serde_json::Value {
        let (report, uploads) = (self.report, &self.report.uploads);
        let failed = uploads.failed.iter().map(
            |failure| json!({"artifact_id": failure.artifact_id, "name": failure.name, "reason": failure.reason}),
        );
        let deleted = report.taken_over.deleted.iter().map(|one| {
            json!({
                "artifact_id": one.artifact_id, "session_id": one.session_id, "name": one.name, "by": one.by,
                "reason": one.reason, "left_because": one.left,
            })
        });
        let undrained = report.undrained.iter().map(|left| {
            json!({
                "stream": left.stream.to_string(), "sink": left.sink, "records": left.records,
                "reason": left.reason,
            })
        });
        let lost = report
            .lost
            .iter()
            .map(|one| json!({"artifact_id": one.artifact_id, "name": one.name, "reason": one.reason}));
        let unchecked = report
            .unchecked
            .iter()
            .map(|one| json!({"stream": one.stream.to_string(), "reason": one.reason}));
        json!({
            "with": self.location,
            "ok": self.is_clean(),
            "deleted_elsewhere": deleted.collect::<Vec<_>>(),
            "completed_elsewhere": report.taken_over.completed,
            "uploaded": uploads.sent,
            "uploaded_bytes": uploads.sent_bytes,
            "already_there": (uploads.artifacts.len() as u64).saturating_sub(uploads.sent),
            "lost": lost.collect::<Vec<_>>(),
            "elsewhere": report.elsewhere,
            "records_put_back": report.records_put_back,
            "documents_put_back": report.documents_put_back,
            "recovered": report.recovered,
            "unrecovered": report.unrecovered,
            "unchecked": unchecked.collect::<Vec<_>>(),
            "failed": failed.collect::<Vec<_>>(),
            "announced": self.announced,
            "undelivered": undrained.collect::<Vec<_>>(),
            "parked": self.parked,
        })
    }

    fn text(&self, palette: Palette) -> String {
        let head = if self.is_clean() {
            palette.good("in sync")
        } else {
            palette.warn("not all is there")
        };
        let uploads = &self.report.uploads;
        let sent = self.bucket.then(|| {
            let count = several(uploads.sent, "artifact");
            format!("sent {count}, {}", bytes(uploads.sent_bytes))
        });
        let announced = self
            .announced
            .map(|count| format!("announced {}", several(count, "event")));
        let done: Vec<String> = sent.into_iter().chain(announced).collect();
        let mut text = format!("{head} with {}: {}\n", self.location, done.join("; "));
        let taken = &self.report.taken_over;
        let gone = taken.deleted.iter().filter(|one| one.left.is_none()).count() as u64;
        if gone > 0 {
            text.push_str(&format!(
                "deleted {} here, as in the bucket\n",
                several(gone, "artifact")
            ));
        }
        if !taken.completed.is_empty() {
            let ids: Vec<&str> = taken.completed.iter().map(SessionId::as_str).collect();
            text.push_str(&format!("completed {} here, as in the bucket\n", ids.join(", ")));
        }
        if self.report.recovered > 0 {
            let count = several(self.report.recovered, "output");
            text.push_str(&format!("recovered {count} of commands that were killed\n"));
        }
        let (records, documents) = (self.report.records_put_back, self.report.documents_put_back);
        if records + documents > 0 {
            text.push_str(&format!(
                "put back what somebody had deleted: {}, {}\n",
                several(records, "record"),
                several(documents, "summary document")
            ));
        }
        text
    }
}
