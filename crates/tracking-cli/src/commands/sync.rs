//! `ekstrack sync`.

use std::time::Duration;

use serde_json::json;
use tracking_facade::s3::SyncReport;
use tracking_facade::{StreamId, TrackingError};

use super::artifact::bucket;
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
        // There is a hint in what it says.
        bucket(settings, attempted)?;
    }
    let archive = settings.archive().map_err(cannot(attempted))?;
    let manager = settings.manager(archive.data_dir().clone());
    let time = u64::try_from(args.timeout.as_micros()).map_or(Duration::ZERO, Duration::from_micros);
    let work = Work::begin("syncing", settings.output);
    let shown = work.clone();
    let synced = block_on(async {
        if let Some(session) = &args.session {
            manager.session(session).await?;
        }
        let progress = move |progress| shown.uploading(&progress);
        let session = args.session.as_ref();
        let mut report = match &settings.sinks.bucket {
            Some(bucket) => bucket.sync(&archive, &manager, session, time, progress).await,
            None => Ok(SyncReport::default()),
        };
        if let Ok(report) = &mut report {
            let undrained = settings.sinks.announce(&archive, session, time).await;
            report.undrained.extend(undrained?);
        }
        close_artifacts(&manager).await;
        report
    });
    work.end();
    let synced: Result<SyncReport, TrackingError> = synced?;
    let report = synced.map_err(cannot(attempted))?;
    let location = settings.sinks.places();
    settings.output.result(&document(&report, &location), |palette| {
        text(&report, &location, palette)
    })?;
    for failure in &report.uploads.failed {
        let (id, name, reason) = (&failure.artifact_id, &failure.name, &failure.reason);
        note(
            "error",
            &format!("artifact {id} ({name}) is not uploaded: {reason}"),
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
    let sinks = settings.sinks.set(&archive, &manager);
    let only = args
        .session
        .as_ref()
        .map(|session| [StreamId::Session(session.clone())]);
    let only = only.as_ref().map(<[StreamId; 1]>::as_slice);
    let parked = settings.sinks.parked(&archive, &sinks, only);
    let parked = parked.map_err(cannot(attempted))?;
    tell_parked(&parked);
    if report.is_clean() && parked.is_empty() {
        return Ok(());
    }
    if report.is_delivered() && parked.is_empty() {
        let unchecked = report.unchecked.first();
        let unchecked = unchecked.map(|one| format!("{} could not be looked at: {}", one.stream, one.reason));
        let cause = unchecked
            .or_else(|| report.unrecovered.clone())
            .unwrap_or_default();
        return Err(Failure::new(Kind::Unavailable, attempted(), cause)
            .hint("all else is there; sync again tries it again"));
    }
    let cause = format!(
        "{} and {} are not there",
        several(report.uploads.failed.len() as u64, "artifact"),
        several(
            report
                .undrained
                .iter()
                .filter_map(|left| left.records)
                .sum::<u64>()
                + parked
                    .iter()
                    .map(|status| status.cursor.parked.len() as u64)
                    .sum::<u64>(),
            "record"
        )
    );
    Err(Failure::new(Kind::Unavailable, attempted(), cause)
        .hint("the rest is; sync again goes on from there"))
}

fn document(report: &SyncReport, location: &str) -> serde_json::Value {
    let uploads = &report.uploads;
    let failed = uploads.failed.iter().map(
        |failure| json!({"artifact_id": failure.artifact_id, "name": failure.name, "reason": failure.reason}),
    );
    let undrained = report.undrained.iter().map(|left| {
        json!({
            "stream": left.stream.to_string(), "sink": left.sink, "records": left.records,
            "reason": left.reason,
        })
    });
    let unchecked = report
        .unchecked
        .iter()
        .map(|one| json!({"stream": one.stream.to_string(), "reason": one.reason}));
    json!({
        "with": location,
        "ok": report.is_clean(),
        "uploaded": uploads.sent,
        "uploaded_bytes": uploads.sent_bytes,
        "already_there": (uploads.artifacts.len() as u64).saturating_sub(uploads.sent),
        "elsewhere": report.elsewhere,
        "records_put_back": report.records_put_back,
        "documents_put_back": report.documents_put_back,
        "recovered": report.recovered,
        "unrecovered": report.unrecovered,
        "unchecked": unchecked.collect::<Vec<_>>(),
        "failed": failed.collect::<Vec<_>>(),
        "undelivered": undrained.collect::<Vec<_>>(),
    })
}

fn text(report: &SyncReport, location: &str, palette: Palette) -> String {
    let uploads = &report.uploads;
    let head = if report.is_clean() {
        palette.good("in sync")
    } else {
        palette.warn("not all is there")
    };
    let mut text = format!(
        "{head} with {location}: sent {}, {}\n",
        several(uploads.sent, "artifact"),
        bytes(uploads.sent_bytes)
    );
    if report.recovered > 0 {
        let count = several(report.recovered, "output");
        text.push_str(&format!("recovered {count} of commands that were killed\n"));
    }
    if report.records_put_back + report.documents_put_back > 0 {
        text.push_str(&format!(
            "put back what somebody had deleted: {}, {}\n",
            several(report.records_put_back, "record"),
            several(report.documents_put_back, "summary document")
        ));
    }
    text
}
