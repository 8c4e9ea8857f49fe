//! The evidence of an upgrade, as the Python implementation documents its use, in Rust.

use tracking_facade::{
    ArtifactQuery, ArtifactType, CleanupOptions, NewArtifact, NewCollection, NewSession, RetentionPolicy,
    SessionOutcome, TaskId, Tracking, UpgradeId,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let home = std::env::temp_dir().join(format!("artifacts-{}", std::process::id()));
    std::fs::create_dir_all(&home)?;
    std::fs::write(home.join("kubelet.log"), "node ip-10-0-1-7 is ready\n")?;
    std::fs::write(
        home.join("junit.xml"),
        "<testsuite tests=\"12\" failures=\"0\"/>\n",
    )?;
    let tracking = Tracking::builder()
        .data_dir(home.join("data"))
        .actor("upgrade-agent")
        .upgrade("upgrade-123", "blue-green", "my-cluster")
        .build()
        .await?;
    let manager = tracking.artifacts();

    // create_session, create_collection, add_artifact
    let session = NewSession::new(UpgradeId::new("upgrade-123")?, "my-cluster")
        .with_name("Upgrade tests")
        .with_retention_days(90);
    let session_id = manager.create_session(session).await?.session_id;
    let collection = NewCollection::new("Node logs").with_task(TaskId::new("drain")?);
    let collection_id = manager
        .create_collection(&session_id, collection)
        .await?
        .collection_id;
    let log = NewArtifact::new()
        .with_tags(["kubelet", "node"])
        .with_description("kubelet of ip-10-0-1-7");
    let log = manager
        .add_artifact(&session_id, &collection_id, home.join("kubelet.log"), log)
        .await?;
    let results = NewArtifact::new().with_type(ArtifactType::TestResult);
    manager
        .add_artifact(&session_id, &collection_id, home.join("junit.xml"), results)
        .await?;

    // searches by name, by tag and by type
    let by_name = manager.search_by_name("kubelet*", None).await?;
    assert_eq!(by_name.artifacts[0].artifact_id, log.artifact_id);
    let by_tag = manager
        .search_artifacts(ArtifactQuery::new().with_tag("node"))
        .await?;
    assert_eq!(by_tag.artifacts[0].artifact_id, log.artifact_id);
    let by_type = ArtifactQuery::new()
        .in_session(session_id.clone())
        .with_type(ArtifactType::TestResult);
    let by_type = manager.search_artifacts(by_type).await?;
    assert_eq!(&*by_type.artifacts[0].name, "junit.xml");

    // a copy, verified before it has its name
    let copy = manager
        .download_artifact(&log.artifact_id, home.join("copy.log"))
        .await?;
    assert_eq!(std::fs::read(copy.path)?, b"node ip-10-0-1-7 is ready\n");

    // get_session_summary, complete_session
    let summary = manager.session_summary(&session_id).await?;
    assert_eq!((summary.total_artifacts, summary.total_size_bytes), (2, 63));
    assert_eq!(summary.artifact_types.of(ArtifactType::LogFile), 1);
    manager
        .complete_session(&session_id, Some(SessionOutcome::Succeeded))
        .await?;

    // cleanup_old_artifacts: first what it would delete and why, then for real
    let policy = RetentionPolicy::new().with_retention_days(30);
    let plan = manager.plan_retention(policy.clone()).await?;
    assert!(plan.delete.is_empty());
    assert!(plan.to_string().contains("kept until"));
    let report = manager
        .cleanup_old_artifacts(policy, CleanupOptions::default(), |_| {})
        .await?;
    assert!(report.is_complete() && report.deleted_artifacts == 0);

    assert!(tracking.shutdown().await.is_clean());
    Ok(std::fs::remove_dir_all(home)?)
}
