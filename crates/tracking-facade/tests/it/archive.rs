//! A data directory as those see it who look after it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tracking_facade::{
    Archive, ErrorKind, JournalError, NewSession, NewTask, Salvage, SessionId, SinkSet, StreamId, TaskId,
    TaskType, TrackingError, UpgradeId, blocking::Tracking,
};
use tracking_journal::{CheckpointPolicy, Journal, JournalOptions, MemorySink, Relay, RelayOptions};
use tracking_model::{UpgradeCommand, UpgradeProgress};

fn filled(path: &std::path::Path) -> Archive {
    let tracking = Tracking::builder()
        .data_dir(path)
        .upgrade("u", "p", "c")
        .build()
        .unwrap();
    tracking.progress().start_upgrade("One").unwrap();
    for index in 0..30 {
        let id = TaskId::new(format!("t{index}")).unwrap();
        tracking
            .progress()
            .add_task(NewTask::new(id.clone(), "Task", TaskType::UpgradeStep))
            .unwrap();
        tracking.progress().start_task(&id).unwrap();
    }
    for percent in 0..50 {
        tracking
            .progress()
            .update_task_progress("t0", f64::from(percent), "step")
            .unwrap();
    }
    let session = NewSession::new(UpgradeId::new("u").unwrap(), "c");
    tracking
        .artifacts()
        .create_session_as(SessionId::new("s").unwrap(), session)
        .unwrap();
    assert!(tracking.shutdown().is_clean());
    Archive::open(path).unwrap()
}

#[test]
fn an_export_has_every_event() {
    let temp = tempfile::tempdir().unwrap();
    let archive = filled(temp.path());
    let mut json = Vec::new();
    archive.export(&UpgradeId::new("u").unwrap(), &mut json).unwrap();
    let exported: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(exported["tasks"]["t0"]["events"].as_array().unwrap().len(), 51);
    assert_eq!(exported["tasks"].as_object().unwrap().len(), 30);
}

#[test]
fn damage_is_found_told_and_repaired() {
    let temp = tempfile::tempdir().unwrap();
    let archive = filled(temp.path());
    let stream: StreamId = "upgrade:u".parse().unwrap();
    let clean = archive.verify(&[], None, |_| {}).unwrap();
    assert!(clean.is_clean());
    let head = clean.streams[0].result.as_ref().unwrap().head;
    let found = archive.verify(&[], Some(head.hash), |_| {}).unwrap();
    assert_eq!(found.head_found(), Some((&stream, head.seq)));

    let journal = archive.data_dir().journal_path(&stream);
    let mut bytes = fs::read(&journal).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let report = archive.verify(&[], None, |_| {}).unwrap();
    let damaged = report.streams[0].result.as_ref().unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Refused);
    let TrackingError::Journal(JournalError::Damaged(damage)) = damaged else {
        panic!("{damaged:?}")
    };
    assert!(damage.offset <= at as u64);
    assert!(
        report.streams[1].result.is_ok(),
        "the others are verified all the same"
    );
    let repaired = archive
        .repair(&stream, std::time::Duration::from_secs(5))
        .unwrap();
    assert!(matches!(repaired, Salvage::Repaired(report) if report.kept >= head.seq - 2));
    assert!(archive.verify(&[], None, |_| {}).unwrap().is_clean());
}

#[test]
fn a_checkpoint_that_the_journal_contradicts_is_found() {
    let temp = tempfile::tempdir().unwrap();
    let archive = filled(temp.path());
    let stream: StreamId = "upgrade:u".parse().unwrap();
    let options = JournalOptions::default().with_checkpoint(CheckpointPolicy {
        records_at_close: 1,
        ..CheckpointPolicy::NEVER
    });
    let journal = Journal::<UpgradeProgress>::open(archive.data_dir(), stream.clone(), options).unwrap();
    let phase = UpgradeCommand::SetPhase { phase: "Two".into() };
    journal.submit(phase).wait().unwrap();
    journal.close_blocking();
    let path = archive.data_dir().checkpoint_path(&stream);
    let content = fs::read(&path).unwrap();
    assert!(archive.verify(&[], None, |_| {}).unwrap().is_clean());

    let mut altered = content.clone();
    let at = altered.len() - 5;
    altered[at] ^= 1;
    fs::write(&path, altered).unwrap();
    let report = archive.verify(&[], None, |_| {}).unwrap();
    let wrong = report.streams[0].checkpoint.as_ref().unwrap();
    assert_eq!(wrong.path, path);
    assert!(report.streams[0].result.is_ok() && !report.is_clean());
    fs::remove_file(&path).unwrap();
    assert!(archive.verify(&[], None, |_| {}).unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_relay_has_not_delivered_is_told_and_taken_over_when_it_ends() {
    const LONG: Duration = Duration::from_secs(60);
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().to_owned();
    let archive = tokio::task::spawn_blocking(move || filled(&path)).await.unwrap();
    let stream: StreamId = "upgrade:u".parse().unwrap();
    let sink = Arc::new(MemorySink::new("bus"));
    let sinks = SinkSet::new().with_sink(Arc::clone(&sink) as _);
    let streams = [stream.clone()];
    let relay = || {
        let options = RelayOptions::default().with_seed(Some(7));
        Relay::open(
            archive.data_dir(),
            stream.clone(),
            Arc::clone(&sink) as _,
            options,
        )
    };
    let held = relay().await.unwrap();
    let left_alone = sinks.deliver(&archive, &streams, LONG).await;
    assert_eq!(left_alone.undrained, []);
    let told = sinks
        .deliver_all(&archive, &streams, Duration::from_millis(400))
        .await;
    let reason = told.undrained[0].reason.clone().unwrap();
    assert!(
        reason.starts_with(&format!("process {}", std::process::id())),
        "{reason}"
    );
    assert!(told.undrained[0].records.unwrap() > 0);

    // The other one ends, having delivered nothing.
    let (taken_over, ()) = tokio::join!(sinks.deliver_all(&archive, &streams, LONG), async { drop(held) });
    assert_eq!(taken_over.undrained, []);
    assert_eq!(taken_over.delivered, sink.received().len() as u64);
    // Or it has delivered everything, and goes on.
    let mut other = relay().await.unwrap();
    other.drain(LONG).await.unwrap();
    let nothing_left = sinks.deliver_all(&archive, &streams, LONG).await;
    assert_eq!((nothing_left.undrained, nothing_left.delivered), (Vec::new(), 0));
}
