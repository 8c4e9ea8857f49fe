//! An upgrade agent without async, in a few lines.

use tracking_facade::{CompleteOptions, NewTask, TaskId, TaskType, blocking::Tracking};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = std::env::temp_dir().join(format!("agent-blocking-{}", std::process::id()));
    let tracking = Tracking::builder()
        .data_dir(&data)
        .actor("upgrade-agent")
        .upgrade("prod-1.33", "blue-green", "prod-eu-west-1")
        .build()?;
    let progress = tracking.progress();
    progress.start_upgrade("Provisioning")?;
    progress.add_task(NewTask::new(
        TaskId::new("nodes")?,
        "Create node group",
        TaskType::UpgradeStep,
    ))?;
    progress.update_task_progress("nodes", 50.0, "2 of 4 nodes are ready")?;
    progress.complete_task("nodes")?;
    progress.complete_upgrade(CompleteOptions::default())?;
    assert_eq!(progress.progress_summary().overall_percentage.value(), 100.0);
    assert!(tracking.shutdown().is_clean());
    Ok(std::fs::remove_dir_all(data)?)
}
