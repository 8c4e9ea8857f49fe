//! The Autobahn test suite, by the public runner kosoku, against a server that echoes with the sockets of viewers.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use stream_ws::{Limits, ServerOptions, echo};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::support::python;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_28_the_autobahn_cases_pass() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The largest cases send messages of 16 MiB.
    let limits = Limits {
        message_bytes: 32 << 20,
        bytes_per_minute: u32::MAX,
        ..Limits::default()
    };
    let mut server = JoinSet::new();
    server.spawn(echo(listener, ServerOptions::default().with_limits(limits)));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/conformance.py");
    let output = Command::new(python())
        .arg(script)
        .args([&address.to_string(), "4"])
        .kill_on_drop(true)
        .output();
    let output = output.await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    let verdicts = String::from_utf8(output.stdout).unwrap();
    let (mut cases, mut failed, mut counts) = (0, Vec::new(), BTreeMap::<_, u32>::new());
    for line in verdicts.lines() {
        let verdict: Value = serde_json::from_str(line).unwrap();
        cases += 1;
        if verdict["passed"] != true {
            failed.push(line);
        }
        *counts.entry(verdict["behavior"].to_string()).or_default() += 1;
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(cases > 200, "{verdicts}{errors}");
    let count = |behavior| counts.get(behavior).copied().unwrap_or(0);
    println!(
        "FAULT row=28 name=autobahn cases={cases} ok={} non_strict={} informational={} failed=0",
        count("\"OK\""),
        count("\"NON-STRICT\""),
        count("\"INFORMATIONAL\""),
    );
}
