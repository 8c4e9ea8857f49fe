//! One file of 1 GiB that is in the page cache.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use artifact_core::{NewFile, VerifyScope};
use scenarios::measure::{median, print};
use sha2::{Digest, Sha256};

use super::workload::{Bench, cp_and_sync, settle};

const BYTES: u64 = 1 << 30;
const ROUNDS: usize = 7;

/// Copied and hashed, against SHA-256 in memory; durable, against `cp` and a sync of the file; verified, against SHA-256.
pub(crate) fn large() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    write_source(&source);
    let (mut hashing, mut copying, mut adding, mut copies) = (vec![], vec![], vec![], vec![]);
    let (mut seconds, mut least, mut verifying) = (vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let hash = sha_in_memory();
        settle(temp.path());
        let copy = temp.path().join(format!("copy-{round}"));
        let cp = cp_and_sync(&[], &source, &copy, || {
            File::open(&copy).unwrap().sync_all().unwrap()
        });
        fs::remove_file(&copy).unwrap();
        // Identical content would be stored once.
        change(&source, round);
        settle(temp.path());
        let data = temp.path().join(format!("data-{round}"));
        let (copied, added, verified) = add(&data, &source);
        fs::remove_dir_all(&data).unwrap();
        hashing.push(hash.as_secs_f64());
        copying.push(hash.as_secs_f64() / copied.as_secs_f64());
        adding.push(added.as_secs_f64() / cp.as_secs_f64());
        copies.push(cp.as_secs_f64());
        seconds.push(added.as_secs_f64());
        least.push(added.as_secs_f64() / hash.as_secs_f64());
        verifying.push(hash.as_secs_f64() / verified.as_secs_f64());
    }
    let gigabytes = BYTES as f64 / 1e9 / median(hashing);
    let details = format!("SHA-256 in memory {gigabytes:.2} GB/s");
    print(
        "1 GiB copied and hashed, of SHA-256 in memory",
        median(copying),
        "reported",
        &details,
    );
    let details = format!(
        "{:.2} s, {:.2} of SHA-256 alone; cp and a sync of the file {:.2} s",
        median(seconds),
        median(least),
        median(copies)
    );
    print(
        "1 GiB added, durable, times of cp and a sync",
        median(adding),
        "<= 1.40",
        &details,
    );
    print(
        "1 GiB verified, of SHA-256 in memory",
        median(verifying),
        "reported",
        "one file, one thread",
    );
}

fn write_source(path: &Path) {
    let mut file = File::create(path).unwrap();
    let mut piece = vec![0_u8; 1 << 20];
    for number in 0..BYTES >> 20 {
        let mut seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for word in piece.chunks_exact_mut(8) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            word.copy_from_slice(&seed.to_le_bytes());
        }
        file.write_all(&piece).unwrap();
    }
    file.sync_all().unwrap();
}

fn change(path: &Path, round: usize) {
    use std::os::unix::fs::FileExt;
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(&round.to_le_bytes(), 0).unwrap();
    file.sync_all().unwrap();
}

fn sha_in_memory() -> Duration {
    let piece = vec![7_u8; 64 << 20];
    let begin = Instant::now();
    let mut hasher = Sha256::new();
    for _ in 0..BYTES >> 26 {
        hasher.update(&piece);
    }
    std::hint::black_box(hasher.finalize());
    begin.elapsed()
}

/// How long it took until all was copied and hashed, until it was acknowledged, and to verify it.
fn add(data: &Path, source: &Path) -> (Duration, Duration, Duration) {
    let bench = Bench::open(data);
    let copied = Arc::new(Mutex::new(None));
    let begin = Instant::now();
    let note = Arc::clone(&copied);
    let progress = move |progress: artifact_core::AddProgress| {
        let mut copied = note.lock().unwrap();
        if progress.bytes == BYTES && copied.is_none() {
            *copied = Some(begin.elapsed());
        }
    };
    let file = NewFile::new(source);
    let added = bench
        .manager
        .add_file(&bench.session, &bench.collection, file, progress);
    let artifact = bench.runtime.block_on(added).unwrap();
    let acknowledged = begin.elapsed();
    let copied = copied.lock().unwrap().unwrap();
    let begin = Instant::now();
    let scope = VerifyScope::Artifact(artifact.artifact_id.clone());
    let report = bench
        .runtime
        .block_on(bench.manager.verify_artifacts(scope, |_| {}));
    assert!(report.unwrap().is_clean());
    (copied, acknowledged, begin.elapsed())
}
