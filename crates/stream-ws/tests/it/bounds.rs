//! Limits on the memory that viewers can make the server use.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stream_ws::protocol::{ClientMessage, ErrorCode, Interest, ServerMessage, Subscribe, TypeFilter};
use stream_ws::{
    Client, ClientEvent, ClientOptions, Frame, Hub, HubError, HubOptions, KeepLimits, ServerOptions, Viewer,
};
use tokio::task::JoinSet;

use crate::support::{Agent, Served, data_dir, hub, hub_with, upgrade_id, within};

/// The codes of the errors that a viewer is sent up to its next pong.
async fn errors_until_pong(viewer: &mut Viewer) -> Vec<ErrorCode> {
    viewer.pong();
    let mut codes = Vec::new();
    loop {
        for frame in within(viewer.next()).await.unwrap() {
            match ServerMessage::parse(Frame::text(&frame)).unwrap() {
                ServerMessage::Error(error) => codes.push(error.code),
                ServerMessage::Pong => return codes,
                _ => {}
            }
        }
    }
}

fn clusters(names: impl IntoIterator<Item = String>) -> Subscribe {
    Subscribe {
        interest: Interest {
            clusters: names.into_iter().collect(),
            ..Interest::default()
        },
        ..Subscribe::default()
    }
}

fn upgrades(count: usize) -> Subscribe {
    let ids = (0..count).map(|number| upgrade_id(&format!("u{number}")));
    Subscribe {
        interest: Interest {
            upgrades: ids.collect(),
            ..Interest::default()
        },
        ..Subscribe::default()
    }
}

const ROUNDS: usize = 2;
const NAMES: usize = 4_000;

fn refusal(result: Result<(), HubError>) -> Option<ErrorCode> {
    match result {
        Ok(()) => None,
        Err(HubError::Refused { code, .. }) => Some(code),
        Err(error) => panic!("{error}"),
    }
}

/// Names of clusters as short as they can be, as many as one message holds.
fn message_of(viewer: usize, round: usize) -> Subscribe {
    clusters((0..NAMES).map(|number| format!("{viewer:x}.{round:x}.{number:x}")))
}

