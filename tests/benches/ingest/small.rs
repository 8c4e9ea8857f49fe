//! 10,000 files of 4 KiB through the batch call.

use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

use artifact_core::{NewFile, VerifyScope};
use scenarios::measure::{median, print};

use super::workload::{Bench, cp_and_sync, settle};

const FILES: u32 = 10_000;
const ROUNDS: usize = 5;

/// Durable, against `cp` of the same files and one sync of the file system.
pub(crate) fn small() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    fs::create_dir(&source).unwrap();
    for number in 0..FILES {
        let mut bytes = vec![b'x'; 4096];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        fs::write(source.join(format!("node-{number}.log")), bytes).unwrap();
    }
    let (mut ratios, mut ours, mut copies, mut verifying) = (vec![], vec![], vec![], vec![]);
    // Nothing is removed before the end: ext4 is slow to reuse what was freed a moment ago, which would hit whoever
    // comes second.
    for round in 0..ROUNDS {
        settle(temp.path());
        let copy = temp.path().join(format!("copy-{round}"));
        let cp = || {
            let sync = || rustix::fs::syncfs(File::open(&copy).unwrap()).unwrap();
            cp_and_sync(&["-r"], &source, &copy, sync).as_secs_f64()
        };
        let data = temp.path().join(format!("data-{round}"));
        let (cp, (own, verified)) = if round % 2 == 0 {
            let cp = cp();
            settle(temp.path());
            (cp, add(&source, &data))
        } else {
            let own = add(&source, &data);
            settle(temp.path());
            (cp(), own)
        };
        ratios.push(cp / own);
        ours.push(f64::from(FILES) / own);
        copies.push(f64::from(FILES) / cp);
        verifying.push(f64::from(FILES) / verified);
    }
    let details = format!(
        "{:.0} files/s, cp and one sync {:.0}/s, verified {:.0}/s",
        median(ours),
        median(copies),
        median(verifying)
    );
    print(
        "10,000 files of 4 KiB, durable, of cp and one sync",
        median(ratios),
        ">= 0.40",
        &details,
    );
}

/// Seconds to add them and to verify them.
fn add(source: &Path, data: &Path) -> (f64, f64) {
    let bench = Bench::open(data);
    let mut files: Vec<_> = fs::read_dir(source)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let files = files.into_iter().map(NewFile::new).collect();
    let begin = Instant::now();
    let added = bench
        .manager
        .add_artifacts(&bench.session, &bench.collection, files, |_| {});
    let added = bench.runtime.block_on(added);
    let own = begin.elapsed();
    assert!(added.iter().all(Result::is_ok));
    let begin = Instant::now();
    let report = bench
        .runtime
        .block_on(bench.manager.verify_artifacts(VerifyScope::All, |_| {}));
    assert!(report.unwrap().is_clean());
    (own.as_secs_f64(), begin.elapsed().as_secs_f64())
}
