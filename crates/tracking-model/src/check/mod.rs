//! Which commands an upgrade allows in its state, and the events that they cause. Pure.

mod add;
mod task;

use std::sync::Arc;

use self::add::add_tasks;
use self::task::task_action;
use crate::{
    CommandError, Details, Fold, MAX_DETAILS_BYTES, Percent, RecordMeta, Status, Subject, Timestamp,
    TransitionError, UpgradeChange, UpgradeChangeKind, UpgradeCommand, UpgradeCreated, UpgradeEvent,
    UpgradeProgress, check_name, check_text,
};

type Checked = Result<Vec<UpgradeEvent>, CommandError>;

pub(crate) fn check(state: &UpgradeProgress, command: UpgradeCommand, now: Timestamp) -> Checked {
    match command {
        UpgradeCommand::Create {
            plan_id,
            cluster_name,
            metadata,
        } => {
            refuse_existing(state)?;
            check_name("cluster name", &cluster_name)?;
            check_details(&metadata)?;
            let upgrade_id = state.upgrade_id.clone();
            Ok(vec![UpgradeEvent::Created(UpgradeCreated {
                upgrade_id,
                plan_id,
                cluster_name,
                metadata,
            })])
        }
        UpgradeCommand::Import(imported) => {
            refuse_existing(state)?;
            if imported.upgrade_id != state.upgrade_id {
                return Err(CommandError::OtherUpgrade {
                    upgrade_id: imported.upgrade_id,
                    expected: state.upgrade_id.clone(),
                });
            }
            Ok(vec![UpgradeEvent::Imported(imported)])
        }
        UpgradeCommand::All(commands) => check_all(state, commands, now),
        _ if !state.exists() => Err(CommandError::UnknownUpgrade),
        UpgradeCommand::AddTasks(tasks) => add_tasks(state, tasks),
        UpgradeCommand::Task { task_id, action } => task_action(state, &task_id, action, now),
        UpgradeCommand::Start { phase } => start(state, phase),
        UpgradeCommand::SetPhase { phase } => set_phase(state, phase),
        UpgradeCommand::Pause { reason } => pause(state, reason),
        UpgradeCommand::Resume => resume(state),
        UpgradeCommand::Cancel { reason } => cancel(state, reason, now),
        UpgradeCommand::Complete { allow_unfinished } => complete(state, allow_unfinished, now),
        UpgradeCommand::Fail { error } => fail(state, error, now),
    }
}

fn refuse_existing(state: &UpgradeProgress) -> Result<(), CommandError> {
    match &state.plan_id {
        Some(plan_id) => Err(CommandError::UpgradeExists {
            plan_id: plan_id.clone(),
            cluster_name: Arc::clone(&state.cluster_name),
        }),
        None => Ok(()),
    }
}

/// Checks each command against the state that the ones before it lead to.
fn check_all(state: &UpgradeProgress, commands: Vec<UpgradeCommand>, now: Timestamp) -> Checked {
    let mut ahead = state.clone();
    let meta = RecordMeta {
        seq: 0,
        id: uuid::Uuid::nil(),
        at: now,
        actor: Arc::from(""),
    };
    let mut events = Vec::new();
    for command in commands {
        for event in check(&ahead, command, now)? {
            ahead.apply(&meta, &event);
            events.push(event);
        }
    }
    Ok(events)
}

fn check_details(details: &Details) -> Result<(), CommandError> {
    let bytes = details.as_json().len();
    if bytes > MAX_DETAILS_BYTES {
        return Err(CommandError::DetailsTooLarge {
            bytes,
            limit: MAX_DETAILS_BYTES,
        });
    }
    details.read().map_err(|error| CommandError::InvalidDetails {
        reason: error.to_string(),
    })?;
    Ok(())
}

fn check_optional(field: &'static str, text: Option<&Arc<str>>) -> Result<(), CommandError> {
    text.map_or(Ok(()), |text| check_text(field, text).map_err(CommandError::from))
}

