//! The search index, killed while it is built, and built by several processes at once: real processes on one file.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use serde_json::json;
use tracking_journal::{DataDir, Journal, JournalOptions};
use tracking_model::{ImportSession, Session, SessionCommand, SessionId, StreamId};

use crate::{Choices, in_mounts_of_its_own};

const SESSIONS: usize = 6;
const ARTIFACTS: usize = 700;

/// A data directory with some sessions of artifacts, each of which a search for `evidence` finds.
fn data_directory() -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let dir = DataDir::open(data.path()).unwrap();
    for session in 0..SESSIONS {
        let id = SessionId::new(format!("s{session}")).unwrap();
        let created = json!({
            "session_id": id, "name": "n", "upgrade_id": "up", "cluster_name": "c",
            "started_at": "2025-01-31T05:00:00Z", "retention_days": 30
        });
        let collection = json!({
            "collection_id": "c", "session_id": id, "name": "C", "upgrade_id": "up",
            "created_at": "2025-01-31T05:00:00Z"
        });
        let artifact = |number: usize| {
            json!({
                "artifact_id": format!("a{session}-{number}"), "session_id": id, "collection_id": "c",
                "upgrade_id": "up", "name": format!("node-{number}.log"), "description": "evidence",
                "artifact_type": "log_file", "created_at": format!("2025-01-31T05:{:02}:{:02}Z", number / 60 % 60, number % 60),
                "status": "created", "tags": ["kept"]
            })
        };
        let import = ImportSession {
            session: serde_json::from_value(json!({"session": created, "state": {}})).unwrap(),
            collections: vec![serde_json::from_value(collection).unwrap()],
            artifacts: (0..ARTIFACTS)
                .map(|number| Arc::new(serde_json::from_value(artifact(number)).unwrap()))
                .collect(),
        };
        let journal =
            Journal::<Session>::open(&dir, StreamId::Session(id), JournalOptions::default()).unwrap();
        journal
            .submit(SessionCommand::Import(Box::new(import)))
            .wait()
            .unwrap();
        journal.close_blocking();
    }
    data
}

fn indexer(data_dir: &Path) -> Child {
    indexer_with(data_dir, &[])
}

fn indexer_with(data_dir: &Path, variables: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_artifact-indexer"))
        .arg(data_dir)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for its end; tells how many it found.
fn finish(child: Child) -> usize {
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{told} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    told.lines()
        .find_map(|line| line.strip_prefix("found ")?.parse().ok())
        .unwrap()
}

#[test]
fn fault_11_an_index_that_is_killed_while_it_is_built_is_completed() {
    let mut choices = Choices::new(11);
    let (mut kills, mut lost) = (0, 0);
    let data = data_directory();
    for round in 0..10 {
        // From nothing, or from where the one before was killed.
        if round % 2 == 0 {
            for suffix in ["", "-wal", "-shm"] {
                drop(std::fs::remove_file(
                    data.path().join(format!("index.sqlite{suffix}")),
                ));
            }
        }
        let mut child = indexer(data.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed when so many batches are done and the next is under way.
        for _ in 0..choices.below(SESSIONS as u64) {
            if lines.next().is_none() {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        if round % 2 == 1 {
            lost += SESSIONS * ARTIFACTS - finish(indexer(data.path()));
        }
    }
    println!(
        "FAULT row=11 name=killed_while_indexing kills={kills} artifacts={} lost={lost}",
        SESSIONS * ARTIFACTS
    );
    assert_eq!(lost, 0);
}

#[test]
fn fault_15_several_processes_build_one_index() {
    let data = data_directory();
    let children: Vec<Child> = (0..4).map(|_| indexer(data.path())).collect();
    let found: Vec<usize> = children.into_iter().map(finish).collect();
    let differing = found
        .iter()
        .filter(|found| **found != SESSIONS * ARTIFACTS)
        .count();
    println!(
        "FAULT row=15 name=several_indexers processes={} differing={differing}",
        found.len()
    );
    assert_eq!(differing, 0, "{found:?}");
}

#[test]
fn fault_11_disk_full_while_indexing_hides_nothing_and_is_made_up_for() {
    let data = data_directory();
    let mount = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_artifact-indexer");
    // The journals and half of the index fit.
    let script = format!(
        "mount -t tmpfs -o size=4500k none {m} && cp -r {d} {m}/data && \
         {program} {m}/data; echo \"first $?\"; \
         head -c 100M /dev/zero > {m}/ballast; {program} {m}/data; echo \"second $?\"; \
         rm {m}/ballast; mount -o remount,size=64m {m} && {program} {m}/data; echo \"third $?\"; \
         stat -c 'index %s' {m}/data/index.sqlite",
        m = mount.path().display(),
        d = data.path().display(),
    );
    let output = run_script(&script);
    let (told, errors) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    // On the full disk the index is made in memory instead; on the larger one, in its file.
    let numbers = |word: &str| -> Vec<usize> {
        let of_word = told.lines().filter_map(|line| line.strip_prefix(word));
        of_word.filter_map(|number| number.trim().parse().ok()).collect()
    };
    let (found, failed) = (numbers("found "), 3 - told.matches(" 0\n").count());
    let hidden: usize = found.iter().map(|found| SESSIONS * ARTIFACTS - found).sum();
    println!("FAULT row=11 name=disk_full_while_indexing searches=3 failed={failed} hidden={hidden}");
    assert_eq!((found.len(), failed, hidden), (3, 0, 0), "{told}\n{errors}");
    assert!(numbers("index ")[0] > 1 << 20, "{told}\n{errors}");
}

/// A container may have nothing that can be written but the data directory, and so no place for temporary files.
#[test]
fn fault_11_sorting_needs_no_place_but_the_data_directory() {
    let data = data_directory();
    let script = format!(
        "for place in /var/tmp /usr/tmp /tmp; do \
             if test -d $place; then mount --bind $place $place; fi; \
         done && mount --bind {d} {d} && \
         for place in /var/tmp /usr/tmp /tmp; do \
             if test -d $place; then mount -o remount,bind,ro $place && ! touch $place/x 2> /dev/null || exit 9; fi; \
         done && cd /proc && {program} {d}",
        d = data.path().display(),
        program = env!("CARGO_BIN_EXE_artifact-indexer"),
    );
    let output = run_script(&script);
    let told = String::from_utf8_lossy(&output.stdout);
    let found = format!("found {}\n", SESSIONS * ARTIFACTS);
    let failed = usize::from(!output.status.success() || !told.ends_with(&found));
    println!("FAULT row=11 name=no_place_for_temporary_files failed={failed}");
    assert_eq!(failed, 0, "{output:?}");
}

/// SQLite takes no path for temporary files of more than 512 bytes.
#[test]
fn fault_11_sorting_goes_on_where_the_path_for_temporary_files_is_too_long() {
    let data = data_directory();
    let temporary = format!("/proc{}", "/.".repeat(300));
    let child = indexer_with(data.path(), &[("SQLITE_TMPDIR", &temporary)]);
    let lost = SESSIONS * ARTIFACTS - finish(child);
    println!("FAULT row=11 name=temporary_path_too_long lost={lost}");
    assert_eq!(lost, 0);
}

/// Runs a script that may mount things.
fn run_script(script: &str) -> Output {
    let line = in_mounts_of_its_own(script);
    Command::new(&line[0])
        .args(&line[1..])
        .env_remove("SQLITE_TMPDIR")
        .env_remove("TMPDIR")
        .output()
        .unwrap()
}
