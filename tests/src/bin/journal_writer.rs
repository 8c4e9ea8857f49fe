//! The process that fault tests kill: `journal-writer DATA_DIR NAME COUNT` writes COUNT progress events of task NAME,
//! each one durable before the next, and prints `acked N` after the N-th acknowledgement.
//!
//! It goes on where an earlier run of the same name stopped. When the disk is full it prints `full N`, removes the file
//! `ballast` from the data directory, and goes on.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use scenarios::program::{Error, run};
use scenarios::stream;
use tracking_journal::{DataDir, Journal, JournalError, JournalOptions, SubmitError};
use tracking_model::{
    Details, NewTask, PlanId, TaskAction, TaskId, TaskType, UpgradeCommand, UpgradeProgress,
};

fn main() -> ExitCode {
    run(|arguments| {
        let [data_dir, name, count] = arguments else {
            return Err("usage: journal-writer DATA_DIR NAME COUNT".into());
        };
        write(Path::new(data_dir), name, count.parse()?)
    })
}

fn write(data_dir: &Path, name: &str, count: u64) -> Result<(), Error> {
    let dir = DataDir::open(data_dir)?;
    let journal =
        Journal::<UpgradeProgress>::open(&dir, stream(), JournalOptions::default().with_actor(name))?;
    let task_id = TaskId::new(name)?;
    prepare(&journal, &task_id)?;
    let mut out = std::io::stdout().lock();
    let mut next = written(&journal, &task_id);
    while count == 0 || next < count {
        let action = TaskAction::Progress {
            percentage: 50.0,
            message: format!("{name} {next}").into(),
            details: Details::NONE,
        };
        match journal
            .submit(UpgradeCommand::Task {
                task_id: task_id.clone(),
                action,
            })
            .wait()
        {
            Ok(_) => {
                next += 1;
                writeln!(out, "acked {next}")?;
                out.flush()?;
            }
            Err(SubmitError::Journal(JournalError::DiskFull { .. })) => {
                writeln!(out, "full {next}")?;
                out.flush()?;
                std::fs::remove_file(data_dir.join("ballast"))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    journal.close_blocking();
    Ok(())
}

/// Creates the upgrade and the task where they are missing; another writer may do so at the same time.
fn prepare(journal: &Journal<UpgradeProgress>, task_id: &TaskId) -> Result<(), Error> {
    let create = UpgradeCommand::Create {
        plan_id: PlanId::new("plan")?,
        cluster_name: "cluster".into(),
        metadata: Details::NONE,
    };
    let add = UpgradeCommand::AddTasks(vec![NewTask::new(
        task_id.clone(),
        "writer",
        TaskType::UpgradeStep,
    )]);
    for command in [create, add] {
        match journal.submit(command).wait() {
            Ok(_) | Err(SubmitError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// How many events of the task the journal has: its state keeps the last few and counts the others.
fn written(journal: &Journal<UpgradeProgress>, task_id: &TaskId) -> u64 {
    journal
        .read(|state, _| {
            state.task(task_id).and_then(|task| {
                task.events.iter().rev().find_map(|event| {
                    event
                        .message
                        .rsplit_once(' ')
                        .and_then(|(_, number)| number.parse::<u64>().ok())
                })
            })
        })
        .map_or(0, |last| last + 1)
}
