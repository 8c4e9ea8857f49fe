//! The command as a whole.

use std::process::Command;
use std::time::Instant;

use super::workload::{median, prepared, print, write};

/// `ekstrack --json upgrade show` of an upgrade of 100,000 events.
pub(crate) fn show() {
    let cargo = env!("CARGO");
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "tracking-cli"])
        .status()
        .unwrap();
    assert!(built.success(), "the command builds");
    let program = std::env::current_exe()
        .unwrap()
        .ancestors()
        .nth(2)
        .unwrap()
        .join("ekstrack");
    let data = tempfile::tempdir().unwrap();
    let journal = prepared(data.path(), 200);
    write(&journal, 200, 100_000, 256);
    journal.close_blocking();
    let seconds = (0..15)
        .map(|_| {
            let mut command = Command::new(&program);
            command.arg("--data-dir").arg(data.path()).args([
                "--json",
                "upgrade",
                "show",
                scenarios::UPGRADE,
            ]);
            let begin = Instant::now();
            let output = command.output().unwrap();
            let took = begin.elapsed().as_secs_f64();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            took
        })
        .collect();
    print(
        "ekstrack --json upgrade show, ms",
        median(seconds) * 1e3,
        "< 50",
        "100,000 events, 200 tasks",
    );
}
