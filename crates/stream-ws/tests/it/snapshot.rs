//! Summaries with all tasks in them, for viewers that show more than numbers.

use std::sync::Arc;

use serde_json::value::RawValue;
use stream_ws::protocol::{Placed, Query, ServerMessage, SummaryMessage};
use stream_ws::{
    Frame, Hub, HubOptions, JournalSummaries, MemorySummaries, QueueLimits, SummarySource, UpgradeView,
    Viewer,
};
use tracking_journal::{Liveness, ManualClock};
use tracking_model::{Timestamp, UpgradeId, UpgradeMirror, UpgradeProgress};

use crate::support::{Agent, data_dir, hub, hub_with, see, told_sequences, within};

async fn begin(hub: &Hub, query: &str) -> (Viewer, Placed<SummaryMessage>) {
    let mut viewer = hub.view(&Query::parse(query).unwrap()).await.unwrap();
    let frames = within(viewer.next()).await.unwrap();
    (viewer, summary(&frames[0]))
}

fn summary(frame: &Frame) -> Placed<SummaryMessage> {
    match ServerMessage::parse(frame.text()).unwrap() {
        ServerMessage::Summary(summary) => *summary,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_asks_for_all_tasks_can_follow_them() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    agent.reports(0..3).await;
    let hub = hub(&dir);
    let (mut viewer, first) = begin(&hub, "upgrade=u&snapshot=1").await;
    let snapshot = first.data.snapshot.unwrap();
    let mut mirror = UpgradeMirror::begin(&snapshot, &first.data.summary, first.position.seq).unwrap();
    let last = |mirror: &UpgradeMirror| {
        let task = mirror.progress().tasks().values().next().unwrap();
        task.events.back().unwrap().message.to_string()
    };
    assert_eq!(last(&mirror), "2");
    agent.reports(3..5).await;
    let mut seen = 0;
    while seen < 2 {
        for frame in within(viewer.next()).await.unwrap() {
            let ServerMessage::Progress(event) = ServerMessage::parse(frame.text()).unwrap() else {
                panic!("{}", frame.text())
            };
            mirror.event(event.position.seq, &event.data);
            seen += 1;
        }
    }
    assert_eq!(last(&mirror), "4");
    assert_eq!(mirror.progress().cluster_name.as_ref(), "prod");
    // What is asked for in between says how it stands, and no more.
    viewer.summarize().await.unwrap();
    let frames = within(viewer.next()).await.unwrap();
    assert_eq!(summary(&frames[0]).data.snapshot, None);
    let (_viewer, other) = begin(&hub, "upgrade=u").await;
    assert_eq!(other.data.snapshot, None);
    hub.close().await;
}

#[tokio::test]
async fn who_comes_at_once_shares_one_message() {
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let hub = hub(&dir);
    let first = async |query: &str| {
        let mut viewer = hub.view(&Query::parse(query).unwrap()).await.unwrap();
        within(viewer.next()).await.unwrap().swap_remove(0)
    };
    let (one, other) = tokio::join!(first("upgrade=u&snapshot=1"), first("upgrade=u&snapshot=1"));
    assert_eq!(one.text().as_ptr(), other.text().as_ptr());
    let without = first("upgrade=u").await;
    assert!(summary(&one).data.snapshot.is_some() && summary(&without).data.snapshot.is_none());
    hub.close().await;
}

#[tokio::test]
async fn a_summary_says_when_it_was_made_by_the_clock_of_the_server() {
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(7)));
    let source = Arc::new(JournalSummaries::with_clock(dir.clone(), clock));
    let hub = Hub::with_source(dir, source, HubOptions::default());
    let (_viewer, first) = begin(&hub, "upgrade=u").await;
    assert_eq!(first.data.made_at, Some(Timestamp::from_micros(7)));
    hub.close().await;
}

#[tokio::test]
async fn a_reset_brings_all_tasks_again_however_many() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    // Far less than a summary has.
    let limits = QueueLimits {
        messages: 10,
        bytes: 1_000,
    };
    let hub = hub_with(&dir, HubOptions::default().with_queue(limits));
    let (mut viewer, _) = begin(&hub, "upgrade=u&snapshot=1").await;
    for n in 0..30 {
        agent.reports(n..n + 1).await;
    }
    hub.settle().await;
    let mut frames = Vec::new();
    while frames.len() < 2 {
        frames.extend(within(viewer.next()).await.unwrap());
    }
    assert!(frames[0].text().contains("overflow"), "{}", frames[0].text());
    let again = summary(&frames[1]);
    assert_eq!(again.position.seq, 34);
    assert!(again.data.snapshot.unwrap().contains("\"message\":\"29\""));
    hub.close().await;
}

#[tokio::test]
async fn a_summary_that_is_asked_for_while_events_are_missing_comes_after_them() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    agent.reports(0..3_000).await;
    let hub = hub(&dir);
    let epoch = agent.journal.head().epoch;
    let query = Query::parse(&format!("upgrade=u&epoch={epoch}&since=1")).unwrap();
    let mut viewer = hub.view(&query).await.unwrap();
    viewer.summarize().await.unwrap();
    let missing = told_sequences(&dir, "u").len() - 1;
    let seen = see(&mut viewer, 1 + missing + 1).await;
    assert_eq!(seen.first().unwrap(), "summary 3004");
    assert!(seen[missing].starts_with("event 3004 "), "{}", seen[missing]);
    assert_eq!(seen.last().unwrap(), "summary 3004");
    hub.close().await;
}

/// Knows how long tasks took.
#[derive(Debug)]
struct Learned(MemorySummaries);

impl SummarySource for Learned {
    fn liveness(&self, upgrade_id: &UpgradeId) -> Option<Liveness> {
        self.0.liveness(upgrade_id)
    }

    fn view(&self, progress: &UpgradeProgress, liveness: Option<Liveness>) -> UpgradeView {
        self.0.view(progress, liveness)
    }

    fn history(&self, upgrade_id: &UpgradeId) -> Option<Box<RawValue>> {
        RawValue::from_string(format!("[\"{upgrade_id}\"]")).ok()
    }
}

#[tokio::test]
async fn what_estimates_are_learned_from_comes_with_the_first_snapshot_alone() {
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let source = Arc::new(Learned(MemorySummaries::default()));
    let hub = Hub::with_source(dir, source, HubOptions::default());
    let (_viewer, first) = begin(&hub, "upgrade=u&snapshot=1").await;
    assert_eq!(first.data.history.as_deref(), Some("[\"u\"]"));
    let (_viewer, plain) = begin(&hub, "upgrade=u").await;
    assert_eq!(plain.data.history, None);
    hub.close().await;
}
