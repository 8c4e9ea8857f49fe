//! What is missing in a shared bucket, or cannot be read: it is named, and put back by the machine that has it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use test_servers::{FsServer, Reply, ScriptedServer};

use crate::machine::Machine;

/// A machine with an upgrade `up` and an artifact in a session `s`, all of it in the bucket; and the artifact's id.
pub(crate) fn working(endpoint: &str) -> (Machine, String) {
    let machine = Machine::new(endpoint);
    machine.ok(&["upgrade", "start", "up", "--plan", "p", "--cluster", "c"]);
    machine.ok(&[
        "task", "add", "up", "drain", "--name", "Drain", "--type", "cleanup",
    ]);
    machine.ok(&["task", "start", "up", "drain"]);
    machine.ok(&["session", "create", "up", "--cluster", "c", "--id", "s"]);
    machine.ok(&["collection", "create", "s", "C", "--id", "c"]);
    let file = machine.file("a.txt", "a precious text");
    let added = machine.ok(&["artifact", "add", "s", "c", &file]);
    machine.ok(&["sync"]);
    let id = added["artifact_id"].as_str().unwrap().to_owned();
    (machine, id)
}

/// The segments of a stream, the one with its first record first.
pub(crate) fn segments(server: &FsServer, stream: &str) -> Vec<PathBuf> {
    let folder = server.file(&format!("team/_journal/{}", stream.replace(':', "%3A")));
    let mut found = Vec::new();
    for epoch in std::fs::read_dir(folder).unwrap() {
        for segment in std::fs::read_dir(epoch.unwrap().path()).unwrap() {
            let path = segment.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                let name = path.file_stem().unwrap().to_str().unwrap();
                let seq: u64 = name.rsplit('-').next().unwrap().parse().unwrap();
                found.push((seq, path));
            }
        }
    }
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// The one entry of what a list could not read.
fn unreadable<'a>(document: &'a Value, key: &str) -> (&'a str, &'a str) {
    let [one] = document["unreadable"].as_array().unwrap().as_slice() else {
        panic!("{document}")
    };
    (one[key].as_str().unwrap(), one["error"].as_str().unwrap())
}

#[test]
fn a_beginning_that_somebody_deleted_is_named_and_sync_puts_it_back() {
    let server = FsServer::start();
    let (machine, id) = working(&server.endpoint());
    for stream in ["upgrade:up", "session:s"] {
        let segments = segments(&server, stream);
        assert!(segments.len() > 1, "{segments:?}");
        std::fs::remove_file(&segments[0]).unwrap();
    }
    let team = Machine::new(&server.endpoint());
    let output = team.output(&["--remote", "upgrade", "list"]);
    assert!(
        output.status.success(),
        "as with a journal here that cannot be read: {output:?}"
    );
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("the beginning of upgrade:up"), "{errors}");
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed["upgrades"], json!([]), "nothing is known of it");
    let (named, why) = unreadable(&listed, "upgrade_id");
    assert!(named == "up" && why.contains("somebody deleted"), "{listed}");
    for command in [["session", "list"], ["search", "precious"], ["stats", "precious"]] {
        let listed = team.remote(&command);
        assert_eq!(unreadable(&listed, "session_id").0, "s", "{command:?}: {listed}");
    }
    for command in [
        vec!["--remote", "upgrade", "show", "up"],
        vec!["--remote", "export", "up"],
        vec!["--remote", "watch", "up"],
        vec!["--remote", "session", "show", "s"],
        vec!["--remote", "search", "--session", "s"],
    ] {
        let error = team.refused(4, &command);
        assert!(
            error["hint"].as_str().unwrap().contains("ekstrack sync"),
            "{error}"
        );
    }
    let error = team.refused(5, &["--remote", "gc", "--dry-run"]);
    assert!(
        error.to_string().contains("session s: it is left alone"),
        "{error}"
    );

    for document in ["team/_progress/up.json", "team/s/session.json"] {
        std::fs::remove_file(server.file(document)).unwrap();
    }
    let synced = machine.ok(&["sync"]);
    assert!(synced["records_put_back"].as_u64().unwrap() >= 2, "{synced}");
    assert_eq!(synced["documents_put_back"], 2, "{synced}");
    let again = machine.ok(&["sync"]);
    assert_eq!(
        (&again["records_put_back"], &again["documents_put_back"]),
        (&json!(0), &json!(0)),
        "{again}"
    );
    let listed = team.remote(&["upgrade", "list"]);
    assert_eq!(listed["unreadable"], json!([]));
    assert_eq!(listed["upgrades"][0]["upgrade_id"], "up");
    assert_eq!(
        team.remote(&["session", "show", "s"])["artifacts"][0]["artifact_id"],
        id
    );
}

