//! Scripts that are run again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::ekstrack::Ekstrack;

const START: [&str; 8] = [
    "upgrade",
    "start",
    "prod",
    "--plan",
    "plan-7",
    "--cluster",
    "prod-eu",
    "--if-needed",
];

#[test]
fn an_upgrade_is_started_if_that_is_needed() {
    let ekstrack = Ekstrack::new();
    let start = || ekstrack.ok(&START);
    let status = || ekstrack.json(&["upgrade", "show", "prod"])["status"].clone();
    assert_eq!(start(), "upgrade prod is started, in phase Initialization\n");
    assert_eq!(
        start(),
        "upgrade prod is started already, in phase Initialization\n"
    );
    ekstrack.ok(&["upgrade", "pause", "prod"]);
    assert!(start().contains("paused: `ekstrack upgrade resume prod`"));
    assert_eq!(status(), "PAUSED");
    ekstrack.ok(&["upgrade", "fail", "prod", "--error", "no"]);
    assert_eq!(
        start(),
        "upgrade prod had failed and is started again, in phase Initialization\n"
    );
    assert_eq!(status(), "IN_PROGRESS");
    let complete = || ekstrack.ok(&["upgrade", "complete", "prod", "--if-needed"]);
    assert_eq!(complete(), "upgrade prod is completed\n");
    let document = ekstrack.json(&START);
    assert_eq!(
        (&document["upgrade_id"], &document["status"]),
        (&"prod".into(), &"COMPLETED".into())
    );
    assert_eq!(start(), "upgrade prod is completed already\n");
    assert_eq!(complete(), "upgrade prod is completed already\n");
}

#[test]
fn another_upgrade_of_the_same_id_and_one_that_is_cancelled_are_refused() {
    let ekstrack = Ekstrack::started();
    for (plan, cluster) in [("plan-8", "prod-eu"), ("plan-7", "prod-us")] {
        let mut args = START;
        (args[4], args[6]) = (plan, cluster);
        let output = ekstrack.output(&args);
        assert_eq!(output.status.code(), Some(4));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("for plan plan-7 and cluster \"prod-eu\""), "{said}");
    }
    ekstrack.ok(&["upgrade", "cancel", "prod"]);
    let output = ekstrack.output(&START);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}

/// The script of `docs/cli.md`.
fn script() -> &'static str {
    let page = include_str!("../../../../docs/cli.md");
    let section = page.split("## Scripts that are run again").nth(1).unwrap();
    let block = section.split("```sh\n").nth(1).unwrap();
    block.split("```").next().unwrap()
}

/// Writes the steps, each into a file beside the script.
fn write_steps(home: &Path) {
    for step in ["control-plane", "nodes", "smoke"] {
        let path = home.join(format!("{step}.sh"));
        let text = format!(
            "#!/bin/sh\necho begun {step} >> steps\necho {step} at work\necho done {step} >> steps\n"
        );
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(home.join("upgrade.sh"), script()).unwrap();
}

/// Runs the script, and kills it and what it runs after `time`. Returns its status if it ended before.
fn run_for(ekstrack: &Ekstrack, time: Duration) -> Option<ExitStatus> {
    let command = ekstrack.command(&[]);
    let directory = Path::new(command.get_program()).parent().unwrap().to_owned();
    let mut script = Command::new("sh");
    script
        .arg("upgrade.sh")
        .current_dir(ekstrack.home())
        .env_clear()
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("PATH", format!("{}:/usr/bin:/bin", directory.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let mut child = script.spawn().unwrap();
    let deadline = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let group = Pid::from_child(&child);
    kill_process_group(group, Signal::KILL).unwrap();
    child.wait().unwrap();
    None
}

#[test]
fn the_script_of_the_documentation_can_be_killed_anywhere_and_run_again() {
    // A fresh upgrade each: the script is killed at ever other moments until it ends by itself.
    for round in 0..2_u64 {
        let ekstrack = Ekstrack::new();
        write_steps(ekstrack.home());
        let (mut kills, mut moment) = (0, 17 * (round + 1));
        let status = loop {
            // More time with each kill, so that it gets to its end however slow the machine is.
            moment = (moment * 7_919 + 104_729) % 180;
            let time = Duration::from_millis(moment + 10 * kills);
            if let Some(status) = run_for(&ekstrack, time) {
                break status;
            }
            kills += 1;
            assert!(kills < 1_000, "it never ends");
        };
        assert!(status.success(), "after {kills} kills: {status}");
        let steps = || fs::read_to_string(ekstrack.home().join("steps")).unwrap();
        let said = steps();
        let place = |line: &str| said.lines().position(|found| found == line).unwrap();
        assert!(place("done control-plane") < place("begun nodes"), "{said}");
        assert!(place("done nodes") < place("begun smoke"), "{said}");
        let upgrade = ekstrack.json(&["upgrade", "show", "prod-1.33"]);
        assert_eq!(
            (&upgrade["status"], &upgrade["completed_tasks"]),
            (&"COMPLETED".into(), &3.into()),
            "{upgrade}"
        );
        ekstrack.ok(&["verify", "upgrade:prod-1.33"]);
        let again = run_for(&ekstrack, Duration::from_secs(60)).unwrap();
        assert!(again.success(), "{again}");
        assert_eq!(steps(), said, "nothing is done twice");
    }
}

/// True if a process has this file open.
fn has_open(pid: u32, path: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    open.into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| target == path)
}

/// A process that was killed has its locks until the system has cleared it away.
#[test]
fn a_run_waits_for_an_earlier_one_that_is_dying() {
    let ekstrack = Ekstrack::started();
    let path = ekstrack.data().canonicalize().unwrap();
    let path = path.join("progress/upgrade_prod.runs/drain.lock");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let dying = fs::File::create(&path).unwrap();
    dying.lock().unwrap();
    let mut next = ekstrack
        .command(&["run", "prod", "drain", "--", "true"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !has_open(next.id(), &path) {
        assert!(next.try_wait().unwrap().is_none(), "it is refused at once");
        std::thread::yield_now();
    }
    drop(dying);
    let output = next.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
