//! The client: it comes back, continues, and knows when what it shows is stale.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use stream_ws::protocol::{ServerMessage, TypeFilter};
use stream_ws::{Client, ClientError, ClientEvent, ClientOptions, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::{Agent, Keeper, Served, TOKEN, data_dir, hub, token, told_sequences, within};
use crate::support::{cutting_proxy, upgrade_stream};

fn quick() -> ClientOptions {
    ClientOptions::default().with_pauses(Duration::from_millis(1), Duration::from_millis(10))
}

#[tokio::test]
async fn it_continues_where_it_was_after_the_server_was_away() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let keeper = Keeper::open(&dir, "s", "u").await;
    let served = Served::start(hub(&dir), ServerOptions::default()).await;
    let address = served.address;
    let mut client = Client::new(&served.url(""), quick()).unwrap();
    let mut sequences = Vec::new();
    let mut artifacts = Vec::new();
    let mut stale = 0;
    agent.reports(0..10).await;
    keeper.keep("a.log").await;
    let mut served = Some(served);
    // Sees ten events and an artifact, then the server is away for as many, then it comes back.
    while sequences.len() < 20 || artifacts.len() < 2 {
        match within(client.next()).await.unwrap() {
            ClientEvent::Message(ServerMessage::Progress(event)) => sequences.push(event.position.seq),
            ClientEvent::Message(ServerMessage::Artifact(event)) => {
                artifacts.push(event.data.name.to_string())
            }
            ClientEvent::Message(ServerMessage::Summary(summary)) if stale == 0 => {
                // Those before the first summary are not asked for.
                sequences.extend(5..=summary.position.seq);
                if summary.data.sessions.unwrap()["session:s"].seq == 3 {
                    artifacts.push("a.log".to_owned());
                }
            }
            ClientEvent::Stale { .. } => {
                assert!(!client.is_live());
                stale += 1;
            }
            _ => {}
        }
        if stale == 0
            && sequences.len() == 10
            && artifacts.len() == 1
            && let Some(gone) = served.take()
        {
            gone.begin_to_stop();
            loop {
                if let ClientEvent::Stale { .. } = within(client.next()).await.unwrap() {
                    stale += 1;
                    break;
                }
            }
            gone.stop().await;
            agent.reports(10..20).await;
            keeper.keep("b.log").await;
            served = Some(serve_again(&dir, address).await);
        }
    }
    assert!(stale > 0);
    assert_eq!(sequences, (5..25).collect::<Vec<u64>>());
    assert_eq!(artifacts, ["a.log", "b.log"]);
    assert_eq!(client.position(&upgrade_stream("u")).unwrap().seq, 24);
    client.close(Duration::from_secs(5)).await;
    served.unwrap().stop().await;
}

async fn serve_again(dir: &tracking_journal::DataDir, address: SocketAddr) -> Served {
    let listener = TcpListener::bind(address).await.unwrap();
    Served::start_on(vec![listener], hub(dir), ServerOptions::default()).await
}

#[tokio::test]
async fn a_server_that_falls_silent_makes_it_stale() {
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let served = Served::start(hub(&dir), ServerOptions::default()).await;
    let proxy = cutting_proxy(served.address).await;
    let options = quick().with_heartbeat(Duration::from_millis(20), Duration::from_millis(200));
    let mut client = Client::new(&format!("ws://{}/", proxy.address), options).unwrap();
    while !client.is_live() {
        within(client.next()).await.unwrap();
    }
    proxy.freeze();
    let error = loop {
        if let ClientEvent::Stale { error, .. } = within(client.next()).await.unwrap() {
            break error;
        }
    };
    assert!(matches!(error, ClientError::Silent(_)), "{error}");
    assert!(!client.is_live());
    proxy.thaw();
    while !client.is_live() {
        within(client.next()).await.unwrap();
    }
    client.close(Duration::from_secs(5)).await;
    served.stop().await;
}

#[tokio::test]
async fn a_server_that_lives_and_says_nothing_is_none_of_ours() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", other.local_addr().unwrap());
    let mut answer = JoinSet::new();
    answer.spawn(async move {
        let (socket, _) = other.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(socket).await.unwrap();
        // Pings are answered by the library.
        while let Some(Ok(_)) = socket.next().await {}
    });
    let options = quick().with_heartbeat(Duration::from_millis(20), Duration::from_millis(200));
    let mut client = Client::new(&url, options).unwrap();
    let error = loop {
        match within(client.next()).await.unwrap() {
            ClientEvent::Connected => {}
            ClientEvent::Stale { error, .. } => break error,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(error, ClientError::Silent(_)), "{error}");
    drop(client);
    within(answer.join_next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_without_the_token_learns_it_from_the_handshake() {
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let served = Served::start(hub(&dir), ServerOptions::default().with_token(token())).await;
    let mut client = Client::new(&served.url(""), quick()).unwrap();
    let error = within(client.next()).await.unwrap_err();
    assert!(matches!(error, ClientError::NeedsToken), "{error}");
    assert!(!error.is_passing());
    served.stop().await;
}

#[tokio::test]
async fn what_cannot_be_helped_by_trying_again_is_an_error() {
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let served = Served::start(hub(&dir), ServerOptions::default().with_token(token())).await;
    let wrong = TOKEN.replace('f', "e").parse().unwrap();
    let mut client = Client::new(&served.url(""), quick().with_token(wrong)).unwrap();
    let error = within(client.next()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server refuses with HTTP status 401: the token is wrong"
    );

    let mut client = Client::new(&served.url("?upgrade=nobody"), quick().with_token(token())).unwrap();
    let error = loop {
        match within(client.next()).await {
            Ok(ClientEvent::Stale { error, .. }) => panic!("{error}"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(
        error.to_string(),
        "the server hung up (1008): there is no upgrade:nobody"
    );
    served.stop().await;

    // Something else answers.
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", other.local_addr().unwrap());
    let mut answer = JoinSet::new();
    answer.spawn(async move {
        let (mut socket, _) = other.accept().await.unwrap();
        let mut request = [0; 1024];
        assert!(socket.read(&mut request).await.unwrap() > 0);
        socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
    });
    let mut client = Client::new(&url, quick()).unwrap();
    let error = within(client.next()).await.unwrap_err();
    assert!(matches!(error, ClientError::Handshake { .. }), "{error}");
    answer.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn types_are_chosen_before_anything_else() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let served = Served::start(hub(&dir), ServerOptions::default()).await;
    let mut options = quick();
    options.types = TypeFilter::new(["upgrade.paused"]);
    let mut client = Client::new(&served.url(""), options).unwrap();
    while !client.is_live() {
        within(client.next()).await.unwrap();
    }
    // The server answers in order, so once this is answered the choice was made.
    client.send(&stream_ws::protocol::ClientMessage::Ping);
    loop {
        if let ClientEvent::Message(ServerMessage::Pong) = within(client.next()).await.unwrap() {
            break;
        }
    }
    agent.reports(0..5).await;
    agent
        .submit(tracking_model::UpgradeCommand::Pause { reason: None })
        .await;
    let ClientEvent::Message(ServerMessage::Progress(event)) = within(client.next()).await.unwrap() else {
        panic!("an event")
    };
    assert_eq!(event.position.seq, *told_sequences(&dir, "u").last().unwrap());
    client.close(Duration::from_secs(5)).await;
    served.stop().await;
}
