//! The server through sockets, with the client of this crate.

use std::time::Duration;

use stream_ws::protocol::{ClientMessage, ErrorCode, Interest, ServerMessage, Subscribe};
use stream_ws::{
    Client, ClientError, ClientEvent, ClientOptions, Limits, Roots, ServeError, ServerOptions, TlsError,
    TlsIdentity, TlsProblem, bind, serve,
};
use tokio_util::sync::CancellationToken;

use crate::support::{Agent, Served, data_dir, hub, token, upgrade_id, upgrade_stream, within};

/// The next message.
async fn message(client: &mut Client) -> ServerMessage {
    loop {
        match within(client.next()).await.unwrap() {
            ClientEvent::Message(message) => return message,
            ClientEvent::Connected => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn refusal(mut client: Client) -> ClientError {
    loop {
        match within(client.next()).await {
            Ok(ClientEvent::Stale { error, .. }) | Err(error) => return error,
            Ok(_) => {}
        }
    }
}

#[tokio::test]
async fn a_client_sees_a_summary_and_then_what_happens() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    let served = Served::start(hub(&dir), ServerOptions::default()).await;
    let mut client = Client::new(&served.url(""), ClientOptions::default()).unwrap();
    assert!(!client.is_live());
    let ServerMessage::Summary(summary) = message(&mut client).await else {
        panic!("a summary comes first")
    };
    assert_eq!(summary.data.summary.upgrade_id, upgrade_id("u"));
    assert!(client.is_live());
    agent.reports(0..3).await;
    for n in 0..3 {
        let ServerMessage::Progress(event) = message(&mut client).await else {
            panic!("an event")
        };
        assert_eq!(
            (event.position.seq, &*event.data.message),
            (5 + n, &*n.to_string())
        );
    }
    client.send(&ClientMessage::Ping);
    assert_eq!(message(&mut client).await, ServerMessage::Pong);
    client.send(&ClientMessage::Subscribe(Subscribe {
        interest: Interest::upgrade(upgrade_id("nobody")),
        ..Subscribe::default()
    }));
    assert!(matches!(message(&mut client).await, ServerMessage::Error(_)));
    client.close(Duration::from_secs(5)).await;
    let report = served.stop().await;
    assert_eq!((report.accepted, report.viewers, report.cut_off), (1, 0, 0));
}

#[tokio::test]
async fn a_server_that_stops_says_so_and_ends_in_time() {
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let limits = Limits {
        shutdown: Duration::from_millis(300),
        ..Limits::default()
    };
    let served = Served::start(hub(&dir), ServerOptions::default().with_limits(limits)).await;
    let mut polite = Client::new(&served.url(""), ClientOptions::default()).unwrap();
    let mut deaf = Client::new(&served.url(""), ClientOptions::default()).unwrap();
    message(&mut polite).await;
    message(&mut deaf).await;
    // One that has connected and asks for nothing.
    let _silent = tokio::net::TcpStream::connect(served.address).await.unwrap();
    served.begin_to_stop();
    let error = refusal(polite).await;
    assert!(matches!(error, ClientError::Closed { code: 1001, .. }), "{error}");
    assert!(error.is_passing(), "it may come back");
    let report = within(served.stop()).await;
    assert_eq!((report.viewers, report.cut_off), (2, 1));
    drop(deaf);
}

#[tokio::test]
async fn too_many_viewers_are_told_to_come_back_later() {
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    for (connections, connections_per_address) in [(1, 10), (10, 1)] {
        let limits = Limits {
            connections,
            connections_per_address,
            ..Limits::default()
        };
        let served = Served::start(hub(&dir), ServerOptions::default().with_limits(limits)).await;
        let mut first = Client::new(&served.url(""), ClientOptions::default()).unwrap();
        message(&mut first).await;
        let mut second = Client::new(&served.url(""), ClientOptions::default()).unwrap();
        assert!(matches!(message(&mut second).await, ServerMessage::Error(_)));
        let error = refusal(second).await;
        assert!(matches!(error, ClientError::Closed { code: 1013, .. }), "{error}");
        first.close(Duration::from_secs(5)).await;
        served.stop().await;
    }
}

#[tokio::test]
async fn tls_is_spoken_and_certificates_are_checked() {
    let (folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let issued = |name: &str| {
        let pair =
            rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (
            folder.path().join(format!("{name}.pem")),
            folder.path().join(format!("{name}.key")),
        );
        std::fs::write(&certificate, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        (certificate, key)
    };
    let ((certificate, key), (other, other_key)) = (issued("a"), issued("b"));

    let mismatch = TlsIdentity::from_pem_files(&certificate, &other_key).unwrap_err();
    assert!(matches!(mismatch, TlsError::Mismatch { .. }), "{mismatch}");
    let no_certificate = TlsIdentity::from_pem_files(&key, &key).unwrap_err();
    assert!(
        matches!(no_certificate, TlsError::NoCertificate { .. }),
        "{no_certificate}"
    );
    let no_key = TlsIdentity::from_pem_files(&certificate, &certificate).unwrap_err();
    assert!(matches!(no_key, TlsError::Read { .. }), "{no_key}");
    let missing = TlsIdentity::from_pem_files(&folder.path().join("none"), &key).unwrap_err();
    assert!(matches!(missing, TlsError::Read { .. }), "{missing}");

    let identity = TlsIdentity::from_pem_files(&certificate, &key).unwrap();
    let options = ServerOptions::default().with_tls(identity).with_token(token());
    let served = Served::start(hub(&dir), options).await;
    let url = format!("wss://{}/", served.address);
    let trusting = |path: &std::path::Path| {
        ClientOptions::default()
            .with_token(token())
            .with_roots(Roots::from_pem_file(path).unwrap())
    };
    let mut client = Client::new(&url, trusting(&certificate)).unwrap();
    assert!(matches!(message(&mut client).await, ServerMessage::Summary(_)));
    client.close(Duration::from_secs(5)).await;
    let error = refusal(Client::new(&url, trusting(&other)).unwrap()).await;
    assert_eq!(tls_problem(&error), TlsProblem::UnknownAuthority, "{error}");
    let plain = Client::new(&served.url(""), ClientOptions::default().with_token(token())).unwrap();
    let error = refusal(plain).await;
    assert!(matches!(error, ClientError::NeedsTls), "{error}");
    served.stop().await;

    let plain = Served::start(hub(&dir), ServerOptions::default()).await;
    let url = format!("wss://{}/", plain.address);
    let error = refusal(Client::new(&url, trusting(&certificate)).unwrap()).await;
    assert_eq!(tls_problem(&error), TlsProblem::PlainServer, "{error}");
    plain.stop().await;
}

fn tls_problem(error: &ClientError) -> TlsProblem {
    match error {
        ClientError::Tls { problem, .. } => *problem,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn one_that_is_trusted_and_has_the_same_name_signed_nothing() {
    let (folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let issued = |name: &str, kind| {
        let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let signing = rcgen::KeyPair::generate_for(kind).unwrap();
        let (certificate, key) = (
            folder.path().join(name),
            folder.path().join(format!("{name}.key")),
        );
        std::fs::write(&certificate, params.self_signed(&signing).unwrap().pem()).unwrap();
        std::fs::write(&key, signing.serialize_pem()).unwrap();
        (certificate, key)
    };
    let (certificate, key) = issued("server", &rcgen::PKCS_ED25519);
    let identity = TlsIdentity::from_pem_files(&certificate, &key).unwrap();
    let served = Served::start(hub(&dir), ServerOptions::default().with_tls(identity)).await;
    for kind in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256] {
        let (other, _) = issued("other", kind);
        let options = ClientOptions::default().with_roots(Roots::from_pem_file(&other).unwrap());
        let client = Client::new(&format!("wss://{}/", served.address), options).unwrap();
        let error = refusal(client).await;
        assert_eq!(tls_problem(&error), TlsProblem::UnknownAuthority, "{error}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_certificate_for_another_name_or_another_time_is_told_apart() {
    let (folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    for (name, until, problem) in [
        ("other.example", 4096, TlsProblem::WrongName),
        ("127.0.0.1", 2000, TlsProblem::Expired),
        ("127.0.0.1", 4096, TlsProblem::AuthorityAsServer),
    ] {
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        if problem == TlsProblem::AuthorityAsServer {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        let signing = rcgen::KeyPair::generate().unwrap();
        let signed = params.self_signed(&signing).unwrap();
        let (certificate, key) = (folder.path().join("a.pem"), folder.path().join("a.key"));
        std::fs::write(&certificate, signed.pem()).unwrap();
        std::fs::write(&key, signing.serialize_pem()).unwrap();
        let identity = TlsIdentity::from_pem_files(&certificate, &key).unwrap();
        let served = Served::start(hub(&dir), ServerOptions::default().with_tls(identity)).await;
        let options = ClientOptions::default().with_roots(Roots::from_pem_file(&certificate).unwrap());
        let client = Client::new(&format!("wss://{}/", served.address), options).unwrap();
        let error = refusal(client).await;
        assert_eq!(tls_problem(&error), problem, "{error}");
        served.stop().await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_at_present_may_be_read_later() {
    let (_folder, dir) = data_dir();
    let agent = Agent::start(&dir, "u").await;
    agent.reports(0..1).await;
    agent.journal.close_blocking();
    let path = dir.journal_path(&upgrade_stream("u"));
    let journal = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, journal.replacen("prod", "prox", 1)).unwrap();
    let served = Served::start(hub(&dir), ServerOptions::default()).await;
    let mut client = Client::new(&served.url("?upgrade=u"), ClientOptions::default()).unwrap();
    let ServerMessage::Error(error) = message(&mut client).await else {
        panic!("an error")
    };
    assert_eq!(error.code, ErrorCode::Unavailable);
    let error = refusal(client).await;
    assert!(matches!(error, ClientError::Closed { code: 1011, .. }), "{error}");
    assert!(error.is_passing());

    // One in which nothing was ever recorded is none yet.
    std::fs::write(dir.journal_path(&upgrade_stream("new")), "").unwrap();
    let mut client = Client::new(&served.url("?upgrade=new"), ClientOptions::default()).unwrap();
    let ServerMessage::Error(error) = message(&mut client).await else {
        panic!("an error")
    };
    assert_eq!(error.code, ErrorCode::UnknownUpgrade);
    assert!(!refusal(client).await.is_passing());
    served.stop().await;
}

#[tokio::test]
async fn a_server_does_not_start_where_it_must_not() {
    let (_folder, dir) = data_dir();
    let hub = hub(&dir);
    let nowhere = serve(
        Vec::new(),
        hub.clone(),
        ServerOptions::default(),
        CancellationToken::new(),
    )
    .await;
    assert!(matches!(nowhere, Err(ServeError::NoListener)));
    let everywhere = bind("0.0.0.0:0").await.unwrap();
    let refused = serve(
        everywhere,
        hub.clone(),
        ServerOptions::default(),
        CancellationToken::new(),
    )
    .await;
    assert!(matches!(refused, Err(ServeError::NeedsToken { .. })));

    let taken = bind("localhost:0").await.unwrap();
    let port = taken[0].local_addr().unwrap().port();
    let error = bind(&format!("127.0.0.1:{port}")).await.unwrap_err();
    assert!(matches!(error, ServeError::InUse { .. }), "{error}");
    let error = bind(&format!("localhost:{port}")).await.unwrap_err();
    assert!(matches!(error, ServeError::InUse { .. }), "{error}");
    for nonsense in ["localhost", "localhost:http", "127.0.0.1"] {
        let error = bind(nonsense).await.unwrap_err();
        assert!(matches!(error, ServeError::Address { .. }), "{error}");
    }
    hub.close().await;
}
