//! `ekstrack task`: add, report on and steer tasks.

use std::sync::Arc;

use tracking_facade::{Clock, NewTask, SystemClock, TaskAction, UpgradeCommand};

use crate::args::{KeyValue, TaskAddArgs, TaskCommand as Asked, TaskName};
use crate::commands::show;
use crate::exit::Failure;
use crate::failure::cannot;
use crate::settings::Settings;

pub(crate) fn task(asked: Asked, settings: &Settings) -> Result<(), Failure> {
    match asked {
        Asked::Add(args) => add(settings, args),
        Asked::List { upgrade } => show::tasks(settings, &upgrade),
        Asked::Show { name } => show::task(settings, &name),
        Asked::Start { name, message } => {
            let message = message.map(Arc::from);
            act(
                settings,
                &name,
                "start",
                TaskAction::Start { message },
                "is started",
            )
        }
        Asked::Progress {
            name,
            percentage,
            message,
            detail,
        } => {
            let said = format!("is at {percentage} %");
            let (message, details) = (message.into(), KeyValue::details(&detail)?);
            let action = TaskAction::Progress {
                percentage,
                message,
                details,
            };
            act(settings, &name, "report on", action, &said)
        }
        Asked::Steps { name, steps, step } => {
            let said = format!("has done {} steps", steps.done);
            let action = TaskAction::Steps {
                done: steps.done,
                total: steps.total,
                current_step: step.map(Arc::from),
            };
            act(settings, &name, "report on", action, &said)
        }
        Asked::Heartbeat { name } => act(
            settings,
            &name,
            "send a heartbeat of",
            TaskAction::Heartbeat,
            "is alive",
        ),
        Asked::Wait { name, reason, until } => {
            let said = format!("waits on {reason}");
            let until = until.map(|until| until.at(SystemClock.now()));
            let action = TaskAction::Wait {
                reason: reason.into(),
                until,
            };
            act(settings, &name, "record what is waited for by", action, &said)
        }
        Asked::Complete { name, message } => {
            let message = message.map(Arc::from);
            act(
                settings,
                &name,
                "complete",
                TaskAction::Complete { message },
                "is completed",
            )
        }
        Asked::Fail { name, error } => {
            let error = error.into();
            act(settings, &name, "fail", TaskAction::Fail { error }, "has failed")
        }
        Asked::Retry { name, message } => {
            let message = message.map(Arc::from);
            act(
                settings,
                &name,
                "retry",
                TaskAction::Retry { message },
                "is started again",
            )
        }
        Asked::Pause { name, reason } => {
            let reason = reason.map(Arc::from);
            act(
                settings,
                &name,
                "pause",
                TaskAction::Pause { reason },
                "is paused",
            )
        }
        Asked::Resume { name } => act(settings, &name, "resume", TaskAction::Resume, "goes on"),
        Asked::Cancel { name, reason } => {
            let reason = reason.map(Arc::from);
            act(
                settings,
                &name,
                "cancel",
                TaskAction::Cancel { reason },
                "is cancelled",
            )
        }
    }
}

fn add(settings: &Settings, args: TaskAddArgs) -> Result<(), Failure> {
    let TaskAddArgs {
        id,
        name,
        task_type,
        parent,
        weight,
        steps,
        heartbeat,
    } = args;
    let mut task = NewTask::new(id.task.clone(), name, task_type);
    task.parent_task_id = parent;
    task.weight = weight.unwrap_or(task.weight);
    task.total_steps = steps;
    task.heartbeat_seconds = heartbeat.unwrap_or(task.heartbeat_seconds);
    submit(
        settings,
        &id,
        "add",
        UpgradeCommand::AddTasks(vec![task]),
        "is added",
    )
}

fn act(
    settings: &Settings,
    name: &TaskName,
    verb: &str,
    action: TaskAction,
    said: &str,
) -> Result<(), Failure> {
    let task_id = name.task.clone();
    submit(
        settings,
        name,
        verb,
        UpgradeCommand::Task { task_id, action },
        said,
    )
}

fn submit(
    settings: &Settings,
    name: &TaskName,
    verb: &str,
    command: UpgradeCommand,
    said: &str,
) -> Result<(), Failure> {
    let TaskName { upgrade, task } = name;
    let attempted = || format!("{verb} task {task} of upgrade {upgrade}");
    let tracker = settings.tracker(upgrade).map_err(cannot(attempted))?;
    tracker.submit(command).wait().map_err(cannot(attempted))?;
    let now = tracker.now();
    let document = tracker
        .journal()
        .read(|state, head| show::TaskDocument::new(state, task, head, now));
    settings.close(&tracker);
    settings
        .output
        .result(&document, |_| format!("task {task} {said}\n"))
}
