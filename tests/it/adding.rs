//! Adding artifacts: killed at each step, and with a disk that fills up.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

use artifact_core::{ArtifactQuery, ManagerOptions, Problem, TestArtifactsManager, VerifyScope};
use tracking_journal::DataDir;

use crate::machine::ekstrack;
use crate::{adder_program, in_mounts_of_its_own};

/// What is in a data directory after an end of any kind.
struct Found {
    ids: BTreeSet<String>,
    extra: usize,
    wrong: usize,
    unfinished: usize,
    half: usize,
    outputs: usize,
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
    // A staged file that its killed writer left is unfinished, and must be called so.
    let half = |entry: &fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut unfinished = report.unfinished.iter();
        let is_unfinished = unfinished.any(|path| path.rsplit('/').next() == Some(name.as_str()));
        !name.starts_with("live~") && entry.metadata().unwrap().nlink() == 1 && !is_unfinished
    };
    let is_output = |name: &str| ["output.log", "interrupted-output.log"].contains(&name);
    Found {
        unfinished: report.unfinished.len(),
        outputs: found
            .artifacts
            .iter()
            .filter(|artifact| is_output(&artifact.name))
            .count(),
        ids: found
            .artifacts
            .iter()
            .map(|artifact| artifact.artifact_id.to_string())
            .collect(),
        extra,
        wrong: report.findings.len() - extra,
        half: incoming.map_or(0, |all| all.flatten().filter(half).count()),
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
const POINTS: [&str; 9] = [
    "linkat",
    "fsync",
    "fdatasync",
    "syncfs",
    "mkdirat",
    "pwrite64",
    "rename",
    "unlinkat",
    "fchmod",
];

#[test]
fn fault_13_an_add_that_is_killed_at_any_step_leaves_nothing_half() {
    let sources = tempfile::tempdir().unwrap();
    // As many as are made durable together.
    for number in 0..9_u8 {
        fs::write(sources.path().join(format!("{number}.log")), [number; 100]).unwrap();
    }
    let (mut points, mut lost, mut unfinished) = (0, 0, 0);
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
                (found.wrong, found.half, found.extra),
                (0, 0, 0),
                "{call} {nth}: nothing half is kept, and what is unfinished is called so"
            );
            unfinished += usize::from(found.unfinished > 0);
            let again = Command::new(adder_program())
                .args([data.path(), sources.path()])
                .output()
                .unwrap();
            assert!(again.status.success(), "{call} {nth}: it goes on");
            let whole = look(data.path());
            assert_eq!(
                (whole.wrong, whole.half, whole.extra, whole.unfinished),
                (0, 0, 0, 0),
                "{call} {nth}: who adds next takes up what is unfinished"
            );
            // All that was written is recorded, and nothing twice.
            let written = String::from_utf8_lossy(&output.stdout).contains("written\n");
            assert!(
                whole.outputs == 2 || (whole.outputs == 1 && !written),
                "{call} {nth}: {} outputs of which one was written: {written}",
                whole.outputs
            );
            let incoming = fs::read_dir(data.path().join("artifacts/s/.incoming"));
            assert_eq!(incoming.map_or(0, Iterator::count), 0, "{call} {nth}");
            nth += 1 + nth / 4;
        }
    }
    println!(
        "FAULT row=13 name=add_killed_at_each_step points={points} lost={lost} half=0 extra=0 unfinished={unfinished}"
    );
    assert_eq!(lost, 0);
    assert!(points >= 20, "adding syncs and links: {points}");
    assert!(unfinished >= 5, "some die between name and record: {unfinished}");
}

/// A session of the Python implementation with some files, as it lies in its directory.
fn write_reference(base: &Path, names: &[String]) {
    fs::create_dir_all(base.join("old/c1")).unwrap();
    let artifact = |name: &str| {
        let path = base.join("old/c1").join(name);
        fs::write(&path, name.repeat(50)).unwrap();
        serde_json::json!({
            "artifact_id": name, "name": name, "artifact_type": "log_file", "local_path": path,
            "created_at": "2025-01-31 05:25:01.056236+00:00", "status": "created", "metadata": {}, "tags": []
        })
    };
    let file = serde_json::json!({
        "session_id": "old", "name": "old", "upgrade_id": "up", "cluster_name": "prod",
        "collections": {"c1": {"collection_id": "c1", "name": "Logs", "artifacts": names.iter().map(|name| artifact(name)).collect::<Vec<_>>(),
            "created_at": "2025-01-31 05:25:01"}},
        "started_at": "2025-01-31 05:25:00+00:00", "completed_at": "2025-01-31 06:00:00+00:00",
        "base_directory": base.join("old"), "retention_days": 30
    });
    fs::write(base.join("session_old.json"), file.to_string()).unwrap();
}

