//! Adding artifacts: killed at each step, and with a disk that fills up.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use artifact_core::{ArtifactQuery, ManagerOptions, Problem, TestArtifactsManager, VerifyScope};
use tracking_journal::DataDir;

use crate::{adder_program, in_mounts_of_its_own};

/// What is in a data directory after an end of any kind.
struct Found {
    ids: BTreeSet<String>,
    extra: usize,
    wrong: usize,
    half: usize,
}

fn look(data_dir: &Path) -> Found {
    let manager = TestArtifactsManager::new(DataDir::open(data_dir).unwrap(), ManagerOptions::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let everything = ArtifactQuery::new().with_limit(1_000);
    let found = runtime.block_on(manager.search_artifacts(everything)).unwrap();
    let report = runtime
        .block_on(manager.verify_artifacts(VerifyScope::All, |_| {}))
        .unwrap();
    assert!(report.unreadable.is_empty(), "{report:?}");
    let extra = report
        .findings
        .iter()
        .filter(|one| matches!(one.problem, Problem::Extra { .. }))
        .count();
    let incoming = fs::read_dir(data_dir.join("artifacts/s/.incoming"));
    Found {
        ids: found
            .artifacts
            .iter()
            .map(|artifact| artifact.artifact_id.to_string())
            .collect(),
        extra,
        wrong: report.findings.len() - extra,
        half: incoming.map_or(0, Iterator::count),
    }
}

fn acked(output: &Output) -> BTreeSet<String> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    stdout
        .lines()
        .filter_map(|line| Some(line.strip_prefix("acked ")?.to_owned()))
        .collect()
}

/// System calls of an add after which something is there, or durable, that was not before.
const POINTS: [&str; 7] = [
    "linkat",
    "fsync",
    "fdatasync",
    "syncfs",
    "mkdirat",
    "pwrite64",
    "rename",
];

#[test]
fn fault_13_an_add_that_is_killed_at_any_step_leaves_nothing_half() {
    let sources = tempfile::tempdir().unwrap();
    // As many as are made durable together.
    for number in 0..9_u8 {
        fs::write(sources.path().join(format!("{number}.log")), [number; 100]).unwrap();
    }
    let (mut points, mut lost, mut most_extra) = (0, 0, 0);
    for call in POINTS {
        // Each of the first steps, and then ever fewer of those that repeat them.
        let mut nth = 1;
        loop {
            let data = tempfile::tempdir().unwrap();
            let inject = format!("inject={call}:signal=KILL:when={nth}");
            let output = Command::new("strace")
                .args([
                    "-f",
                    "-qq",
                    "-o",
                    "/dev/null",
                    "-e",
                    &format!("trace={call}"),
                    "-e",
                    &inject,
                ])
                .arg(adder_program())
                .args([data.path(), sources.path()])
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(!stderr.contains("strace:"), "strace works here: {stderr}");
            if output.status.success() {
                break;
            }
            points += 1;
            let found = look(data.path());
            lost += acked(&output).difference(&found.ids).count();
            assert_eq!(
                (found.wrong, found.half),
                (0, 0),
                "{call} {nth}: nothing half is kept"
            );
            most_extra = most_extra.max(found.extra);
            let again = Command::new(adder_program())
                .args([data.path(), sources.path()])
                .output()
                .unwrap();
            assert!(again.status.success(), "{call} {nth}: it goes on");
            nth += 1 + nth / 4;
        }
    }
    println!(
        "FAULT row=13 name=add_killed_at_each_step points={points} lost={lost} half=0 most_extra={most_extra}"
    );
    assert_eq!(lost, 0);
    assert!(points >= 20, "adding syncs and links: {points}");
}

#[test]
fn fault_11_a_disk_that_fills_up_keeps_no_part_of_a_file() {
    let (mount, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sources = tempfile::tempdir().unwrap();
    let file = |name: &str, size: usize| fs::write(sources.path().join(name), vec![name.as_bytes()[0]; size]);
    file("a-small", 50_000).unwrap();
    file("b-too-large", 12 << 20).unwrap();
    file("c-small", 60_000).unwrap();
    // The file system lives and dies with the namespace, so what it held is copied out at the end.
    let script = format!(
        "mount -t tmpfs -o size=4m none {m} && \"$0\" {m}/data \"$1\"; status=$?; cp -a {m}/data/. {k}/ && exit $status",
        m = mount.path().display(),
        k = kept.path().display(),
    );
    let line = in_mounts_of_its_own(&script);
    let output = Command::new(&line[0])
        .args(&line[1..])
        .arg(adder_program())
        .arg(sources.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let refused = stdout
        .lines()
        .filter(|line| *line == "failed b-too-large Full")
        .count();
    let found = look(kept.path());
    println!(
        "FAULT row=11 name=disk_full_while_copying acked={} refused={refused} partial={}",
        found.ids.len(),
        found.wrong + found.extra + found.half
    );
    assert_eq!((acked(&output), refused), (found.ids, 2), "{stdout}");
    assert_eq!((found.wrong, found.extra, found.half), (0, 0, 0));
}
