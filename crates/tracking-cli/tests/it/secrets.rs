//! Secrets that the command is given, and that none of its messages shows.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};

use crate::ekstrack::Ekstrack;
use crate::sinks::{endpoint, request};

const ACCESS_KEY: &str = "AKIAZ7Q3XK5M2N4P6R8T";
const SECRET_KEY: &str = "kQ7vT2mXz9LpR4sW8yB1nC6dF3gH5jK0aEuIoVtS";
const TOKEN: &str = "opaque/session+token=of-no-known-form-0123456789";
const VIEWER: &str = "5f1a7c3e9b2d4068a1c3e5f7092b4d6e8f0a1c3e5b7d9f1032547698badcfe01";

/// What the environment holds, beside the address of a server that refuses everything.
const SETTINGS: &[(&str, &str)] = &[
    ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
    ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ("AWS_SESSION_TOKEN", TOKEN),
    ("AWS_REGION", "eu-central-1"),
    ("HTTP_PROXY", "http://kate:pw-proxy@127.0.0.1:9"),
    ("HTTPS_PROXY", "http://kate:pw-proxy@127.0.0.1:9"),
    ("NO_PROXY", "127.0.0.1"),
];

/// What the environment and the files of [`prepared`] hold, and what they look like in a header.
const SECRETS: &[&str] = &[
    ACCESS_KEY,
    SECRET_KEY,
    TOKEN,
    VIEWER,
    "opaque%2Fsession",
    "pw-sesame",
    "pw-proxy",
    "pw-bucket",
    "pw-endpoint",
    "pw-viewer",
    "profile-secret",
    "profile-token",
    "a2F0ZTpwdy1wcm94eQ",
];

/// A server that refuses every request, until the process ends.
fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
            std::thread::spawn(
                move || while request(&mut reader).is_some() && socket.write_all(answer).is_ok() {},
            );
        }
    });
    address
}

fn prepared() -> Ekstrack {
    let ekstrack = Ekstrack::new();
    let file = |name: &str, text: &str| std::fs::write(ekstrack.home().join(name), text).unwrap();
    file("token", &format!("{VIEWER}\n"));
    file(
        "endpoint.toml",
        "[s3]\nurl = 's3://bucket'\nendpoint = 'http://kate:pw-endpoint@127.0.0.1:9'",
    );
    file(
        "credentials",
        "[default]\naws_access_key_id = profile-key\naws_secret_access_key = profile-secret\naws_session_token = profile-token\n",
    );
    ekstrack
}

/// Runs the command, however loud, and looks for secrets in all that it says.
fn shows_none(ekstrack: &Ekstrack, code: i32, settings: &[(&str, &str)], args: &[&str]) {
    for how in ["--json", "-v", "-vv", "-vvv", "-vvvv"] {
        let mut command = ekstrack.command(args);
        command
            .arg(how)
            .env("HOME", ekstrack.home())
            .envs(settings.iter().copied());
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        for secret in SECRETS {
            assert!(!said.contains(secret), "{secret} of {args:?} {how}: {said}");
        }
    }
}

#[test]
fn no_message_shows_credentials_of_the_environment() {
    let ekstrack = prepared();
    let of = |server: SocketAddr| format!("http://kate:pw-sesame@{server}");
    let (refusing, bus) = (of(refusing()), of(endpoint(None)));
    let settings = [SETTINGS, &[("AWS_ENDPOINT_URL", refusing.as_str())]].concat();
    let with_bus = [SETTINGS, &[("AWS_ENDPOINT_URL", bus.as_str())]].concat();
    let bucket = ["--s3", "s3://bucket/p"];
    let with = |rest: &[&'static str]| [&bucket[..], rest].concat();
    let start = with(&["upgrade", "start", "up", "--plan", "p", "--cluster", "c"]);
    let output = ekstrack.command(&start).envs(settings.iter().copied()).output();
    assert!(output.unwrap().status.success());
    shows_none(&ekstrack, 5, &settings, &with(&["sync"]));
    shows_none(&ekstrack, 5, &settings, &with(&["--remote", "upgrade", "list"]));
    shows_none(&ekstrack, 0, &settings, &["sinks"]);
    shows_none(&ekstrack, 0, &with_bus, &["--eventbridge", "team", "sync"]);
}

#[test]
fn no_message_shows_credentials_of_a_profile() {
    let ekstrack = prepared();
    let credentials = ekstrack.home().join("credentials");
    let endpoint = format!("http://{}", refusing());
    let settings = [
        ("AWS_SHARED_CREDENTIALS_FILE", credentials.to_str().unwrap()),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", &endpoint),
    ];
    let list = ["--s3", "s3://bucket", "--remote", "upgrade", "list"];
    shows_none(&ekstrack, 5, &settings, &list);
}

#[test]
fn no_message_shows_a_password_in_an_address_that_cannot_be_used() {
    let ekstrack = prepared();
    for args in [
        &["--s3", "s3://kate:pw-bucket@bucket/p", "upgrade", "list"][..],
        &["--s3", "http://kate:pw-bucket@host/p", "upgrade", "list"],
        &["--config", "endpoint.toml", "upgrade", "list"],
        &["upgrade", "list", "https://kate:pw-bucket@host"],
        &[
            "watch",
            "--url",
            "ws://kate:pw-viewer@127.0.0.1:9",
            "--since",
            "no",
        ],
    ] {
        shows_none(&ekstrack, 2, &[], args);
    }
}

#[test]
fn no_message_shows_the_token_of_a_viewer() {
    let ekstrack = prepared();
    let watch = ["watch", "--url", "wss://127.0.0.1:9", "--token-file", "token"];
    shows_none(&ekstrack, 5, &[], &watch);
}
