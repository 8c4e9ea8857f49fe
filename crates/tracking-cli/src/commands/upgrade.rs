//! `ekstrack upgrade`: start, steer and remove upgrades.

use std::sync::Arc;

use tracking_facade::{
    NewUpgrade, ProgressTracker, Status, StreamId, UpgradeCommand, UpgradeId, UpgradeView,
};

use crate::args::{KeyValue, UpgradeCommand as Asked};
use crate::commands::runtime::block_on;
use crate::commands::show;
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::live::has_ended;
use crate::settings::Settings;

pub(crate) fn upgrade(asked: Asked, settings: &Settings) -> Result<(), Failure> {
    match asked {
        Asked::Start {
            id,
            plan,
            cluster,
            phase,
            if_needed,
            meta,
        } => {
            let upgrade = NewUpgrade::new(id, plan, cluster).with_metadata(KeyValue::map(&meta)?);
            if if_needed {
                ensure_started(settings, upgrade, phase)
            } else {
                start(settings, upgrade, phase)
            }
        }
        Asked::Phase { id, phase } => {
            let said = format!("upgrade {id} is in phase {phase}");
            let phase = phase.into();
            change(
                settings,
                &id,
                "set the phase of",
                UpgradeCommand::SetPhase { phase },
                &said,
            )
        }
        Asked::Complete {
            id,
            allow_unfinished,
            if_needed,
        } => {
            let wanted = UpgradeCommand::Complete { allow_unfinished };
            complete(settings, &id, wanted, if_needed)
        }
        Asked::Fail { id, error } => {
            let said = format!("upgrade {id} has failed");
            let error = error.into();
            change(settings, &id, "fail", UpgradeCommand::Fail { error }, &said)
        }
        Asked::Pause { id, reason } => {
            let said = format!("upgrade {id} is paused");
            let reason = reason.map(Arc::from);
            change(settings, &id, "pause", UpgradeCommand::Pause { reason }, &said)
        }
        Asked::Resume { id } => {
            let said = format!("upgrade {id} goes on");
            change(settings, &id, "resume", UpgradeCommand::Resume, &said)
        }
        Asked::Cancel { id, reason } => {
            let said = format!("upgrade {id} is cancelled");
            let reason = reason.map(Arc::from);
            change(settings, &id, "cancel", UpgradeCommand::Cancel { reason }, &said)
        }
        Asked::List { status } => show::list(settings, status),
        Asked::Show { id } => show::upgrade(settings, &id),
        Asked::Rm { id, force } => remove(settings, &id, force),
    }
}

fn start(settings: &Settings, upgrade: NewUpgrade, phase: String) -> Result<(), Failure> {
    let id = upgrade.upgrade_id.clone();
    let attempted = || format!("start upgrade {id}");
    let tracker = open_or_create(settings, upgrade)?;
    let said = format!("upgrade {id} is started, in phase {phase}");
    let phase = phase.into();
    let done = tracker.submit(UpgradeCommand::Start { phase }).wait();
    done.map_err(cannot(attempted))?;
    say(settings, &tracker, &said)
}

fn ensure_started(settings: &Settings, upgrade: NewUpgrade, phase: String) -> Result<(), Failure> {
    let id = upgrade.upgrade_id.clone();
    let attempted = || format!("start upgrade {id}");
    let tracker = open_or_create(settings, upgrade)?;
    let found = block_on(tracker.ensure_started(phase))?.map_err(cannot(attempted))?;
    let phase = tracker.read(|state| state.current_phase.clone().unwrap_or_default());
    let said = match found {
        Status::Paused => {
            format!("upgrade {id} is started and paused: `ekstrack upgrade resume {id}` lets it go on")
        }
        Status::Completed => format!("upgrade {id} is completed already"),
        Status::InProgress => format!("upgrade {id} is started already, in phase {phase}"),
        Status::Failed => format!("upgrade {id} had failed and is started again, in phase {phase}"),
        Status::NotStarted | Status::Cancelled => format!("upgrade {id} is started, in phase {phase}"),
    };
    say(settings, &tracker, &said)
}

