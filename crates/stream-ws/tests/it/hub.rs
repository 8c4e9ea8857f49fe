//! The hub alone.

use std::time::Duration;

use stream_ws::protocol::{ClientMessage, Interest, Position, Query, Subscribe, TypeFilter};
use stream_ws::{HubError, HubOptions, QueueLimits};
use tracking_model::{StreamId, UpgradeCommand};
use uuid::Uuid;

use crate::support::{
    Agent, Keeper, brief, data_dir, hub, hub_with, see, told_sequences, upgrade_id, upgrade_stream, within,
};

fn query(text: &str) -> Query {
    Query::parse(text).unwrap()
}

#[tokio::test]
async fn a_viewer_gets_a_summary_and_then_what_happens() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let hub = hub(&dir);
    let mut viewer = hub.view(&query("upgrade=u")).await.unwrap();
    assert_eq!(see(&mut viewer, 1).await, ["summary 4"]);
    agent.reports(0..2).await;
    assert_eq!(see(&mut viewer, 2).await, ["event 5 0", "event 6 1"]);
    drop(viewer);
    assert_eq!(hub.stats().viewers, 0);
    hub.close().await;
}

#[tokio::test]
async fn who_names_no_upgrade_gets_the_one_that_started_last_and_is_not_finished() {
    let (_folder, dir) = data_dir();
    let hub = hub(&dir);
    let error = hub.view(&query("")).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no upgrade yet");
    let first = Agent::start(&dir, "a").await;
    let second = Agent::start(&dir, "b").await;
    let which = async || {
        let mut viewer = hub.view(&query("")).await.unwrap();
        let frames = within(viewer.next()).await.unwrap();
        assert!(brief(frames[0].text()).starts_with("summary"));
        frames[0].text().contains("\"upgrade_id\":\"a\"")
    };
    let end = UpgradeCommand::Complete {
        allow_unfinished: true,
    };
    assert!(!which().await, "b started last");
    second.submit(end.clone()).await;
    assert!(which().await, "b is finished");
    first.submit(end).await;
    assert!(which().await, "both are, and a ended last");
    hub.close().await;
}

#[tokio::test]
async fn who_was_away_gets_what_it_lacks_once_and_then_what_happens() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    agent.reports(0..5_000).await;
    let hub = hub(&dir);
    let epoch = agent.journal.head().epoch;
    for since in [0, 3, 4_000, 5_004] {
        let text = format!("upgrade=u&epoch={epoch}&since={since}");
        let mut viewer = hub.view(&query(&text)).await.unwrap();
        let until = agent.seq();
        let lacks: Vec<_> = told_sequences(&dir, "u")
            .into_iter()
            .filter(|seq| *seq > since)
            .collect();
        let mut seen = see(&mut viewer, 1 + lacks.len()).await.into_iter();
        assert_eq!(seen.next().unwrap(), format!("summary {until}"));
        for (seen, seq) in seen.zip(lacks) {
            assert!(seen.starts_with(&format!("event {seq} ")), "{seen}");
        }
        agent.reports(0..1).await;
        assert_eq!(see(&mut viewer, 1).await, [format!("event {} 0", until + 1)]);
    }
    hub.close().await;
}

#[tokio::test]
async fn what_happens_while_a_viewer_catches_up_is_not_lost() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    agent.reports(0..3_000).await;
    // A queue so small that what comes live in the meantime would overflow it.
    let limits = QueueLimits {
        messages: 10,
        bytes: 10_000,
    };
    let hub = hub_with(&dir, HubOptions::default().with_queue(limits));
    let epoch = agent.journal.head().epoch;
    let mut viewer = hub
        .view(&query(&format!("upgrade=u&epoch={epoch}&since=1")))
        .await
        .unwrap();
    agent.reports(3_000..6_000).await;
    let seen = see(&mut viewer, 1 + 6_003).await;
    assert!(seen[0].starts_with("summary"));
    let sequences: Vec<_> = seen[1..]
        .iter()
        .map(|seen| seen.split(' ').nth(1).unwrap().to_owned())
        .collect();
    let expected: Vec<_> = (2..=6_004_u64).map(|seq| seq.to_string()).collect();
    assert_eq!(sequences, expected);
    assert_eq!(hub.stats().resets, 0);
    hub.close().await;
}

