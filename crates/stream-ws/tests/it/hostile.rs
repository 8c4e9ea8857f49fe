//! Peers that mean no good, byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use stream_ws::{Client, ClientEvent, ClientOptions, Limits, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Agent, Choices, PATIENCE, Served, data_dir, hub, within};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// A frame, masked with zeros as a client must, or not.
fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(mask_bit | u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            bytes.push(mask_bit | 126);
            bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(mask_bit | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    if masked {
        bytes.extend_from_slice(&[0; 4]);
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// The last fragment of a message, or the only one.
const fn fin(opcode: u8) -> u8 {
    0x80 | opcode
}

/// A request that is what it should be, but for what is replaced.
fn request(address: SocketAddr) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Sends as much as the peer takes; it may hang up before the end.
async fn send(socket: &mut TcpStream, bytes: &[u8]) -> bool {
    socket.write_all(bytes).await.is_ok()
}

/// Everything that comes until the peer hangs up.
async fn hear_out(socket: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    // A reset is an end, too.
    let ended = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut heard)).await;
    assert!(ended.is_ok(), "the server hangs up");
    heard
}

/// The status of a request that is sent as it is; `None` if nothing is answered.
pub(crate) async fn status(address: SocketAddr, request: &[u8]) -> Option<u16> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    send(&mut socket, request).await;
    let mut heard = Vec::new();
    let mut buffer = [0; 512];
    while !heard.windows(4).any(|end| end == b"\r\n\r\n") {
        match within(socket.read(&mut buffer)).await {
            Ok(length) if length > 0 => heard.extend_from_slice(&buffer[..length]),
            _ => break,
        }
    }
    let text = String::from_utf8_lossy(&heard);
    text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// What a peer does after its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Waits,
    HangsUp,
}

/// Becomes a viewer, sends `bytes`, and says with which code it is told to go.
async fn close_code(address: SocketAddr, bytes: &[u8], then: Then) -> Option<u16> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    send(&mut socket, request(address).as_bytes()).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(socket.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    send(&mut socket, bytes).await;
    if then == Then::HangsUp {
        // It may have been hung up on already.
        drop(socket.shutdown().await);
    }
    let heard = hear_out(&mut socket).await;
    let mut rest = &heard[..];
    while let [first, length, tail @ ..] = rest {
        let (length, tail) = match length {
            126 => (usize::from(u16::from_be_bytes([tail[0], tail[1]])), &tail[2..]),
            127 => panic!("nothing so large is sent"),
            length => (usize::from(*length), tail),
        };
        if *first == fin(CLOSE) {
            return Some(u16::from_be_bytes([tail[0], tail[1]]));
        }
        rest = &tail[length..];
    }
    None
}

/// What hostile peers send after the handshake, and the close code that they deserve.
fn offences() -> Vec<(&'static str, Vec<u8>, u16)> {
    let too_large = vec![b'x'; (64 << 10) + 1];
    let half = vec![b'x'; 40 << 10];
    let ping = frame(fin(TEXT), true, b"{\"type\":\"ping\"}");
    let announced = [&[fin(TEXT), 0xff][..], &[0x7f; 8], &[0; 4]].concat();
    vec![
        ("unmasked", frame(fin(TEXT), false, b"{}"), 1002),
        ("reserved opcode", frame(fin(3), true, b"{}"), 1002),
        ("reserved control opcode", frame(fin(11), true, b""), 1002),
        ("reserved bits", frame(fin(TEXT) | 0x70, true, b"{}"), 1002),
        ("fragmented ping", frame(PING, true, b""), 1002),
        ("ping too long", frame(fin(PING), true, &[0; 126]), 1002),
        ("continuation of nothing", frame(fin(0), true, b"{}"), 1002),
        (
            "two messages at once",
            [frame(TEXT, true, b"{"), frame(fin(TEXT), true, b"}")].concat(),
            1002,
        ),
        ("not UTF-8", frame(fin(TEXT), true, b"\xff\xfe"), 1007),
        (
            "half a character at the end",
            [frame(TEXT, true, b"\xc3"), frame(fin(0), true, b"")].concat(),
            1007,
        ),
        ("binary", frame(fin(BINARY), true, b"{}"), 1003),
        ("oversize", frame(fin(TEXT), true, &too_large), 1009),
        (
            "oversize in fragments",
            [frame(TEXT, true, &half), frame(fin(0), true, &half)].concat(),
            1009,
        ),
        ("announced oversize", announced, 1009),
        ("flood of messages", ping.repeat(101), 1008),
        ("flood of pings", frame(fin(PING), true, b"").repeat(101), 1008),
        (
            "flood of fragments",
            [frame(TEXT, true, b""), frame(0, true, b"").repeat(200_000)].concat(),
            1008,
        ),
        ("close without a code", frame(fin(CLOSE), true, b"\x03"), 1002),
    ]
}

