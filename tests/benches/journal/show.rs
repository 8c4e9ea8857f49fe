//! The command as a whole.

use std::process::Command;

use scenarios::measure::{median, print, released_ekstrack, seconds_of};

use super::workload::{prepared, write};

/// `ekstrack --json upgrade show` of an upgrade of 100,000 events.
pub(crate) fn show() {
    let program = released_ekstrack();
    let data = tempfile::tempdir().unwrap();
    let journal = prepared(data.path(), 200);
    write(&journal, 200, 100_000, 256);
    journal.close_blocking();
    let mut command = Command::new(program);
    command
        .arg("--data-dir")
        .arg(data.path())
        .args(["--json", "upgrade", "show", scenarios::UPGRADE]);
    print(
        "ekstrack --json upgrade show, ms",
        median(seconds_of(&mut command)) * 1e3,
        "< 50",
        "100,000 events, 200 tasks",
    );
}