/// Subscribes to new clusters again and again, and tells how that was refused.
async fn insist(url: String, viewer: usize) -> (Client, Vec<ErrorCode>) {
    let mut client = Client::new(&url, ClientOptions::default()).unwrap();
    while !client.is_live() {
        within(client.next()).await.unwrap();
    }
    let mut refused = Vec::new();
    for round in 0..ROUNDS {
        let message = ClientMessage::Subscribe(message_of(viewer, round));
        assert!(
            message.to_text().len() <= 64 << 10,
            "within the limit of a message"
        );
        assert!(client.send(&message) && client.send(&ClientMessage::Ping));
        loop {
            match within(client.next()).await.unwrap() {
                ClientEvent::Message(ServerMessage::Error(error)) => refused.push(error.code),
                ClientEvent::Message(ServerMessage::Pong) => break,
                _ => {}
            }
        }
    }
    (client, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_25_viewers_that_name_ever_more_clusters_do_not_grow_the_server() {
    const VIEWERS: usize = 250;
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let served = Served::start(hub(&dir), ServerOptions::default()).await;
    let limits = HubOptions::default().keep;
    let mut viewers = JoinSet::new();
    for viewer in 0..VIEWERS {
        viewers.spawn(insist(served.url(""), viewer));
    }
    let (mut clients, mut refused, mut most) = (Vec::new(), BTreeMap::<String, usize>::new(), 0);
    while let Some(viewer) = viewers.join_next().await {
        let (client, codes) = viewer.unwrap();
        clients.push(client);
        for code in codes {
            *refused.entry(format!("{code:?}")).or_default() += 1;
        }
        most = most.max(served.hub.stats().names);
    }
    assert!(most <= limits.names as u64, "{most}");
    // Each was refused what is more than a viewer's share, and told so; all together had no more than there is for all.
    assert!(refused["TooMany"] >= 30, "{refused:?}");
    assert!(refused["Busy"] >= 200, "{refused:?}");
    // Names that viewers gave up are available to others.
    drop(clients);
    while served.hub.stats().names > 0 {
        tokio::task::yield_now().await;
    }
    served.stop().await;
    println!(
        "FAULT row=25 name=ever-new-names viewers={VIEWERS} named={} kept_most={most} limit={} refused={}",
        VIEWERS * ROUNDS * NAMES,
        limits.names,
        refused.values().sum::<usize>()
    );
}

#[tokio::test]
async fn streams_are_followed_up_to_a_limit_and_no_longer_than_somebody_watches() {
    let (_folder, dir) = data_dir();
    let mut agents = Vec::new();
    for number in 0..12 {
        agents.push(Agent::start(&dir, &format!("u{number}")).await);
    }
    let keep = KeepLimits {
        streams: 8,
        ..KeepLimits::default()
    };
    let hub: Hub = hub_with(&dir, HubOptions::default().with_keep(keep));
    let mut viewer = hub.viewer();
    assert_eq!(
        refusal(viewer.subscribe(upgrades(12)).await),
        Some(ErrorCode::Busy)
    );
    assert_eq!(hub.stats().streams, 8);
    // One that is refused nothing by name is told all the same, once.
    let mut everything = hub.viewer();
    let all = Subscribe {
        interest: Interest::everything(),
        ..Subscribe::default()
    };
    assert_eq!(refusal(everything.subscribe(all).await), Some(ErrorCode::Busy));
    agents.push(Agent::start(&dir, "later").await);
    agents.push(Agent::start(&dir, "latest").await);
    let mut told = Vec::new();
    while told.is_empty() {
        tokio::task::yield_now().await;
        told = errors_until_pong(&mut everything).await;
    }
    assert_eq!(told, [ErrorCode::Busy]);
    assert_eq!(errors_until_pong(&mut everything).await, []);
    // Nobody watches: the streams are given up, and others can be followed.
    drop((viewer, everything));
    tokio::time::pause();
    while hub.stats().streams > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut viewer = hub.viewer();
    assert_eq!(refusal(viewer.subscribe(upgrades(8)).await), None);
    hub.close().await;
}

#[tokio::test]
async fn types_count_and_names_have_the_length_of_names() {
    let (_folder, dir) = data_dir();
    let keep = KeepLimits {
        names_per_viewer: 100,
        ..KeepLimits::default()
    };
    let hub = hub_with(&dir, HubOptions::default().with_keep(keep));
    let mut viewer = hub.viewer();
    let types = |count: usize| Subscribe {
        types: Some(TypeFilter::new((0..count).map(|number| number.to_string()))),
        ..Subscribe::default()
    };
    assert_eq!(refusal(viewer.subscribe(types(100)).await), None);
    assert_eq!(
        refusal(viewer.subscribe(types(101)).await),
        Some(ErrorCode::TooMany)
    );
    let one = || clusters(["prod".to_owned()]);
    assert_eq!(refusal(viewer.subscribe(one()).await), Some(ErrorCode::TooMany));
    assert_eq!(refusal(viewer.subscribe(types(0)).await), None);
    assert_eq!(refusal(viewer.subscribe(one()).await), None);
    let long = "x".repeat(257);
    for data in [
        format!("{{\"clusters\":[{long:?}]}}"),
        format!("{{\"types\":[{long:?}]}}"),
    ] {
        for kind in ["subscribe", "unsubscribe"] {
            let text = format!("{{\"type\":\"{kind}\",\"data\":{data}}}");
            let is_about_types = data.contains("types");
            assert_eq!(
                ClientMessage::parse(&text).is_err(),
                kind == "subscribe" || !is_about_types
            );
        }
    }
    // An error repeats little of what is wrong.
    viewer.error(ErrorCode::Malformed, "é".repeat(60_000));
    let frames = within(viewer.next()).await.unwrap();
    let texts: BTreeSet<_> = frames.iter().map(|frame| frame.text().len() < 4_096).collect();
    assert_eq!(texts, BTreeSet::from([true]));
    hub.close().await;
}