#[tokio::test]
async fn who_does_not_keep_up_is_told_and_begins_anew() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let limits = QueueLimits {
        messages: 10,
        bytes: 1 << 20,
    };
    let hub = hub_with(&dir, HubOptions::default().with_queue(limits));
    let mut slow = hub.view(&query("upgrade=u")).await.unwrap();
    let mut quick = hub.view(&query("upgrade=u")).await.unwrap();
    see(&mut slow, 1).await;
    see(&mut quick, 1).await;
    for n in 0..30 {
        agent.reports(n..n + 1).await;
        see(&mut quick, 1).await;
    }
    assert_eq!(see(&mut slow, 2).await, ["reset overflow", "summary 34"]);
    agent.reports(30..31).await;
    assert_eq!(see(&mut slow, 1).await, ["event 35 30"]);
    assert!(hub.stats().dropped >= 11);
    assert_eq!(hub.stats().resets, 1);
    hub.close().await;
}

#[tokio::test]
async fn a_place_that_cannot_be_is_answered_by_a_reset() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let hub = hub(&dir);
    let epoch = agent.journal.head().epoch;
    let (epoch, other) = (epoch.to_string(), Uuid::from_u128(7).to_string());
    for (epoch, since, reason) in [
        (&*epoch, 5, "future"),
        (&*other, 2, "epoch"),
        ("what-somebody-kept", 2, "epoch"),
        ("", 2, "epoch"),
    ] {
        let text = format!("upgrade=u&epoch={epoch}&since={since}");
        let mut viewer = hub.view(&query(&text)).await.unwrap();
        assert_eq!(
            see(&mut viewer, 2).await,
            [format!("reset {reason}"), "summary 4".to_owned()]
        );
    }
    let text =
        r#"{"type":"subscribe","data":{"since":{"upgrade:u":{"epoch":"what-somebody-kept","seq":2}}}}"#;
    let Ok(ClientMessage::Subscribe(subscribe)) = ClientMessage::parse(text) else {
        panic!("a subscription")
    };
    let mut viewer = hub.viewer();
    viewer.subscribe(subscribe).await.unwrap();
    assert_eq!(see(&mut viewer, 2).await, ["reset epoch", "summary 4"]);
    hub.close().await;
}

#[tokio::test]
async fn artifacts_of_the_upgrade_are_shown_also_of_sessions_that_come_later() {
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let keeper = Keeper::open(&dir, "s1", "u").await;
    keeper.keep("old.log").await;
    let _other = Keeper::open(&dir, "s-other", "v").await;
    let hub = hub(&dir);
    let mut viewer = hub.view(&query("upgrade=u")).await.unwrap();
    let frames = within(viewer.next()).await.unwrap();
    assert!(
        frames[0].text().contains("\"sessions\":{\"session:s1\""),
        "{}",
        frames[0].text()
    );
    keeper.keep("a.log").await;
    assert_eq!(see(&mut viewer, 1).await, ["artifact 4 a.log"]);
    let later = Keeper::open(&dir, "s2", "u").await;
    later.keep("b.log").await;
    assert_eq!(see(&mut viewer, 1).await, ["artifact 3 b.log"]);
    // Whoever comes back with both places and without: what it lacks is sent, and what it knows is not.
    let place = |keeper: &Keeper, seq| format!("{}@{seq}", keeper.journal.head().epoch);
    let text = format!("upgrade=u&sessions=s1@{}", place(&keeper, 3));
    let mut back = hub.view(&query(&text)).await.unwrap();
    let mut seen = see(&mut back, 3).await;
    seen.sort();
    assert_eq!(seen, ["artifact 3 b.log", "artifact 4 a.log", "summary 4"]);
    hub.close().await;
}

#[tokio::test]
async fn all_upgrades_and_those_of_a_cluster_are_watched_as_they_come() {
    let (_folder, dir) = data_dir();
    let first = Agent::start_in(&dir, "a", "prod").await;
    let hub = hub(&dir);
    let mut everything = hub.viewer();
    let mut prod = hub.viewer();
    everything
        .subscribe(Subscribe {
            interest: Interest::everything(),
            ..Subscribe::default()
        })
        .await
        .unwrap();
    let cluster = Interest {
        clusters: ["prod".to_owned()].into(),
        ..Interest::default()
    };
    prod.subscribe(Subscribe {
        interest: cluster,
        ..Subscribe::default()
    })
    .await
    .unwrap();
    assert_eq!(see(&mut everything, 1).await, ["summary 4"]);
    assert_eq!(see(&mut prod, 1).await, ["summary 4"]);
    // Of what is new also what happened before it was found is told.
    let whole = |cluster: &str| {
        vec![
            "summary 4".to_owned(),
            format!("event 1 Upgrade created for plan plan and cluster {cluster}"),
            "event 2 Task added".to_owned(),
            "event 3 Upgrade started: Nodes".to_owned(),
            "event 4 Task started".to_owned(),
        ]
    };
    let test = Agent::start_in(&dir, "b", "test").await;
    assert_eq!(see(&mut everything, 5).await, whole("test"));
    test.reports(0..1).await;
    assert_eq!(see(&mut everything, 1).await, ["event 5 0"]);
    let second = Agent::start_in(&dir, "c", "prod").await;
    assert_eq!(see(&mut everything, 5).await, whole("prod"));
    assert_eq!(
        see(&mut prod, 5).await,
        whole("prod"),
        "nothing of the other cluster"
    );
    second.reports(1..2).await;
    assert_eq!(see(&mut prod, 1).await, ["event 5 1"]);
    prod.unsubscribe(&Interest::everything());
    first.reports(2..3).await;
    prod.pong();
    assert_eq!(see(&mut prod, 1).await, ["pong"]);
    hub.close().await;
}

