//! A full disk and a limit on file sizes, both real.

use std::path::Path;
use std::process::Command;

use scenarios::{Ended, Recovered, Writer};

use crate::{in_mounts_of_its_own, writer_program};

#[test]
fn fault_10_disk_full_on_append_is_reported_and_writing_goes_on() {
    let mount = tempfile::tempdir().unwrap();
    let kept = tempfile::tempdir().unwrap();
    // The file system lives and dies with the namespace, so what it held is copied out at the end.
    let script = format!(
        "mount -t tmpfs -o size=64k none {m} && mkdir {m}/data && head -c 24576 /dev/zero > {m}/data/ballast && \
         \"$0\" \"$@\"; status=$?; cp -r {m}/data/. {k}/ && exit $status",
        m = mount.path().display(),
        k = kept.path().display(),
    );
    let data = mount.path().join("data");
    let ended = Writer::new(&data, "w")
        .with_count(120)
        .with_wrapper(in_mounts_of_its_own(&script))
        .spawn(writer_program())
        .finish();
    let full_at: Vec<u64> = full_notes(&ended);
    assert!(!full_at.is_empty(), "the disk was full: {}", ended.stderr);
    let recovered = Recovered::read(kept.path());
    let lost = recovered.lost(&ended);
    let after = ended.acked - full_at[0];
    println!(
        "FAULT row=10 name=disk_full_on_append acked={} full_at={} acked_after={after} lost={lost}",
        ended.acked, full_at[0]
    );
    assert_eq!(lost, 0);
    assert!(
        full_at[0] > 0 && after > 0,
        "it wrote before and after: {full_at:?} of {}",
        ended.acked
    );
}

fn full_notes(ended: &Ended) -> Vec<u64> {
    ended
        .notes
        .iter()
        .filter_map(|note| note.strip_prefix("full ")?.parse().ok())
        .collect()
}

#[test]
fn fault_12_short_write_is_rolled_back() {
    let data = tempfile::tempdir().unwrap();
    const LIMIT: u64 = 10_000;
    let limit = format!("--fsize={LIMIT}");
    let wrapper = ["env", "--ignore-signal=XFSZ", "prlimit", &limit];
    let ended = Writer::new(data.path(), "w")
        .with_wrapper(wrapper)
        .spawn(writer_program())
        .finish();
    assert!(!ended.status.success(), "the limit is an error");
    let journal = journal_of(data.path());
    assert!(
        journal.ends_with(b"}\n"),
        "the partial record is rolled back, not left for recovery"
    );
    let recovered = Recovered::read(data.path());
    let lost = recovered.lost(&ended);
    println!(
        "FAULT row=12 name=short_write limit={LIMIT} bytes={} acked={} recovered={} lost={lost}",
        journal.len(),
        ended.acked,
        recovered.events["w"]
    );
    assert_eq!(lost, 0);
    assert_eq!(
        recovered.events["w"], ended.acked,
        "what was refused is not there"
    );
}

fn journal_of(data_dir: &Path) -> Vec<u8> {
    std::fs::read(
        data_dir
            .join("progress")
            .join(format!("upgrade_{}.jsonl", scenarios::UPGRADE)),
    )
    .unwrap()
}

/// The tools that these tests run must be there: without them the tests would fail with less to say.
#[test]
fn tools_of_the_fault_tests_are_installed() {
    for (tool, argument) in [
        ("strace", "-V"),
        ("unshare", "--version"),
        ("prlimit", "--version"),
    ] {
        let found = Command::new(tool).arg(argument).output();
        assert!(
            found.is_ok_and(|output| output.status.success()),
            "{tool} is missing: `cargo xtask test` installs it"
        );
    }
}
