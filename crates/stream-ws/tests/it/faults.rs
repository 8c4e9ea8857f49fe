//! Faults of viewers and of the way to them, in numbers.

use std::time::{Duration, Instant};

use stream_ws::protocol::{Position, ServerMessage, Subscribe};
use stream_ws::{Client, ClientEvent, ClientOptions, HubOptions, Limits, QueueLimits, ServerOptions};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracking_journal::{Clock, SystemClock};
use uuid::Uuid;

use crate::hostile::status;
use crate::support::{
    Agent, Choices, PATIENCE, Served, TOKEN, cutting_proxy, data_dir, hub, hub_with, token, told_sequences,
    upgrade_stream, within,
};

fn many() -> Limits {
    Limits {
        connections: 5_000,
        connections_per_address: 5_000,
        ..Limits::default()
    }
}

fn quick() -> ClientOptions {
    ClientOptions::default().with_pauses(Duration::from_millis(1), Duration::from_millis(10))
}

async fn live(url: &str) -> Client {
    let mut client = Client::new(url, quick()).unwrap();
    while !client.is_live() {
        within(client.next()).await.unwrap();
    }
    client
}

/// A viewer that asks for events and never reads one.
async fn deaf(served: &Served) -> TcpStream {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut socket = socket.connect(served.address).await.unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        served.address
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    within(socket.read_u8()).await.unwrap();
    socket
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Milliseconds from the record to the viewer, of each event at each viewer; all of them get all.
async fn delays(agent: &Agent, viewers: &mut [Client], events: u64) -> Vec<f64> {
    let (seq, before) = (agent.seq(), agent.seq());
    let until = seq + events;
    let mut delays = Vec::new();
    // The writer never is so far ahead that a viewer that reads would overflow.
    let ahead = Semaphore::new(viewers.len() * 2);
    let each = u32::try_from(viewers.len()).unwrap();
    let viewers: Vec<_> = viewers.iter_mut().map(|viewer| (viewer, &ahead)).collect();
    let reading = async {
        let all = viewers.into_iter().map(|(viewer, ahead)| async move {
            let mut delays = Vec::new();
            let mut seen = before;
            while seen < until {
                if let ClientEvent::Message(ServerMessage::Progress(event)) =
                    within(viewer.next()).await.unwrap()
                {
                    assert_eq!(event.position.seq, seen + 1);
                    seen = event.position.seq;
                    ahead.add_permits(1);
                    let delay = SystemClock.now().since(event.data.timestamp);
                    delays.push(delay.as_secs_f64() * 1e3);
                }
            }
            delays
        });
        futures_util::future::join_all(all).await
    };
    let message = "x".repeat(200);
    let writing = async {
        for _ in 0..events {
            ahead.acquire_many(each).await.unwrap().forget();
            agent.submit(Agent::report(&message)).await;
        }
    };
    let (read, ()) = tokio::join!(reading, writing);
    delays.extend(read.into_iter().flatten());
    delays.sort_by(f64::total_cmp);
    delays
}

fn p99(sorted: &[f64]) -> f64 {
    sorted[sorted.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_25_viewers_that_never_read_cost_the_others_nothing() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let limits = QueueLimits {
        messages: 256,
        bytes: 128 << 10,
    };
    let hub = hub_with(&dir, HubOptions::default().with_queue(limits));
    let served = Served::start(hub, ServerOptions::default().with_limits(many())).await;
    let mut viewers = Vec::new();
    for _ in 0..10 {
        viewers.push(live(&served.url("")).await);
    }
    let alone = delays(&agent, &mut viewers, 500).await;
    let before = resident();
    let mut sockets = Vec::new();
    for _ in 0..1_000 {
        sockets.push(deaf(&served).await);
    }
    // Until nothing more goes into any socket, and the queues have overflowed.
    while served.hub.stats().dropped < 1_000 * 256 {
        delays(&agent, &mut viewers, 100).await;
    }
    let crowded = delays(&agent, &mut viewers, 500).await;
    let grown = resident().saturating_sub(before);
    let stats = served.hub.stats();
    // What viewers may hold is bounded, whatever else a process needs: queue, buffer, socket and task.
    assert!(grown < 1_000 * (256 << 10), "{grown} bytes for 1000 viewers");
    println!(
        "FAULT row=25 name=deaf-viewers deaf=1000 viewers=10 events={} dropped={} kib_per_deaf_viewer={} \
         p99_ms={:.2} p99_alone_ms={:.2} ratio={:.2}",
        agent.seq(),
        stats.dropped,
        grown / 1_000 / 1_024,
        p99(&crowded),
        p99(&alone),
        p99(&crowded) / p99(&alone)
    );
    drop(sockets);
    for viewer in viewers {
        viewer.close(PATIENCE).await;
    }
    served.stop().await;
}

/// What one viewer that is cut again and again saw.
#[derive(Debug, Default)]
struct Saw {
    begun_at: Option<u64>,
    sequences: Vec<u64>,
    resets: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_26_viewers_that_are_cut_miss_nothing() {
    const VIEWERS: u64 = 20;
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let served = Served::start(hub(&dir), ServerOptions::default().with_limits(many())).await;
    let proxy = cutting_proxy(served.address).await;
    let seed = Choices::seed();
    let mut choices = Choices::new(seed);
    let cuts = Choices::count(1_000);
    let (connected, mut connections) = watch::channel(0_u64);
    let (until, _) = watch::channel(u64::MAX);
    let mut set = JoinSet::new();
    for _ in 0..VIEWERS {
        let url = format!("ws://{}/", proxy.address);
        let (connected, mut until) = (connected.clone(), until.subscribe());
        set.spawn(async move {
            let mut client = Client::new(&url, quick()).unwrap();
            let mut saw = Saw::default();
            while saw.sequences.last().copied().unwrap_or(0) < *until.borrow_and_update() {
                let event = tokio::select! {
                    event = client.next() => event.unwrap(),
                    _ = until.changed() => continue,
                };
                match event {
                    ClientEvent::Connected => connected.send_modify(|count| *count += 1),
                    ClientEvent::Message(ServerMessage::Summary(summary)) => {
                        saw.begun_at.get_or_insert(summary.position.seq);
                    }
                    ClientEvent::Message(ServerMessage::Progress(event)) => {
                        saw.sequences.push(event.position.seq)
                    }
                    ClientEvent::Message(ServerMessage::Reset(_)) => saw.resets += 1,
                    _ => {}
                }
            }
            client.close(PATIENCE).await;
            saw
        });
    }
    within(connections.wait_for(|count| *count >= VIEWERS))
        .await
        .unwrap();
    let mut number = 0;
    while *connections.borrow() < VIEWERS + cuts {
        number += 1;
        let events = choices.below(60);
        agent.reports(0..events).await;
        let before = *connections.borrow_and_update();
        proxy.cut(number);
        agent.reports(0..choices.below(20)).await;
        within(connections.wait_for(|count| *count >= before + VIEWERS))
            .await
            .unwrap();
    }
    agent.reports(0..1).await;
    until.send_replace(agent.seq());
    let told = told_sequences(&dir, "u");
    let (mut seen, mut gaps, mut repeats, mut resets) = (0, 0, 0, 0);
    while let Some(saw) = within(set.join_next()).await {
        let saw = saw.unwrap();
        let begun_at = saw.begun_at.unwrap();
        let expected: Vec<_> = told.iter().copied().filter(|seq| *seq > begun_at).collect();
        let mut sorted = saw.sequences.clone();
        sorted.sort_unstable();
        sorted.dedup();
        repeats += saw.sequences.len() - sorted.len();
        gaps += expected
            .iter()
            .filter(|seq| sorted.binary_search(seq).is_err())
            .count();
        resets += saw.resets;
        seen += saw.sequences.len();
        assert!(saw.sequences.is_sorted());
    }
    assert_eq!((gaps, repeats, resets), (0, 0, 0));
    println!(
        "FAULT row=26 name=cut-viewers viewers={VIEWERS} reconnections={} seed={seed} events={} delivered={seen} gaps=0 \
         repeats=0 resets={resets}",
        *connections.borrow() - VIEWERS,
        told.len()
    );
    served.stop().await;
}

#[tokio::test]
async fn fault_27_a_place_that_cannot_be_gets_a_reset() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let served = Served::start(hub(&dir), ServerOptions::default()).await;
    let epoch = agent.journal.head().epoch;
    let seq = agent.seq();
    let (mut cases, mut resets) = (0, 0);
    let places = [
        (epoch, seq + 1),
        (epoch, u64::MAX),
        (Uuid::from_u128(7), 1),
        (Uuid::from_u128(7), seq),
        (Uuid::from_u128(7), u64::MAX),
        (Uuid::nil(), 1),
    ];
    for (epoch, since) in places {
        let by_url = served.url(&format!("?upgrade=u&epoch={epoch}&since={since}"));
        let subscribe = Subscribe::default().with_since(upgrade_stream("u"), Position { epoch, seq: since });
        let subscribe = stream_ws::protocol::ClientMessage::Subscribe(subscribe);
        for (url, message) in [(by_url, None), (served.url("?upgrade=none"), Some(subscribe))] {
            let mut client = Client::new(&url, quick()).unwrap();
            let mut said = Vec::new();
            while said.len() < 2 {
                match within(client.next()).await.unwrap() {
                    ClientEvent::Connected => {
                        message.iter().for_each(|message| assert!(client.send(message)));
                    }
                    ClientEvent::Message(ServerMessage::Reset(reset)) => {
                        assert_eq!((reset.epoch, reset.seq), (agent.journal.head().epoch, seq));
                        said.push("reset");
                        resets += 1;
                    }
                    ClientEvent::Message(ServerMessage::Summary(_)) => said.push("summary"),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(said, ["reset", "summary"]);
            client.close(PATIENCE).await;
            cases += 1;
        }
    }
    served.stop().await;
    println!(
        "FAULT row=27 name=impossible-places cases={cases} resets={resets} silent={}",
        cases - resets
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_29_strangers_are_refused_and_the_dead_are_reaped() {
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let options = ServerOptions::default()
        .with_token(token())
        .with_hosts(["dash.example.com"])
        .with_origins(["https://dash.example.com"]);
    let served = Served::start(hub(&dir), options).await;
    let address = served.address;
    let own = address.to_string();
    let (good, wrong) = (
        format!("Bearer {TOKEN}"),
        format!("Bearer {}", TOKEN.replace('f', "e")),
    );
    let mut cases = 0;
    for (host, host_is_good) in [
        (own.as_str(), true),
        ("dash.example.com", true),
        ("evil.example.com", false),
        ("", false),
    ] {
        for (origin, origin_is_good) in [
            (None, true),
            (Some("https://dash.example.com"), true),
            (Some("https://evil.example.com"), false),
            (Some("http://localhost:8765"), false),
            (Some("null"), false),
        ] {
            for (authorization, token_is_good) in [(None, true), (Some(&good), true), (Some(&wrong), false)] {
                let mut request = format!(
                    "GET /?upgrade=u HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                );
                request.extend(origin.map(|origin| format!("Origin: {origin}\r\n")));
                request.extend(authorization.map(|header| format!("Authorization: {header}\r\n")));
                request.push_str("\r\n");
                let expected = match (host_is_good && origin_is_good, token_is_good) {
                    (false, _) => 403,
                    (true, false) => 401,
                    (true, true) => 101,
                };
                assert_eq!(
                    status(address, request.as_bytes()).await,
                    Some(expected),
                    "{request}"
                );
                cases += 1;
            }
        }
    }
    let in_url = format!("GET /?token={TOKEN} HTTP/1.1\r\nHost: {own}\r\n\r\n");
    assert_eq!(
        status(address, in_url.as_bytes()).await,
        Some(400),
        "a token has no place in a URL"
    );
    served.stop().await;

    let reaped = reap(&dir).await;
    println!(
        "FAULT row=29 name=strangers cases={} right={} half_open=50 reaped=50 reap_ms={}",
        cases + 1,
        cases + 1,
        reaped.as_millis()
    );
}

/// How long it takes until viewers are noticed to be gone that do not say so.
async fn reap(dir: &tracking_journal::DataDir) -> Duration {
    let limits = Limits {
        ping: Duration::from_millis(500),
        dead: Duration::from_secs(2),
        close: Duration::from_millis(50),
        ..many()
    };
    let served = Served::start(hub(dir), ServerOptions::default().with_limits(limits)).await;
    let proxy = cutting_proxy(served.address).await;
    let mut set = JoinSet::new();
    let (alive, mut all_alive) = watch::channel(0);
    for _ in 0..50 {
        let (url, alive) = (format!("ws://{}/", proxy.address), alive.clone());
        set.spawn(async move {
            let mut client = live(&url).await;
            alive.send_modify(|count| *count += 1);
            // It answers pings as long as they come through.
            loop {
                client.next().await.unwrap();
            }
        });
    }
    within(all_alive.wait_for(|count| *count == 50)).await.unwrap();
    proxy.freeze();
    let begin = Instant::now();
    let mut look = tokio::time::interval(Duration::from_millis(10));
    while served.hub.stats().viewers > 0 {
        assert!(begin.elapsed() < PATIENCE, "the dead are reaped");
        look.tick().await;
    }
    let reaped = begin.elapsed();
    set.shutdown().await;
    served.stop().await;
    reaped
}