#[tokio::test]
async fn types_are_chosen_also_for_what_was_missed() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    agent.reports(0..10).await;
    let hub = hub(&dir);
    let mut viewer = hub.viewer();
    let subscribe = Subscribe {
        types: Some(TypeFilter::new(["upgrade.*"])),
        ..Subscribe::default()
    };
    let since = Position {
        epoch: agent.journal.head().epoch,
        seq: 1,
    };
    viewer
        .subscribe(subscribe.with_since(upgrade_stream("u"), since))
        .await
        .unwrap();
    assert_eq!(
        see(&mut viewer, 2).await,
        ["summary 14", "event 3 Upgrade started: Nodes"]
    );
    agent.reports(10..20).await;
    agent.submit(UpgradeCommand::Pause { reason: None }).await;
    assert_eq!(see(&mut viewer, 1).await, ["event 25 Upgrade paused"]);
    hub.close().await;
}

#[tokio::test]
async fn what_does_not_exist_is_said_and_the_rest_is_watched() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let hub = hub(&dir);
    let error = hub.view(&query("upgrade=nobody")).await.unwrap_err();
    assert!(matches!(error, HubError::Refused { .. }));
    assert_eq!(error.to_string(), "there is no upgrade:nobody");
    let mut viewer = hub.viewer();
    let mut interest = Interest::upgrade(upgrade_id("u"));
    interest.add(Interest::upgrade(upgrade_id("nobody")));
    let subscribe = Subscribe {
        interest,
        ..Subscribe::default()
    };
    assert!(viewer.subscribe(subscribe).await.is_err());
    assert_eq!(see(&mut viewer, 1).await, ["summary 4"]);
    agent.reports(0..1).await;
    assert_eq!(see(&mut viewer, 1).await, ["event 5 0"]);
    hub.close().await;
}

#[tokio::test]
async fn a_journal_that_is_removed_and_comes_again_is_told() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    agent.reports(0..5).await;
    agent.journal.close_blocking();
    let hub = hub(&dir);
    let mut viewer = hub.view(&query("upgrade=u")).await.unwrap();
    see(&mut viewer, 1).await;
    tracking_journal::remove(&dir, &upgrade_stream("u"), Duration::from_secs(5)).unwrap();
    assert_eq!(see(&mut viewer, 1).await, ["error removed"]);
    let _again = Agent::start(&dir, "u").await;
    assert_eq!(see(&mut viewer, 2).await, ["reset replaced", "summary 4"]);
    hub.close().await;
}

#[tokio::test]
async fn a_summary_says_where_sessions_stand_and_who_is_at_work() {
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let hub = stream_ws::Hub::new(dir.clone());
    let mut viewer = hub.view(&query("upgrade=u")).await.unwrap();
    let frames = within(viewer.next()).await.unwrap();
    let json: serde_json::Value = serde_json::from_str(frames[0].text()).unwrap();
    let keys: Vec<_> = [
        "stream",
        "epoch",
        "seq",
        "head",
        "upgrade_id",
        "overall_percentage",
        "agent",
        "sessions",
    ]
    .into_iter()
    .filter(|key| json["data"].get(key).is_none())
    .collect();
    assert_eq!(keys, Vec::<&str>::new(), "{json:#}");
    assert_eq!(
        json["data"]["stream"],
        StreamId::Upgrade(upgrade_id("u")).to_string()
    );
    viewer.summarize().await.unwrap();
    assert_eq!(see(&mut viewer, 1).await, ["summary 4"]);
    hub.close().await;
}
