//! An upgrade agent in a few lines.

use tracking_facade::{CompleteOptions, NewTask, TaskId, TaskType, Tracking};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = std::env::temp_dir().join(format!("agent-{}", std::process::id()));
    let tracking = Tracking::builder()
        .data_dir(&data)
        .actor("upgrade-agent")
        .upgrade("prod-1.33", "blue-green", "prod-eu-west-1")
        .build()
        .await?;
    let progress = tracking.progress();
    progress.start_upgrade("Provisioning").await?;
    progress
        .add_task(NewTask::new(
            TaskId::new("nodes")?,
            "Create node group",
            TaskType::UpgradeStep,
        ))
        .await?;
    progress
        .update_task_progress("nodes", 50.0, "2 of 4 nodes are ready")
        .await?;
    progress.complete_task("nodes").await?;
    progress.complete_upgrade(CompleteOptions::default()).await?;
    assert_eq!(progress.progress_summary().overall_percentage.value(), 100.0);
    assert!(tracking.shutdown().await.is_clean());
    Ok(std::fs::remove_dir_all(data)?)
}
