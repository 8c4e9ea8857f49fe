//! One file of 512 MiB.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use scenarios::measure::median;
use storage_s3::{ProgressCallback, UploadOptions};

use super::boto3;
use super::server::Server;
use super::work::{Spent, download, make_files, print, upload};

const BYTES: usize = 512 * 1024 * 1024;
/// Even, so that each client goes first equally often.
const ROUNDS: usize = 6;

/// One direction in one round, each client in turn.
struct Round {
    ours: Spent,
    boto: Spent,
    /// Of our time, seconds that passed once all bytes were across.
    completion: f64,
}

pub(crate) fn large() {
    let server = Server::start();
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let source = tempfile::tempdir().unwrap();
    let hashes = make_files(source.path(), 1, BYTES);
    for round in 0..ROUNDS {
        let endpoint = server.endpoint();
        let boto_keys = format!("boto-{round}/c/");
        let across = Arc::new(Mutex::new(None));
        let options = UploadOptions::default().with_progress(noting(&across));
        let (mut uploaded, mut completion) = (Vec::new(), 0.0);
        provide_memory();
        let ours = server.watch(|| {
            let session = format!("large-{round}");
            let (all, spent) = upload(&endpoint, source.path(), &session, &hashes, &options);
            completion = across.lock().unwrap().unwrap().elapsed().as_secs_f64();
            uploaded = all;
            spent
        });
        let boto = |action, dir: &std::path::Path| {
            provide_memory();
            server.watch(|| boto3::run(action, &endpoint, dir, &boto_keys, 1))
        };
        up.push(Round {
            ours,
            boto: boto("upload", source.path()),
            completion,
        });
        let (target, boto_target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let our_turn = || {
            provide_memory();
            server.watch(|| download(&endpoint, target.path(), &uploaded))
        };
        let boto_turn = || boto("download", boto_target.path());
        // Each goes first in turn.
        let (ours, boto) = if round % 2 == 0 {
            let ours = our_turn();
            (ours, boto_turn())
        } else {
            let boto = boto_turn();
            (our_turn(), boto)
        };
        down.push(Round {
            ours,
            boto,
            completion: 0.0,
        });
    }
    report("up", &up, ">= 0.85");
    report("down", &down, ">= 0.85");
}

/// Has the file system use as much memory as a turn will and give it back. Else a turn waits for memory that a virtual
/// machine's host has yet to provide, which takes ten times as long as writing to it, and longer than all the rest.
fn provide_memory() {
    let mut file = tempfile::tempfile().unwrap();
    let chunk = vec![0x5a; 8 << 20];
    for _ in 0..2 * BYTES / chunk.len() {
        file.write_all(&chunk).unwrap();
    }
}

/// Notes when the last byte is across.
fn noting(across: &Arc<Mutex<Option<Instant>>>) -> ProgressCallback {
    let across = Arc::clone(across);
    ProgressCallback::new(move |progress| {
        if progress.done == progress.total {
            *across.lock().unwrap() = Some(Instant::now());
        }
    })
}

fn report(direction: &str, rounds: &[Round], target: &str) {
    let of = |value: fn(&Round) -> f64| -> Vec<f64> { rounds.iter().map(value).collect() };
    let rate = |seconds| BYTES as f64 / 1e6 / median(seconds);
    let details = format!(
        "{:.0} MB/s, boto3 {:.0} MB/s",
        rate(of(|round| round.ours.seconds)),
        rate(of(|round| round.boto.seconds))
    );
    let ratios = of(|round| round.boto.seconds / round.ours.seconds);
    print(
        &format!("512 MiB {direction}, times boto3"),
        &ratios,
        target,
        &details,
    );
    println!(
        "  CPU seconds: ours {:.2}, boto3's {:.2}; the server's {:.2} for us, {:.2} for boto3",
        median(of(|round| round.ours.cpu)),
        median(of(|round| round.boto.cpu)),
        median(of(|round| round.ours.server_cpu)),
        median(of(|round| round.boto.server_cpu)),
    );
    // What the server does for one file alone, and the rest of its work with both cores to itself.
    let least =
        |round: &Round| round.completion + (round.ours.server_cpu - round.completion).max(0.0) / cores();
    println!(
        "  the server alone needs {:.2} s of our {:.2} s ({:.2} s to complete the upload): a client that cost nothing would be {:.2} times as fast as boto3",
        median(rounds.iter().map(least).collect()),
        median(of(|round| round.ours.seconds)),
        median(of(|round| round.completion)),
        median(
            rounds
                .iter()
                .map(|round| round.boto.seconds / least(round))
                .collect()
        ),
    );
}

fn cores() -> f64 {
    std::thread::available_parallelism().unwrap().get() as f64
}