fn open_or_create(settings: &Settings, upgrade: NewUpgrade) -> Result<ProgressTracker, Failure> {
    let id = upgrade.upgrade_id.clone();
    let attempted = || format!("start upgrade {id}");
    let dir = settings.create_data_dir().map_err(cannot(attempted))?;
    let tracker = ProgressTracker::open_or_create(&dir, upgrade, settings.tracker_options())
        .map_err(cannot(attempted))?;
    settings.sinks.touched(StreamId::Upgrade(id.clone()));
    Ok(tracker)
}

/// Changes an upgrade that exists.
fn change(
    settings: &Settings,
    id: &UpgradeId,
    verb: &str,
    command: UpgradeCommand,
    said: &str,
) -> Result<(), Failure> {
    let attempted = || format!("{verb} upgrade {id}");
    let tracker = settings.tracker(id).map_err(cannot(attempted))?;
    tracker.submit(command).wait().map_err(cannot(attempted))?;
    say(settings, &tracker, said)
}

fn complete(
    settings: &Settings,
    id: &UpgradeId,
    wanted: UpgradeCommand,
    if_needed: bool,
) -> Result<(), Failure> {
    let attempted = || format!("complete upgrade {id}");
    let tracker = settings.tracker(id).map_err(cannot(attempted))?;
    if if_needed && tracker.read(|state| state.status == Status::Completed) {
        return say(settings, &tracker, &format!("upgrade {id} is completed already"));
    }
    tracker.submit(wanted).wait().map_err(cannot(attempted))?;
    let said = tracker.journal().read(|state, _| {
        if state.completed_with_failures {
            format!(
                "upgrade {id} is completed with failures, at {}%",
                state.overall_percentage()
            )
        } else {
            format!("upgrade {id} is completed")
        }
    });
    say(settings, &tracker, &said)
}

/// Tells what was done, with the upgrade's summary for scripts.
fn say(settings: &Settings, tracker: &ProgressTracker, said: &str) -> Result<(), Failure> {
    let document = tracker
        .journal()
        .read(|state, head| show::UpgradeDocument::brief(state, head, tracker.now()));
    settings.note_outcome(tracker);
    settings.close(tracker);
    settings.output.result(&document, |_| format!("{said}\n"))
}

fn remove(settings: &Settings, id: &UpgradeId, force: bool) -> Result<(), Failure> {
    let attempted = || format!("remove upgrade {id}");
    let archive = settings.archive().map_err(cannot(attempted))?;
    match archive.upgrade(id).map_err(cannot(attempted)) {
        Ok(view) if !force => {
            if let Some((cause, hint)) = reason_to_keep(&view) {
                return Err(Failure::new(Kind::Refused, attempted(), cause).hint(hint));
            }
        }
        Ok(_) => {}
        // What cannot be read may be removed by who insists.
        Err(failure) if !force => return Err(failure),
        Err(_) => {}
    }
    archive
        .remove_upgrade(id, settings.lock_timeout)
        .map_err(cannot(attempted))?;
    let document = serde_json::json!({"upgrade_id": id, "removed": true});
    settings
        .output
        .result(&document, |_| format!("upgrade {id} is removed\n"))
}

/// Why only who insists may remove it, and what to do instead.
fn reason_to_keep(view: &UpgradeView) -> Option<(String, &'static str)> {
    if let Some(found) = view.recovery.newer_version {
        let cause = format!(
            "its journal has records of format version {found}, which this program can read and not write"
        );
        return Some((cause, "remove it with the program that wrote it, or pass --force"));
    }
    let status = view.progress.status;
    (!has_ended(status)).then(|| {
        let cause = format!("it is {status}, so somebody may still write it");
        (cause, "complete, fail or cancel it first, or pass --force")
    })
}
