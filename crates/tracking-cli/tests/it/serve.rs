//! Serving the upgrades of a data directory.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::ekstrack::Ekstrack;

#[test]
fn whoever_connects_sees_how_the_upgrade_stands() {
    let ekstrack = Ekstrack::started();
    let mut server = ekstrack
        .command(&["--json", "serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let document: Value = serde_json::from_str(&line).unwrap();
    let address = document["listening"][0]
        .as_str()
        .unwrap()
        .trim_start_matches("ws://")
        .to_owned();

    let mut socket = TcpStream::connect(&address).unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("\"agent\":\"recent\"") {
        let mut buffer = [0; 4096];
        let length = socket.read(&mut buffer).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&buffer[..length]);
    }
    assert!(String::from_utf8_lossy(&heard).contains("\"upgrade_id\":\"prod\""));
    drop(socket);
    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn metrics_are_told_to_who_asks_on_this_machine() {
    let ekstrack = Ekstrack::started();
    let args = [
        "--json",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "127.0.0.1:0",
    ];
    let mut server = ekstrack.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(server.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let document: Value = serde_json::from_str(&line).unwrap();
    let listening = document["listening"][0]
        .as_str()
        .unwrap()
        .trim_start_matches("ws://");
    let url = document["metrics"].as_str().unwrap();
    let address = url
        .strip_prefix("http://")
        .unwrap()
        .strip_suffix("/metrics")
        .unwrap();
    let ask = |to: &str, request: &str, host: &str| {
        let mut socket = TcpStream::connect(to).unwrap();
        write!(socket, "{request} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    // One who is refused is counted.
    assert!(ask(listening, "GET /", "elsewhere.example").starts_with("HTTP/1.1 403"));
    let told = ask(address, "GET /metrics", address);
    assert!(told.starts_with("HTTP/1.1 200 OK"), "{told}");
    assert!(told.contains("ekstrack_ws_refused_total{reason="), "{told}");
    assert!(ask(address, "GET /", address).starts_with("HTTP/1.1 404"));
    assert!(ask(address, "POST /metrics", address).starts_with("HTTP/1.1 405"));
    assert!(ask(address, "GET /metrics", "elsewhere.example").starts_with("HTTP/1.1 403"));
    kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
}

#[test]
fn what_cannot_be_served_is_refused_with_the_reason() {
    let ekstrack = Ekstrack::started();
    let refused = |args: &[&str], code: i32, reason: &str| {
        let output = ekstrack.output(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(reason), "{stderr}");
    };
    refused(
        &["serve", "--listen", "0.0.0.0:0"],
        2,
        "needs a token of at least 256 bits",
    );
    refused(&["serve", "--listen", "nonsense"], 2, "cannot resolve");
    let metrics = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--metrics-listen",
        "0.0.0.0:0",
    ];
    refused(&metrics, 2, "on the loopback alone");
    for (option, value, reason) in [
        ("--allow-origin", "dash.example.com", "it has no scheme"),
        ("--allow-origin", "https://dash.example.com/app", "it has a path"),
        ("--allow-host", "https://dash.example.com", "it has a scheme"),
        ("--allow-host", "two names", "it has a space"),
    ] {
        refused(&["serve", option, value], 2, reason);
        refused(&["--json", "serve", option, value], 2, "dash.example.com");
    }
    std::fs::write(ekstrack.home().join("token"), "secret").unwrap();
    refused(&["serve", "--token-file", "token"], 2, "a token needs 256 bits");
    refused(
        &["serve", "--certificate", "token", "--key", "token"],
        2,
        "there is no certificate",
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&["serve", "--listen", &address], 5, "is in use");
}