#[test]
fn a_cursor_with_a_flipped_bit_is_told_and_sync_delivers_everything_again() {
    let server = FsServer::start();
    let (machine, _) = working(&server.endpoint());
    let cursors = machine.home.path().join("ekstrack-data/cursors/upgrade_up");
    let entries = std::fs::read_dir(cursors).unwrap();
    let mut cursors = entries.map(|entry| entry.unwrap().path());
    let cursor = cursors
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("s3-journal")
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .unwrap();
    machine.ok(&["upgrade", "phase", "up", "Two"]);
    let mut content = std::fs::read(&cursor).unwrap();
    let text = String::from_utf8(content.clone()).unwrap();
    let at = text.find("\"epoch\":\"").unwrap() + 12;
    content[at] ^= 1;
    std::fs::write(&cursor, content).unwrap();

    let sinks = machine.ok(&["sinks"]);
    let problems = sinks["sinks"].as_array().unwrap().iter();
    assert_eq!(
        problems.filter(|sink| !sink["problem"].is_null()).count(),
        1,
        "{sinks}"
    );
    let before = segments(&server, "upgrade:up").len();
    machine.ok(&["sync"]);
    assert!(segments(&server, "upgrade:up").len() > before);
    let sinks = machine.ok(&["sinks"]);
    for sink in sinks["sinks"].as_array().unwrap() {
        assert_eq!(
            (&sink["problem"], &sink["lag"]),
            (&Value::Null, &json!(0)),
            "{sinks}"
        );
    }
}

#[test]
fn what_cannot_be_read_of_one_stream_is_in_the_lists_and_an_error_where_it_is_asked_for() {
    let real = FsServer::start();
    let (machine, _) = working(&real.endpoint());
    machine.ok(&["session", "create", "up", "--cluster", "c", "--id", "secret"]);
    let upstream = real.address();
    let server = ScriptedServer::start(move |request, _| {
        if request.method == "GET" && request.path().contains("session%3Asecret") {
            return Reply::error(403, "AccessDenied");
        }
        if request.method == "GET" && request.path().contains("session%253Asecret") {
            return Reply::error(403, "AccessDenied");
        }
        Reply::Forward(upstream)
    });
    let mut team = Machine::new(&server.endpoint());
    // Signed for the real one, which the other one is in front of.
    team.endpoint = server.endpoint();
    let output = team.output(&["--remote", "session", "list"]);
    assert!(output.status.success(), "{output:?}");
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (named, why) = unreadable(&listed, "session_id");
    assert!(named == "secret" && why.contains("AccessDenied"), "{listed}");
    assert_eq!(listed["sessions"][0]["session_id"], "s");
    let error = team.refused(5, &["--remote", "session", "show", "secret"]);
    assert!(error["hint"].as_str().unwrap().contains("policy"), "{error}");
    let cleaned = team.output(&["--remote", "gc", "--retention-days", "0", "--min-age", "0s"]);
    assert_eq!(cleaned.status.code(), Some(5), "{cleaned:?}");
    let document: Value = serde_json::from_slice(&cleaned.stdout).unwrap();
    let failures = document["remote"]["failures"].to_string();
    assert!(
        failures.contains("session secret: it is left alone"),
        "{failures}"
    );
}

