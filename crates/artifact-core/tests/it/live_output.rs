//! Output that is kept while it comes exists nowhere else, so it is not thrown away.

use std::fs;
use std::io::Write;

use artifact_core::{ArtifactError, ArtifactWriter, TestArtifactsManager, VerifyScope};
use tracking_model::{NewArtifact, SessionCommandError};

use crate::support::{Fixture, open};

/// A writer that has written something and is not finished.
async fn write(fixture: &Fixture) -> ArtifactWriter {
    let new = NewArtifact::new().with_name("out.log");
    let begin = fixture
        .manager
        .begin_artifact(&fixture.session, &fixture.collection, new);
    let mut writer = begin.await.unwrap();
    writer.write_all(b"the last words").unwrap();
    writer
}

/// It is recovered where its writer died.
#[tokio::test]
async fn fault_13_live_output_outlives_its_writer() {
    let fixture = Fixture::new().await;
    let writer = write(&fixture).await;
    let incoming = fixture.dir.path().join("data/artifacts/s/.incoming");
    let live = fs::read_dir(&incoming).unwrap().next().unwrap().unwrap().path();
    // A writer that lives keeps its file, whoever else adds.
    let other = open(&fixture.dir);
    let source = fixture.source("x.log", b"x");
    let add = |manager: TestArtifactsManager| {
        let (session, collection) = (fixture.session.clone(), fixture.collection.clone());
        let source = source.clone();
        async move {
            manager
                .add_artifact(&session, &collection, source, NewArtifact::new())
                .await
                .unwrap()
        }
    };
    add(other).await;
    assert!(live.exists());
    // A copy under the same kind of name, which no one has locked, is what the writer's death would leave.
    fs::copy(&live, live.with_file_name("live~c~dead")).unwrap();
    writer.finish().await.unwrap();
    let manager = open(&fixture.dir);
    add(manager.clone()).await;
    let found = manager
        .search_by_name("interrupted-output.log", None)
        .await
        .unwrap();
    assert_eq!(found.artifacts.len(), 1);
    assert_eq!(found.artifacts[0].file_size, Some(14));
    assert!(fs::read_dir(&incoming).unwrap().next().is_none());
    let report = manager.verify_artifacts(VerifyScope::All, |_| {}).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    println!("FAULT row=13 name=live_output recovered=1 lost=0");
}

/// It stays where it could not get its name.
#[tokio::test]
async fn fault_13_live_output_that_cannot_be_named_is_recovered() {
    let fixture = Fixture::new().await;
    let writer = write(&fixture).await;
    let directory = fixture.dir.path().join("data/artifacts/s/c");
    fs::remove_dir(&directory).unwrap();
    assert!(writer.finish().await.is_err());
    let recovered = open(&fixture.dir)
        .recover_interrupted(Some(&fixture.session))
        .await
        .unwrap();
    let bytes = fs::read(directory.join("interrupted-output.log")).unwrap();
    let lost = usize::from(bytes != b"the last words");
    println!(
        "FAULT row=13 name=live_output_without_a_name recovered={} lost={lost}",
        recovered.len()
    );
    assert_eq!((recovered.len(), lost), (1, 0));
    let incoming = fixture.dir.path().join("data/artifacts/s/.incoming");
    assert_eq!(fs::read_dir(incoming).unwrap().count(), 0);
}

/// It stays where its session was completed meanwhile.
#[tokio::test]
async fn live_output_without_a_record_stays_on_disk() {
    let fixture = Fixture::new().await;
    let writer = write(&fixture).await;
    let completed = open(&fixture.dir).complete_session(&fixture.session, None).await;
    completed.unwrap();
    let Err(ArtifactError::Unrecorded { path, source }) = writer.finish().await else {
        panic!("a session that was completed takes no more records");
    };
    assert!(
        matches!(
            *source,
            ArtifactError::Refused(SessionCommandError::SessionCompleted { .. })
        ),
        "{source:?}"
    );
    let stored = fixture.dir.path().join("data").join(&*path);
    assert_eq!(fs::read(stored).unwrap(), b"the last words");
    let report = fixture
        .manager
        .verify_artifacts(VerifyScope::All, |_| {})
        .await
        .unwrap();
    assert!(
        report.findings.len() == 1 && report.findings[0].is_extra(),
        "{report:?}"
    );
}
