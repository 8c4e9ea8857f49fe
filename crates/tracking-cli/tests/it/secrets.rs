//! Secrets that the command is given, and that none of its messages shows.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};

use crate::ekstrack::Ekstrack;
use crate::sinks::{endpoint, request};

const ACCESS_KEY: &str = "AKIAZ7Q3XK5M2N4P6R8T";
const SECRET_KEY: &str = "kQ7vT2mXz9LpR4sW8yB1nC6dF3gH5jK0aEuIoVtS";
const TOKEN: &str = "opaque/session+token=of-no-known-form-0123456789";
const VIEWER: &str = "5f1a7c3e9b2d4068a1c3e5f7092b4d6e8f0a1c3e5b7d9f1032547698badcfe01";

/// Environment of the command, beside the address of a server that refuses everything.
const SETTINGS: &[(&str, &str)] = &[
    ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
    ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ("AWS_SESSION_TOKEN", TOKEN),
    ("AWS_REGION", "eu-central-1"),
    ("HTTP_PROXY", "http://kate:pw-proxy@127.0.0.1:9"),
    ("HTTPS_PROXY", "http://kate:pw-proxy@127.0.0.1:9"),
    ("NO_PROXY", "127.0.0.1"),
];

/// Secrets in the environment and the files of [`prepared`], and their forms in a header.
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

/// Runs a script; returns the log that `run` keeps, and its record.
fn kept(ekstrack: &Ekstrack, task: &str, args: &[&str], script: &str) -> (String, serde_json::Value) {
    // The record of a log names the command, so its text is in a file.
    let file = format!("{task}.sh");
    std::fs::write(ekstrack.home().join(&file), script).unwrap();
    let run = [&["run"][..], args, &["prod", task, "--", "sh", &file]].concat();
    let output = ekstrack.output(&run);
    assert!(output.status.success(), "{output:?}");
    let plain = std::process::Command::new("sh")
        .args(["-c", script])
        .output()
        .unwrap();
    assert_eq!(output.stdout, plain.stdout, "the terminal gets the very bytes");
    let log = ekstrack
        .data()
        .join("artifacts/prod")
        .join(task)
        .join("stdout.log");
    let found = ekstrack.json(&["search", "--task", task, "--name", "stdout.log"]);
    (
        std::fs::read_to_string(log).unwrap(),
        found["artifacts"][0].clone(),
    )
}

#[test]
fn run_keeps_its_output_byte_for_byte_unless_asked_to_redact() {
    let ekstrack = Ekstrack::started();
    let script = format!("echo id={ACCESS_KEY}");
    let (log, record) = kept(&ekstrack, "plain", &[], &script);
    assert_eq!(log, format!("id={ACCESS_KEY}\n"));
    assert!(record["metadata"]["redaction"].is_null(), "{record}");
}

#[test]
fn secrets_that_come_in_pieces_are_replaced_before_they_reach_the_disk() {
    let ekstrack = Ekstrack::started();
    // A write for each character, and no line feed at the end.
    let (first, second) = ACCESS_KEY.split_at(7);
    let script = format!("printf 'id={first}'; echo {second}; printf 'pin: 7319462'; printf 0855713");
    let args = ["--redact", "--redact-pattern", "pin: ([0-9]+)"];
    let (log, record) = kept(&ekstrack, "redacted", &args, &script);
    assert_eq!(log, "id=[redacted:aws-access-key-id]\npin: [redacted:pattern-1]");
    let redaction = &record["metadata"]["redaction"];
    assert_eq!(
        redaction["replaced"],
        serde_json::json!({"aws-access-key-id": 1, "pattern-1": 1})
    );
    let rules = redaction["rules"].as_array().unwrap();
    assert!(
        rules.contains(&"private-key".into()) && rules.contains(&"pattern-1".into()),
        "{rules:?}"
    );
    ekstrack.ok(&["run", "--redact", "prod", "named", "--", "echo", ACCESS_KEY]);
    // Long enough that no hash or time has it by chance.
    for secret in [ACCESS_KEY, second, "73194620855713"] {
        assert!(!anywhere(&ekstrack.data(), secret), "{secret} is on the disk");
    }
    // The times are those of the log as it was kept.
    let times = ekstrack.data().join("artifacts/prod/redacted/output-times.jsonl");
    let times = std::fs::read_to_string(times).unwrap();
    let last: serde_json::Value = serde_json::from_str(times.lines().last().unwrap()).unwrap();
    let end = last["offset"].as_u64().unwrap() + last["length"].as_u64().unwrap();
    assert_eq!(end, log.len() as u64, "{times}");
}

fn anywhere(dir: &std::path::Path, secret: &str) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        let holds = |bytes: Vec<u8>| {
            bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes())
        };
        if path.is_dir() {
            anywhere(&path, secret)
        } else {
            holds(std::fs::read(&path).unwrap())
        }
    })
}

#[test]
fn an_added_file_is_never_redacted() {
    let ekstrack = Ekstrack::started();
    let file = ekstrack.home().join("keys.txt");
    std::fs::write(&file, ACCESS_KEY).unwrap();
    let run = [
        "run",
        "--redact",
        "--artifact",
        "keys.txt",
        "prod",
        "t",
        "--",
        "true",
    ];
    ekstrack.ok(&run);
    let kept = std::fs::read_to_string(ekstrack.data().join("artifacts/prod/t/keys.txt")).unwrap();
    assert_eq!(kept, ACCESS_KEY);
}

#[test]
fn patterns_that_cannot_be_used_are_refused_before_the_start() {
    let ekstrack = Ekstrack::started();
    for (pattern, why) in [
        ("a*", "matches the empty string"),
        ("(", "unclosed group"),
        ("a\\nb", "line feed"),
        ("(?:\\w{200}){200}", "size limit"),
    ] {
        let output = ekstrack.output(&[
            "run",
            "--redact-pattern",
            pattern,
            "prod",
            "t",
            "--",
            "touch",
            "ran",
        ]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(
            said.contains(why) && said.contains("redact what matches"),
            "{said}"
        );
    }
    assert!(!ekstrack.home().join("ran").exists());
}