#[test]
fn what_is_not_in_the_bucket_is_said_to_be_missing_there() {
    let server = FsServer::start();
    let team = Machine::new(&server.endpoint());
    for command in [
        vec!["upgrade", "show", "nope"],
        vec!["export", "nope"],
        vec!["watch", "nope"],
        vec!["session", "show", "nope"],
        vec!["session", "show", "nope", "--history"],
        vec!["artifact", "show", "nope"],
        vec!["artifact", "url", "nope"],
        vec!["artifact", "download", "nope", "here"],
    ] {
        let remote: Vec<&str> = ["--remote"].into_iter().chain(command).collect();
        let error = team.refused(3, &remote);
        let text = error.to_string();
        assert!(text.contains("in s3://test-bucket/team"), "{remote:?}: {text}");
        assert!(
            text.contains("ekstrack --remote") && !text.contains(".cache"),
            "{remote:?}: {text}"
        );
    }
    let error = team.refused(3, &["--remote", "watch"]);
    assert!(error.to_string().contains("s3://test-bucket/team"), "{error}");
}

#[test]
fn a_cache_that_cannot_be_used_is_told_with_its_own_setting() {
    let server = FsServer::start();
    let team = Machine::new(&server.endpoint());
    let file = team.file("occupied", "no directory");
    for cache in [file.as_str(), "/proc/nowhere"] {
        let mut command = team.command(&["--json", "--remote", "upgrade", "list"]);
        let output = command.env("EKSTRACK_CACHE_DIR", cache).output().unwrap();
        assert_eq!(output.status.code(), Some(5), "{output:?}");
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        let hint = error["error"]["hint"].as_str().unwrap();
        assert!(
            hint.contains("EKSTRACK_CACHE_DIR") && !hint.contains("--data-dir"),
            "{error}"
        );
    }
}

