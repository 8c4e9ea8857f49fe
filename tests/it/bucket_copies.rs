//! Bytes here go only once their copy in the bucket was seen.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use test_servers::{FsServer, Reply, ScriptedServer};

use crate::bucket_gaps::working;
use crate::machine::Machine;

const GC: [&str; 5] = ["gc", "--retention-days", "0", "--min-age", "0s"];

fn local_file(machine: &Machine) -> PathBuf {
    machine.home.path().join("ekstrack-data/artifacts/s/c/a.txt")
}

/// A captive portal answers what stores bytes with a page: that counts as nothing, and retention keeps the only copy.
#[test]
fn fault_21_what_a_portal_took_is_not_uploaded_and_stays_here() {
    let server = FsServer::start();
    let upstream = server.address();
    let closed = Arc::new(AtomicBool::new(true));
    let portal = Arc::clone(&closed);
    let way = ScriptedServer::start(move |request, _| {
        // The probe asks whether conditions are honoured, which the portal answers too.
        if portal.load(Ordering::SeqCst) && request.method == "PUT" {
            let page = b"<!DOCTYPE html><html>Sign in</html>".to_vec();
            return Reply::body(200, page)
                .with_header("content-type", "text/html")
                .with_header("etag", "\"page\"");
        }
        Reply::Forward(upstream)
    });
    let machine = Machine::new(&way.endpoint());
    machine.ok(&["session", "create", "up", "--cluster", "c", "--id", "s"]);
    machine.ok(&["collection", "create", "s", "C", "--id", "c"]);
    let file = machine.file("a.txt", "a precious text");
    let added = machine.ok(&["artifact", "add", "s", "c", &file]);
    let id = added["artifact_id"].as_str().unwrap();
    let output = machine.output(&["sync"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{errors}");
    assert!(errors.contains("a proxy or captive portal?"), "{errors}");
    assert_eq!(machine.ok(&["artifact", "show", id])["s3_key"], json!(null));
    closed.store(false, Ordering::SeqCst);
    machine.ok(&["sync"]);
    assert!(server.file("team/s/c").exists());
}

/// A record of a copy is not enough: retention looks at the copy, and `sync` looks at the copies of archived artifacts.
#[test]
fn bytes_are_freed_once_their_copy_was_seen_and_a_lost_one_is_named() {
    let server = FsServer::start();
    let (machine, id) = working(&server.endpoint());
    machine.ok(&["session", "complete", "s"]);
    let object = machine.ok(&["artifact", "show", &id])["s3_key"].clone();
    let object = server.file(object.as_str().unwrap());
    let bytes = std::fs::read(&object).unwrap();
    for broken in [None, Some(&b"another text"[..])] {
        match broken {
            None => std::fs::remove_file(&object).unwrap(),
            Some(other) => std::fs::write(&object, other).unwrap(),
        }
        let refused = machine.refused(5, &GC);
        assert!(refused.to_string().contains("stay here"), "{refused}");
        assert!(local_file(&machine).exists());
    }
    let refused = machine.refused(5, &[&["--s3", ""], &GC[..]].concat());
    assert!(refused.to_string().contains("no bucket is given"), "{refused}");
    assert!(local_file(&machine).exists());

    std::fs::write(&object, &bytes).unwrap();
    machine.ok(&GC);
    assert!(!local_file(&machine).exists());
    assert_eq!(machine.ok(&["sync"])["lost"], json!([]));
    std::fs::remove_file(&object).unwrap();
    let output = machine.output(&["sync"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{errors}");
    assert!(errors.contains("is lost: somebody deleted s/c/a"), "{errors}");
    let synced: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(synced["lost"][0]["artifact_id"], id, "{synced}");
}
