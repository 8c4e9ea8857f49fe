//! The agent that the scenario of a shared bucket kills: `bucket-agent DATA_DIR UPGRADE SESSION S3_URL` works on an upgrade
//! for as long as it lives, with everything going to the bucket too. It prints `acked ARTIFACT_ID SHA256` for each artifact
//! that is kept.

use std::io::Write;
use std::process::ExitCode;

use scenarios::program::{Error, run_async};
use tracking_facade::s3::{S3Config, SharedBucket};
use tracking_facade::{
    CollectionId, NewArtifact, NewCollection, NewSession, NewTask, SessionId, TaskId, TaskType, Tracking,
};

fn main() -> ExitCode {
    run_async(async |arguments| {
        let [data_dir, upgrade, session, url] = arguments.as_slice() else {
            return Err("usage: bucket-agent DATA_DIR UPGRADE SESSION S3_URL".into());
        };
        work(data_dir, upgrade, session, url).await
    })
}

async fn work(data_dir: &str, upgrade: &str, session: &str, url: &str) -> Result<(), Error> {
    let tracking = Tracking::builder()
        .data_dir(data_dir)
        .actor("killed-agent")
        .upgrade(upgrade, "plan", "cluster-b")
        .s3(SharedBucket::new(S3Config::at(url))?)
        .build()
        .await?;
    tracking.progress().ensure_started("working").await?;
    let task = TaskId::new("work")?;
    let new = NewTask::new(task.clone(), "Work", TaskType::UpgradeStep);
    tracking.progress().ensure_task(new).await?;
    let (session, collection) = (SessionId::new(session)?, CollectionId::new("evidence")?);
    let artifacts = tracking.artifacts();
    let new = NewSession::new(tracking.progress().upgrade_id().clone(), "cluster-b");
    artifacts.ensure_session(session.clone(), new).await?;
    let new = NewCollection::new("Evidence").with_id(collection.clone());
    artifacts.ensure_collection(&session, new).await?;
    for number in 0_u32.. {
        let text = format!("{} line {number}\n", std::process::id()).repeat(200);
        let new = NewArtifact::new().with_name("step.log");
        let artifact = artifacts
            .add_reader(
                &session,
                &collection,
                new,
                std::io::Cursor::new(text.into_bytes()),
                None,
            )
            .await?;
        let hash = artifact
            .file_hash
            .ok_or("an artifact that was added has a hash")?;
        writeln!(std::io::stdout(), "acked {} {hash}", artifact.artifact_id)?;
        let percent = f64::from(number % 100);
        tracking
            .progress()
            .update_task_progress(&task, percent, "working")
            .await?;
    }
    Ok(())
}