/// An import that is killed leaves nothing that looks as if somebody had put it there, and the next import takes it up.
#[test]
fn fault_13_an_import_that_is_killed_at_any_step_is_repeated() {
    let base = tempfile::tempdir().unwrap();
    write_reference(base.path(), &["x.log".to_owned(), "y.log".to_owned()]);
    let (mut points, mut unfinished) = (0, 0);
    for call in [
        "linkat",
        "fsync",
        "fdatasync",
        "mkdirat",
        "pwrite64",
        "rename",
        "unlinkat",
    ] {
        for nth in 1.. {
            let home = tempfile::tempdir().unwrap();
            let data = home.path().join("data");
            let run = |words: &[&str]| {
                let (program, words) = words.split_first().unwrap();
                let mut command = Command::new(program);
                command
                    .args(words)
                    .env_clear()
                    .env("PATH", "/usr/local/bin:/usr/bin:/bin");
                command
                    .env("EKSTRACK_DATA_DIR", &data)
                    .current_dir(home.path())
                    .output()
                    .unwrap()
            };
            let ekstrack = ekstrack();
            let import = [
                ekstrack.to_str().unwrap(),
                "import",
                base.path().to_str().unwrap(),
            ];
            let (trace, inject) = (
                format!("trace={call}"),
                format!("inject={call}:signal=KILL:when={nth}"),
            );
            let strace = [
                "strace",
                "-f",
                "-qq",
                "-o",
                "/dev/null",
                "-e",
                &trace,
                "-e",
                &inject,
            ];
            if run(&[&strace[..], &import].concat()).status.success() {
                break;
            }
            points += 1;
            let found = look(&data);
            assert_eq!((found.wrong, found.extra), (0, 0), "{call} {nth}");
            unfinished += usize::from(found.unfinished > 0);
            let again = run(&import);
            assert!(again.status.success(), "{call} {nth}: {again:?}");
            let whole = look(&data);
            assert_eq!(
                (whole.ids.len(), whole.extra, whole.wrong, whole.unfinished),
                (2, 0, 0, 0),
                "{call} {nth}"
            );
            let files = fs::read_dir(data.join("artifacts/old/c1")).unwrap();
            assert_eq!(files.count(), 2, "{call} {nth}: nothing is stored twice");
        }
    }
    println!("FAULT row=13 name=import_killed_at_each_step points={points} extra=0 unfinished={unfinished}");
    assert!(
        points >= 15 && unfinished >= 3,
        "{points} points, {unfinished} with unfinished files"
    );
}

#[test]
fn an_import_of_many_files_needs_few_descriptors() {
    let home = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..300).map(|number| format!("{number}.log")).collect();
    write_reference(&home.path().join("reference"), &names);
    let script = "ulimit -n 100; exec \"$0\" --data-dir data import reference";
    let mut command = Command::new("bash");
    command
        .args(["-c", script])
        .arg(ekstrack())
        .current_dir(home.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let found = look(&home.path().join("data"));
    assert_eq!(
        (found.ids.len(), found.wrong, found.extra, found.unfinished),
        (300, 0, 0, 0)
    );
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
        found.wrong + found.extra + found.half + found.unfinished
    );
    assert_eq!((acked(&output), refused), (found.ids, 2), "{stdout}");
    assert_eq!((found.wrong, found.extra, found.half), (0, 0, 0));
}

#[test]
fn fault_13_the_output_of_a_killed_run_is_recorded_or_unfinished() {
    const WORDS: &str = "the nodes are ready";
    let (mut points, mut unfinished) = (0, 0);
    for call in ["linkat", "unlinkat", "fsync", "fdatasync"] {
        let mut nth = 1;
        loop {
            let machine = crate::machine::Machine::new("");
            let command = |args: &[&str]| {
                let mut command = machine.command(args);
                command.env_remove("EKSTRACK_S3");
                command
            };
            let done = |args: &[&str]| {
                let output = command(args).output().unwrap();
                assert!(output.status.success(), "{call} {nth}: {args:?}: {output:?}");
                String::from_utf8(output.stdout).unwrap()
            };
            done(&["upgrade", "start", "up", "--plan", "p", "--cluster", "c"]);
            let words = format!("echo {WORDS}");
            let run = command(&["run", "up", "step", "--", "sh", "-c", &words]);
            let ended = Command::new("strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:signal=KILL:when={nth}")])
                .arg(run.get_program())
                .args(run.get_args())
                .env_clear()
                .envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))))
                .current_dir(machine.home.path())
                .output()
                .unwrap();
            if ended.status.success() {
                break;
            }
            points += 1;
            unfinished += usize::from(done(&["verify"]).contains("unfinished"));
            done(&["run", "up", "next", "--", "sh", "-c", "echo done"]);
            let verified = done(&["verify"]);
            assert!(!verified.contains("unfinished"), "{call} {nth}: {verified}");
            let found: serde_json::Value =
                serde_json::from_str(&done(&["--json", "search", "--session", "up"])).unwrap();
            let all = found["artifacts"].as_array().unwrap();
            let outputs = all.iter().filter(|one| one["file_size"] == WORDS.len() + 1);
            assert!(outputs.count() <= 1, "{call} {nth}: {found}");
            nth += 1 + nth / 3;
        }
    }
    println!("FAULT row=13 name=run_killed_at_each_step points={points} unfinished={unfinished} extra=0");
    assert!(points >= 10 && unfinished >= 3, "{points} {unfinished}");
}