#[test]
fn refusals_of_the_bucket_have_their_hint_where_hints_are() {
    let server = ScriptedServer::start(|_, _| Reply::error(403, "AccessDenied"));
    let team = Machine::new(&server.endpoint());
    let error = team.refused(5, &["--remote", "upgrade", "list"]);
    let (causes, hint) = (error["causes"].to_string(), error["hint"].as_str().unwrap());
    assert!(hint.contains("policy allow this operation"), "{error}");
    assert!(
        !causes.contains("policy") && causes.contains("AccessDenied"),
        "{error}"
    );
    let output = team.command(&["--remote", "upgrade", "list"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[1].starts_with("cause: ") && lines[2].starts_with(" hint: "),
        "{text}"
    );
}

#[test]
fn the_words_fit_the_cause() {
    let server = ScriptedServer::start(|_, _| Reply::error(400, "ExpiredToken"));
    let team = Machine::new(&server.endpoint());
    let error = team.refused(5, &["--remote", "upgrade", "list"]);
    assert!(
        error["hint"].as_str().unwrap().contains("renew the credentials"),
        "{error}"
    );
    let causes = error["causes"].to_string();
    assert!(
        causes.contains("ExpiredToken") && !causes.contains("settings"),
        "{error}"
    );
}

#[test]
fn refusals_of_the_bus_have_their_hint_there_too() {
    let server = ScriptedServer::start(|_, _| Reply::Answer {
        status: 400,
        headers: vec![("content-type".to_owned(), "application/x-amz-json-1.1".to_owned())],
        body: b"{\"__type\":\"ResourceNotFoundException\",\"message\":\"no such bus\"}".to_vec(),
    });
    let machine = Machine::new("http://127.0.0.1:1");
    let endpoint = server.endpoint();
    machine.file(
        "ekstrack.toml",
        &format!("[eventbridge]\nbus = 'ops'\nendpoint = '{endpoint}'\n"),
    );
    let mut command = machine.command(&["--json", "demo"]);
    let output = command.env("EKSTRACK_S3", "").output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    let (causes, hint) = (error["error"]["causes"].to_string(), &error["error"]["hint"]);
    assert!(hint.as_str().unwrap().starts_with("create the bus"), "{error}");
    assert!(
        causes.contains("on bus ops") && !causes.contains("create the bus"),
        "{error}"
    );
}

/// A command that has 5 s to deliver says who did not answer, and not what was wrong at another time.
#[test]
fn a_command_says_that_the_endpoint_did_not_answer() {
    let denying = ScriptedServer::start(|_, _| Reply::error(403, "AccessDenied"));
    let mut machine = Machine::new(&denying.endpoint());
    let add = |machine: &Machine, name: &str| {
        let output = machine.output(&["session", "create", "up", "--cluster", "c", "--id", name]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let denied = add(&machine, "s");
    assert!(
        denied.contains("AccessDenied") && denied.contains("policy"),
        "{denied}"
    );
    let silent = ScriptedServer::start(|_, _| Reply::Stall);
    machine.endpoint = silent.endpoint();
    let said = machine.output(&["session", "pin", "s"]);
    let said = String::from_utf8(said.stderr).unwrap();
    let expected = format!("{} does not answer for s3://test-bucket/team", silent.endpoint());
    let lines: Vec<&str> = said.lines().collect();
    assert!(!lines.is_empty(), "{said}");
    // A sink that waits before it tries again was not asked, and says when it was refused.
    assert!(lines.iter().any(|line| line.contains(&expected)), "{said}");
    assert!(
        lines
            .iter()
            .all(|line| line.contains(&expected) || line.contains("it was refused: ")),
        "{said}"
    );
}

#[test]
fn every_problem_of_the_settings_is_told_at_once() {
    let machine = Machine::new("http://127.0.0.1:1");
    machine.file(
        "ekstrack.toml",
        "[s3]\nstorage_class = 'ATTIC'\nsse = 'rot13'\nregion = 'eu west'\nattempts = 0\n[eventbridge]\nsource = 'aws.x'\n",
    );
    let error = machine.refused(2, &["--s3", "s3://Bad_Bucket/x", "upgrade", "list"]);
    let text = error.to_string();
    for problem in [
        "ATTIC",
        "rot13",
        "eu west",
        "Bad_Bucket",
        "0 times",
        "no bus is given",
        "aws.x",
    ] {
        assert!(text.contains(problem), "{problem}: {text}");
    }
}

#[test]
fn every_setting_of_a_wrong_type_is_told_at_once() {
    let machine = Machine::new("http://127.0.0.1:1");
    let settings = "lock_timeout = 'long'\n[s3]\nurl = 's3://b'\nattempts = 'many'\nbuket = 'x'\ntags = { a = 1 }\n\
                    [eventbridge]\nsource = 'aws.x'\n";
    machine.file("ekstrack.toml", settings);
    let mut command = machine.command(&["--json", "upgrade", "list"]);
    let output = command.env("EKSTRACK_S3", "").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    for problem in [
        "lock_timeout: invalid type",
        "[s3] attempts: invalid type",
        "[s3] buket: unknown field",
        "[s3] tags: invalid type",
        // Of a section that can be read its values are looked at too.
        "aws.x",
    ] {
        assert!(text.contains(problem), "{problem}: {text}");
    }
    assert!(!text.contains("must have 3"), "{text}");
    machine.file("ekstrack.toml", "actor = 'me'\n\n[s3\n");
    let text = machine.refused(2, &["upgrade", "list"]).to_string();
    assert!(text.contains("line 3"), "{text}");
}

#[test]
fn cleaning_up_a_bucket_that_cannot_be_reached_deletes_nothing_here() {
    let server = FsServer::start();
    let (mut machine, _) = working(&server.endpoint());
    machine.ok(&["session", "complete", "s"]);
    machine.endpoint = "http://127.0.0.1:1".to_owned();
    let gc = ["--remote", "gc", "--retention-days", "0", "--min-age", "0s"];
    let error = machine.refused(5, &gc);
    assert!(error.to_string().contains("http://127.0.0.1:1"), "{error}");
    let stored = machine.home.path().join("ekstrack-data/artifacts/s/c/a.txt");
    assert!(stored.exists());
    assert_eq!(machine.ok(&["stats"])["artifacts"], 1);
}

#[test]
fn addresses_are_made_for_a_second_to_a_week() {
    let server = FsServer::start();
    let (machine, id) = working(&server.endpoint());
    for bad in ["0s", "8d", "soon", "-1h", ""] {
        machine.refused(2, &["artifact", "url", &id, &format!("--expires={bad}")]);
        let remote = ["--remote", "artifact", "url", &id, &format!("--expires={bad}")];
        machine.refused(2, &remote);
    }
    machine.ok(&["artifact", "url", &id, "--expires", "7d"]);
}

#[test]
fn words_of_archived_artifacts_are_found_unless_they_must_be_restored() {
    let real = FsServer::start();
    let (machine, id) = working(&real.endpoint());
    machine.ok(&["session", "complete", "s"]);
    // Its bytes here are freed: it is archived then, and in the bucket as it was.
    machine.ok(&["gc", "--retention-days", "0", "--min-age", "0s"]);
    machine.ok(&["sync"]);
    let team = Machine::new(&real.endpoint());
    let found = team.remote(&["search", "precious"]);
    assert_eq!(found["artifacts"][0]["artifact_id"], *id, "{found}");
    assert_eq!(found["artifacts"][0]["status"], "archived");

    let upstream = real.address();
    let server = ScriptedServer::start(move |request, _| match request.path() {
        // Its name has the artifact's id in it, for this server honours no conditions.
        path if request.method == "GET" && path.contains("/team/s/c/a") => {
            Reply::error(403, "InvalidObjectState")
        }
        _ => Reply::Forward(upstream),
    });
    let late = Machine::new(&server.endpoint());
    for _ in 0..2 {
        let output = late.output(&["--remote", "search", "precious"]);
        assert!(output.status.success(), "{output:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("1 text must be restored in S3"), "{errors}");
    }
    let asked = server.requests().into_iter();
    let asked = asked
        .filter(|request| request.path().contains("/team/s/c/a"))
        .count();
    assert_eq!(asked, 1, "it is remembered");
}

#[test]
fn sync_recovers_the_output_of_a_run_that_was_killed() {
    let server = FsServer::start();
    let (machine, _) = working(&server.endpoint());
    let script = "echo the first line; while [ ! -e go ]; do sleep 0.02; done; echo the second
        while kill -0 $PPID 2>/dev/null; do sleep 0.02; done";
    let mut run = machine.command(&["run", "up", "long", "--", "sh", "-c", script]);
    let mut run = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = BufReader::new(run.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "the first line");
    machine.file("go", "");
    // What came before this was kept before this was read.
    assert_eq!(said.next().unwrap().unwrap(), "the second");
    run.kill().unwrap();
    run.wait().unwrap();
    let synced = machine.ok(&["sync"]);
    assert!(synced["recovered"].as_u64().unwrap() >= 1, "{synced}");
    let team = Machine::new(&server.endpoint());
    let found = team.remote(&["search", "--tag", "interrupted"]);
    let found = found["artifacts"].as_array().unwrap();
    let whole = found.iter().any(|artifact| {
        let id = artifact["artifact_id"].as_str().unwrap();
        let copy = team.home.path().join(id);
        team.remote(&["artifact", "download", id, copy.to_str().unwrap()]);
        std::fs::read_to_string(copy)
            .unwrap()
            .starts_with("the first line\n")
    });
    assert!(whole, "{found:?}");
    assert_eq!(machine.ok(&["sync"])["recovered"], 0);
}
