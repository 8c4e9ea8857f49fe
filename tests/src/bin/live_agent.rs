//! The agent that the scenario of live viewers kills: `live-agent DATA_DIR ENDPOINT TASKS` works on the upgrade `up` from
//! where it stands, announces on the bus `ops` at ENDPOINT, and completes the upgrade. It prints `task ID` for each task
//! that is complete, and waits for a line on standard input before the next one.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use scenarios::program::{Error, run_async};
use tracking_facade::eventbridge::EventBridgeBuilder;
use tracking_facade::{CompleteOptions, NewTask, Status, TaskId, TaskType, Tracking};

fn main() -> ExitCode {
    run_async(async |arguments| {
        let [data_dir, endpoint, tasks] = arguments.as_slice() else {
            return Err("usage: live-agent DATA_DIR ENDPOINT TASKS".into());
        };
        work(data_dir, endpoint, tasks.parse()?).await
    })
}

async fn work(data_dir: &str, endpoint: &str, tasks: u32) -> Result<(), Error> {
    let bus = EventBridgeBuilder::new("ops")
        .region("us-east-1")
        .endpoint(endpoint)
        .build()?;
    let tracking = Tracking::builder()
        .data_dir(data_dir)
        .upgrade("up", "plan", "cluster")
        .shutdown_deadline(Duration::from_secs(60))
        .eventbridge(bus)
        .build()
        .await?;
    let progress = tracking.progress();
    progress.ensure_started("Working").await?;
    for number in 0..tasks {
        let id = TaskId::new(format!("task-{number}"))?;
        let new = NewTask::new(id.clone(), format!("Task {number}"), TaskType::UpgradeStep);
        if progress.ensure_task(new).await? == Status::Completed {
            continue;
        }
        progress.update_task_progress(&id, 50.0, "half of it").await?;
        progress.complete_task(&id).await?;
        writeln!(std::io::stdout(), "task {id}")?;
        std::io::stdin().lock().read_line(&mut String::new())?;
    }
    progress.complete_upgrade(CompleteOptions::default()).await?;
    let report = tracking.shutdown().await;
    if report.is_clean() {
        Ok(())
    } else {
        Err(format!("{report:?}").into())
    }
}
