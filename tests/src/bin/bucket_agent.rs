//! The agent that the scenario of a shared bucket kills: `bucket-agent DATA_DIR UPGRADE SESSION S3_URL` works on an upgrade
//! for as long as it lives, with everything going to the bucket too. It prints `acked ARTIFACT_ID SHA256` for each artifact
//! that is kept.

use std::io::Write;
use std::process::ExitCode;

use tracking_facade::s3::{S3Config, SharedBucket};
use tracking_facade::{
    CollectionId, NewArtifact, NewCollection, NewSession, NewTask, SessionId, TaskId, TaskType, Tracking,
};

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data_dir, upgrade, session, url] = arguments.as_slice() else {
        return fail("usage: bucket-agent DATA_DIR UPGRADE SESSION S3_URL");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let worked = runtime
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(work(data_dir, upgrade, session, url)));
    match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:?}")),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the one place where this program reports its failure"
)]
fn fail(message: &str) -> ExitCode {
    eprintln!("bucket-agent: {message}");
    ExitCode::FAILURE
}

async fn work(data_dir: &str, upgrade: &str, session: &str, url: &str) -> Result<(), Error> {
    let mut config = S3Config::default();
    config.url = Some(url.to_owned());
    let tracking = Tracking::builder()
        .data_dir(data_dir)
        .actor("killed-agent")
        .upgrade(upgrade, "plan", "cluster-b")
        .s3(SharedBucket::new(config)?)
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
