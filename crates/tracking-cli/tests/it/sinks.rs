//! What a command's changes go to beside the data directory.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Output;

use serde_json::{Value, json};

use crate::ekstrack::Ekstrack;

/// An endpoint that has every bus, until the process ends. It takes every entry, unless it refuses all with a code.
pub(crate) fn endpoint(refuses: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            std::thread::spawn(move || answer(socket.unwrap(), refuses));
        }
    });
    address
}

/// Reads a request: its target for services that have one, and its body.
pub(crate) fn request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let (mut length, mut target) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "x-amz-target" => target = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((target, body))
}

/// Answers the requests of one connection.
fn answer(socket: std::net::TcpStream, refuses: Option<&str>) -> Option<()> {
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    let mut socket = socket;
    loop {
        let (target, body) = request(&mut reader)?;
        let body: Value = serde_json::from_slice(&body).ok()?;
        let answer = if target.ends_with("PutEvents") {
            let entries = body["Entries"].as_array()?.iter();
            let entry = match refuses {
                Some(code) => json!({"ErrorCode": code, "ErrorMessage": "no"}),
                None => json!({"EventId": "e"}),
            };
            let entries: Vec<_> = entries.map(|_| entry.clone()).collect();
            let failed = refuses.map_or(0, |_| entries.len());
            json!({"FailedEntryCount": failed, "Entries": entries})
        } else {
            json!({"Name": "team", "Arn": "arn:aws:events:eu-west-1:123456789012:event-bus/team"})
        };
        let answer = answer.to_string();
        write!(
            socket,
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        )
        .ok()?;
    }
}

fn sync(ekstrack: &Ekstrack, endpoint: SocketAddr, args: &[&str]) -> String {
    let output = output(ekstrack, endpoint, args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn output(ekstrack: &Ekstrack, endpoint: SocketAddr, args: &[&str]) -> Output {
    ekstrack
        .command(args)
        .env("AWS_ENDPOINT_URL", format!("http://{endpoint}"))
        .env("AWS_ACCESS_KEY_ID", "id")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .unwrap()
}

#[test]
fn a_sync_says_what_it_announced() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["upgrade", "phase", "prod", "Nodes"]);
    let endpoint = endpoint(None);
    let told = sync(&ekstrack, endpoint, &["--eventbridge", "team", "sync"]);
    assert_eq!(told, "in sync with bus team: announced 2 events\n");
    ekstrack.ok(&["upgrade", "cancel", "prod"]);
    let told = sync(&ekstrack, endpoint, &["--eventbridge", "team", "--json", "sync"]);
    let document: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(document["announced"], 1, "{document}");
    let told = sync(&ekstrack, endpoint, &["--eventbridge", "team", "sync"]);
    assert_eq!(told, "in sync with bus team: announced 0 events\n");
}

#[test]
fn a_sync_says_what_can_never_be_announced_and_what_to_do() {
    let ekstrack = Ekstrack::started();
    let endpoint = endpoint(Some("MalformedDetail"));
    let refused = output(&ekstrack, endpoint, &["--eventbridge", "team", "sync"]);
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("1 record is not there"), "{stderr}");
    let hint = stderr.lines().last().unwrap();
    assert!(hint.contains("ekstrack sinks retry"), "{stderr}");
    let refused = output(&ekstrack, endpoint, &["--eventbridge", "team", "--json", "sync"]);
    let document: Value = serde_json::from_slice(&refused.stdout).unwrap();
    let (ok, parked) = (&document["ok"], &document["parked"]);
    assert_eq!((ok, parked), (&json!(false), &json!(1)), "{document}");
}

#[test]
fn a_sync_without_a_place_names_all_that_there_could_be() {
    let ekstrack = Ekstrack::started();
    let output = ekstrack.output(&["sync"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for way in ["--s3", "[s3]", "--eventbridge", "[eventbridge]"] {
        assert!(stderr.contains(way), "{way} in {stderr}");
    }
    let output = ekstrack.output(&["--eventbridge", "team", "sync", "prod"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("a bus is told of upgrades alone"), "{stderr}");
}

#[test]
fn what_cannot_be_retried_is_named() {
    let ekstrack = Ekstrack::started();
    let refused = |args: &[&str], code: i32, reasons: &[&str]| {
        let output = ekstrack.output(&[&["sinks", "retry"], args].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        for reason in reasons {
            assert!(stderr.contains(reason), "{reason} in {stderr}");
        }
    };
    refused(
        &["--stream", "upgrade:other"],
        3,
        &[
            "cannot retry what is parked of upgrade:other",
            "there is no upgrade:other",
        ],
    );
    refused(
        &["--stream", "upgrade:prod"],
        3,
        &["no sink has been fed from upgrade:prod"],
    );
    refused(&["--stream", "prod"], 2, &["prod"]);
    sync(&ekstrack, endpoint(None), &["--eventbridge", "team", "sync"]);
    refused(
        &["--stream", "upgrade:prod", "--sink", "audit"],
        3,
        &[
            "no sink audit has been fed from upgrade:prod",
            "there are: eventbridge",
        ],
    );
    let told = ekstrack.ok(&["sinks", "retry", "--stream", "upgrade:prod"]);
    assert_eq!(told, "nothing is parked\n");
}
