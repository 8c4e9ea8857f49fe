//! Credentials that change while a command runs are taken up at the first refusal.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use test_servers::{ACCESS_KEY, FsServer, MotoServer, Reply, Request, SECRET_KEY, ScriptedServer};

use crate::machine::Machine;

fn write_credentials(path: &Path, key: &str, secret: &str) {
    let text = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
    std::fs::write(path, text).unwrap();
}

/// True if a request was signed with the key.
fn is_signed_with(request: &Request, key: &str) -> bool {
    let signed = request.header("authorization").unwrap_or_default();
    signed.contains(&format!("Credential={key}/"))
}

/// A server that refuses the old key; whoever rotates the keys writes the new ones to the file meanwhile.
fn refusing(
    path: &Path,
    refusal: Reply,
    upstream: std::net::SocketAddr,
    refused: Arc<AtomicUsize>,
) -> ScriptedServer {
    let path = path.to_owned();
    ScriptedServer::start(move |request, _| {
        if is_signed_with(request, "OLDKEY") {
            refused.fetch_add(1, Ordering::SeqCst);
            write_credentials(&path, ACCESS_KEY, SECRET_KEY);
            return refusal.clone();
        }
        Reply::Forward(upstream)
    })
}

struct Rotated {
    machine: Machine,
    file: std::path::PathBuf,
    refused: Arc<AtomicUsize>,
}

fn rotated() -> Rotated {
    let machine = Machine::new("http://127.0.0.1:1");
    let folder = machine.home.path().join(".aws");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("credentials");
    write_credentials(&file, "OLDKEY", "old secret");
    let start = machine
        .command(&["upgrade", "start", "up", "--plan", "p", "--cluster", "c"])
        .env_remove("EKSTRACK_S3")
        .output()
        .unwrap();
    assert!(start.status.success(), "{start:?}");
    Rotated {
        machine,
        file,
        refused: Arc::default(),
    }
}

fn sync(machine: &Machine, set: &[(&str, &str)]) -> std::process::Output {
    let mut command = machine.command(&["sync"]);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    if !set.iter().any(|(name, _)| *name == "AWS_ENDPOINT_URL_S3") {
        command.env_remove("EKSTRACK_S3");
    }
    for (name, value) in set {
        command.env(name, value);
    }
    command.output().unwrap()
}

#[test]
fn a_bucket_gets_the_credentials_that_the_file_has_now() {
    let server = FsServer::start();
    for refusal in [
        Reply::error(400, "ExpiredToken"),
        Reply::error(400, "InvalidToken"),
        Reply::error(403, "InvalidAccessKeyId"),
    ] {
        let Rotated {
            machine,
            file,
            refused,
        } = rotated();
        let way = refusing(&file, refusal, server.address(), Arc::clone(&refused));
        let synced = sync(&machine, &[("AWS_ENDPOINT_URL_S3", &way.endpoint())]);
        assert!(synced.status.success(), "{synced:?}");
        assert_eq!(refused.load(Ordering::SeqCst), 1, "one request at the beginning");
        assert!(
            way.requests()
                .iter()
                .skip(1)
                .all(|request| is_signed_with(request, ACCESS_KEY))
        );
    }
}

#[test]
fn a_bus_gets_the_credentials_that_the_file_has_now() {
    let server = MotoServer::start();
    let body = br#"{"__type":"ExpiredTokenException","message":"expired"}"#.to_vec();
    let Rotated {
        machine,
        file,
        refused,
    } = rotated();
    let way = refusing(
        &file,
        Reply::body(400, body),
        server.address(),
        Arc::clone(&refused),
    );
    let set = [
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", way.endpoint()),
        ("EKSTRACK_EVENTBRIDGE", "default".to_owned()),
    ];
    let set = set.each_ref().map(|(name, value)| (*name, value.as_str()));
    let synced = sync(&machine, &set);
    assert!(synced.status.success(), "{synced:?}");
    assert_eq!(refused.load(Ordering::SeqCst), 1);
    let requests = way.requests();
    let sent = requests
        .iter()
        .filter(|request| is_signed_with(request, ACCESS_KEY));
    assert!(sent.count() > 1, "the look for the bus again, and the events");
}

/// Where the file has what it had, one more request is made and no others.
#[test]
fn credentials_that_stay_refused_are_tried_once_more() {
    let way = ScriptedServer::start(|_, _| Reply::error(400, "ExpiredToken"));
    let Rotated { machine, .. } = rotated();
    let synced = sync(&machine, &[("AWS_ENDPOINT_URL_S3", &way.endpoint())]);
    assert_eq!(synced.status.code(), Some(5), "{synced:?}");
    let told = String::from_utf8_lossy(&synced.stderr);
    assert!(told.contains("renew the credentials"), "{told}");
    let requests = way.requests().len();
    assert_eq!(requests, 2, "the first, and one after the file was read again");
}