fn start(state: &UpgradeProgress, phase: Arc<str>) -> Checked {
    check_name("phase", &phase)?;
    if let (Status::InProgress, Some(at)) = (state.status, state.started_at) {
        return Err(CommandError::AlreadyStarted { at });
    }
    if state.status == Status::Paused {
        return Err(refused(state, Status::InProgress).into());
    }
    let change = UpgradeChange {
        phase: Some(phase),
        ..unchanged(state)
    };
    become_status(state, UpgradeChangeKind::Started, Status::InProgress, change)
}

fn set_phase(state: &UpgradeProgress, phase: Arc<str>) -> Checked {
    check_name("phase", &phase)?;
    if state.status.is_final() {
        return Err(refused(state, state.status).into());
    }
    let change = UpgradeChange {
        phase: Some(phase),
        ..unchanged(state)
    };
    Ok(vec![UpgradeEvent::Upgrade(
        UpgradeChangeKind::PhaseChanged,
        change,
    )])
}

fn pause(state: &UpgradeProgress, reason: Option<Arc<str>>) -> Checked {
    check_optional("reason", reason.as_ref())?;
    let change = UpgradeChange {
        reason,
        ..unchanged(state)
    };
    become_status(state, UpgradeChangeKind::Paused, Status::Paused, change)
}

fn resume(state: &UpgradeProgress) -> Checked {
    if state.status != Status::Paused {
        return Err(refused(state, Status::InProgress).into());
    }
    become_status(
        state,
        UpgradeChangeKind::Resumed,
        Status::InProgress,
        unchanged(state),
    )
}

fn cancel(state: &UpgradeProgress, reason: Option<Arc<str>>, now: Timestamp) -> Checked {
    check_optional("reason", reason.as_ref())?;
    let change = UpgradeChange {
        reason,
        duration: elapsed(state.started_at, now),
        ..unchanged(state)
    };
    become_status(state, UpgradeChangeKind::Cancelled, Status::Cancelled, change)
}

fn fail(state: &UpgradeProgress, error: Arc<str>, now: Timestamp) -> Checked {
    check_text("error", &error)?;
    let change = UpgradeChange {
        error_message: Some(error),
        duration: elapsed(state.started_at, now),
        ..unchanged(state)
    };
    become_status(state, UpgradeChangeKind::Failed, Status::Failed, change)
}

fn complete(state: &UpgradeProgress, allow_unfinished: bool, now: Timestamp) -> Checked {
    if !state.status.can_become(Status::Completed) {
        return Err(refused(state, Status::Completed).into());
    }
    let unfinished: Vec<_> = state
        .unfinished()
        .map(|task| (task.task_id.clone(), task.status))
        .collect();
    if !unfinished.is_empty() && !allow_unfinished {
        return Err(CommandError::Unfinished { unfinished });
    }
    let percentage = if unfinished.is_empty() {
        Percent::FULL
    } else {
        state.overall_percentage()
    };
    let unfinished = unfinished.into_iter().map(|(task_id, _)| task_id).collect();
    let change = UpgradeChange {
        unfinished,
        percentage,
        duration: elapsed(state.started_at, now),
        ..unchanged(state)
    };
    become_status(state, UpgradeChangeKind::Completed, Status::Completed, change)
}

fn become_status(
    state: &UpgradeProgress,
    kind: UpgradeChangeKind,
    status: Status,
    change: UpgradeChange,
) -> Checked {
    if !state.status.can_become(status) {
        return Err(refused(state, status).into());
    }
    Ok(vec![UpgradeEvent::Upgrade(
        kind,
        UpgradeChange { status, ..change },
    )])
}

fn unchanged(state: &UpgradeProgress) -> UpgradeChange {
    UpgradeChange {
        status: state.status,
        percentage: state.overall_percentage(),
        phase: state.current_phase.clone(),
        duration: None,
        error_message: None,
        reason: None,
        unfinished: Vec::new(),
    }
}

const fn refused(state: &UpgradeProgress, to: Status) -> TransitionError {
    TransitionError {
        subject: Subject::Upgrade,
        from: state.status,
        to,
    }
}

fn elapsed(started_at: Option<Timestamp>, now: Timestamp) -> Option<crate::Span> {
    started_at.map(|started| now.since(started))
}
