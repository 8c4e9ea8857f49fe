//! What a long history costs: updates, memory, opening.

use std::path::Path;
use std::time::Instant;

use scenarios::measure::{cpu_time, median, output_of, peak_memory_kib, print, this_program};
use scenarios::stream;
use tracking_journal::{DataDir, Follower, load};
use tracking_model::UpgradeProgress;

use super::workload::{TASKS, open, prepared, write};

const MILLION: usize = 1_000_000;

/// Processor time of an update after 100,000 events against one when the journal is empty.
pub(crate) fn update_after_history() {
    const SAMPLE: usize = 20_000;
    let (fresh, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (fresh, old) = (prepared(fresh.path(), 20), prepared(old.path(), 20));
    write(&old, 20, 100_000, 256);
    let mut ratios = Vec::new();
    for round in 0..8 {
        let sample = |journal| {
            let begin = cpu_time();
            write(journal, 20, SAMPLE, 256);
            (cpu_time() - begin).as_secs_f64()
        };
        // Each goes first as often as the other: what one leaves the system to do, the next one pays for.
        ratios.push(if round % 2 == 0 {
            let fresh = sample(&fresh);
            sample(&old) / fresh
        } else {
            let old = sample(&old);
            old / sample(&fresh)
        });
    }
    fresh.close_blocking();
    old.close_blocking();
    print(
        "update after 100,000 events, of one when empty",
        median(ratios),
        "<= 1.20",
        "processor time",
    );
}

/// A million events over a thousand tasks: memory of the writer and of a watcher, and opening times.
pub(crate) fn million_events() {
    let data = tempfile::tempdir().unwrap();
    memory("writer", data.path());
    memory("watcher", data.path());
    let dir = DataDir::existing(data.path()).unwrap();
    let checkpointed = (0..5).map(|_| seconds_to_load(&dir)).collect();
    std::fs::remove_file(dir.checkpoint_path(&stream())).expect("closing wrote a checkpoint");
    let scratch = (0..5).map(|_| seconds_to_load(&dir)).collect();
    let bytes = std::fs::metadata(dir.journal_path(&stream())).unwrap().len();
    let rate = MILLION as f64 / median(scratch) / 1e6;
    print(
        "opening from scratch, million events/s",
        rate,
        ">= 1.00",
        &format!("{} MB", bytes / 1_000_000),
    );
    print(
        "opening from a checkpoint, ms",
        median(checkpointed) * 1e3,
        "< 100",
        "1,000,000 events, 1,000 tasks",
    );
}

fn seconds_to_load(dir: &DataDir) -> f64 {
    let begin = Instant::now();
    let loaded = load::<UpgradeProgress>(dir, &stream()).unwrap();
    let took = begin.elapsed().as_secs_f64();
    assert!(loaded.head.seq > MILLION as u64);
    took
}

fn memory(what: &str, data_dir: &Path) {
    let peak = output_of(this_program().arg("--child").arg(what).arg(data_dir));
    let kib: f64 = peak.trim().parse().unwrap();
    print(
        &format!("peak memory of the {what}, MB"),
        kib * 1024.0 / 1e6,
        "< 100",
        "1,000,000 events, 1,000 tasks",
    );
}

/// Runs in a process of its own and prints its peak memory in KiB.
pub(crate) fn child(what: &str, data_dir: &Path) {
    match what {
        "writer" => {
            let journal = prepared(data_dir, TASKS);
            write(&journal, TASKS, MILLION, 256);
            journal.close_blocking();
        }
        "watcher" => watch(data_dir),
        "loader" => drop(load::<UpgradeProgress>(&DataDir::existing(data_dir).unwrap(), &stream()).unwrap()),
        other => panic!("no child {other}"),
    }
    println!("{}", peak_memory_kib());
}

/// Follows the journal from its first record, as `watch` does after a resume, while another writes it.
fn watch(data_dir: &Path) {
    let dir = DataDir::existing(data_dir).unwrap();
    let mut follower = Follower::<UpgradeProgress>::open(&dir, &stream()).unwrap();
    let journal = open(data_dir);
    write(&journal, TASKS, 10_000, 256);
    let last = journal.head().seq;
    journal.close_blocking();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        while follower.head().seq < last {
            follower.next().await.unwrap();
        }
    });
}