fn handshakes(address: SocketAddr) -> Vec<(&'static str, Vec<u8>, Option<u16>)> {
    let good = request(address);
    let replaced = |from: &str, to: &str| good.replacen(from, to, 1).into_bytes();
    vec![
        ("good", good.clone().into_bytes(), Some(101)),
        (
            "garbage",
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_vec(),
            Some(400),
        ),
        ("other method", replaced("GET", "POST"), Some(400)),
        (
            "other version of HTTP",
            replaced("HTTP/1.1", "HTTP/1.0"),
            Some(400),
        ),
        ("other version", replaced("Version: 13", "Version: 8"), Some(400)),
        ("no key", replaced("Sec-WebSocket-Key", "X-Key"), Some(400)),
        ("no WebSocket", replaced("Upgrade: websocket\r\n", ""), Some(426)),
        (
            "too long",
            replaced("GET /", &format!("GET /{}", "x".repeat(10_000))),
            Some(431),
        ),
        ("half of it", good.as_bytes()[..40].to_vec(), None),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_28_hostile_peers_are_told_why_they_must_go() {
    let panics = Arc::new(AtomicUsize::new(0));
    let (counted, report) = (Arc::clone(&panics), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        counted.fetch_add(1, Ordering::Relaxed);
        report(info);
    }));
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let limits = Limits {
        handshake: Duration::from_millis(200),
        ..Limits::default()
    };
    let served = Served::start(hub(&dir), ServerOptions::default().with_limits(limits)).await;
    let address = served.address;

    let begin = Instant::now();
    let handshakes = handshakes(address);
    for (name, bytes, expected) in &handshakes {
        assert_eq!(status(address, bytes).await, *expected, "{name}");
    }
    let slow = begin.elapsed();
    let offences = offences();
    for (name, bytes, code) in &offences {
        assert_eq!(
            close_code(address, bytes, Then::Waits).await,
            Some(*code),
            "{name}"
        );
    }
    // What no one thought of.
    let seed = Choices::seed();
    let mut choices = Choices::new(seed);
    let count = Choices::count(200);
    for _ in 0..count {
        let bytes: Vec<u8> = (0..choices.below(400))
            .map(|_| u8::try_from(choices.below(256)).unwrap())
            .collect();
        // Half a frame deserves no code; anything else does.
        let code = close_code(address, &bytes, Then::HangsUp).await;
        assert!(code.is_none_or(|code| code >= 1000), "{bytes:?}");
    }

    // Whoever means well is served all the same.
    let mut client = Client::new(&served.url(""), ClientOptions::default()).unwrap();
    while !client.is_live() {
        assert!(!matches!(
            within(client.next()).await.unwrap(),
            ClientEvent::Stale { .. }
        ));
    }
    client.close(PATIENCE).await;
    served.stop().await;
    assert_eq!(panics.load(Ordering::Relaxed), 0);
    println!(
        "FAULT row=28 name=hostile-peers handshakes={} offences={} random={count} seed={seed} right={} panics=0 \
         slow_handshake_ms={}",
        handshakes.len(),
        offences.len(),
        handshakes.len() + offences.len(),
        slow.as_millis()
    );
}

#[tokio::test]
async fn what_is_not_understood_is_said_and_forgiven() {
    use stream_ws::protocol::ServerMessage;
    let (_folder, dir) = data_dir();
    let _agent = Agent::start(&dir, "u").await;
    let served = Served::start(hub(&dir), ServerOptions::default()).await;
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    send(&mut socket, request(served.address).as_bytes()).await;
    for text in [
        "",
        "[]",
        "{\"type\":\"sing\"}",
        "{\"type\":\"subscribe\",\"data\":7}",
    ] {
        send(&mut socket, &frame(fin(TEXT), true, text.as_bytes())).await;
    }
    send(&mut socket, &frame(fin(TEXT), true, b"{\"type\":\"ping\"}")).await;
    let close = frame(fin(CLOSE), true, &1000_u16.to_be_bytes());
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    let pong = |heard: &[u8]| heard.windows(15).any(|end| end == b"{\"type\":\"pong\"}");
    while !pong(&heard) {
        let length = within(socket.read(&mut buffer)).await.unwrap();
        assert!(length > 0, "the connection stays");
        heard.extend_from_slice(&buffer[..length]);
    }
    send(&mut socket, &close).await;
    hear_out(&mut socket).await;
    let heard = String::from_utf8_lossy(&heard);
    assert_eq!(heard.matches("\"code\":\"malformed\"").count(), 3);
    assert_eq!(heard.matches("\"code\":\"unknown_type\"").count(), 1);
    assert!(ServerMessage::parse("{\"type\":\"pong\"}").is_ok());
    served.stop().await;
}
