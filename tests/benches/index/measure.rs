//! The measurements.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use artifact_core::{ArtifactIndex, ArtifactQuery, ManagerOptions, TestArtifactsManager};
use artifact_index::SqliteIndex;
use scenarios::measure::{
    median, output_of, peak_memory_kib, print, released_ekstrack, seconds_of, this_program,
};
use tracking_journal::DataDir;

use super::dataset::{Numbers, create};
use super::queries::KINDS;

const SAMPLES: usize = 101;

/// 100,000 artifacts: building, queries, the command.
pub(crate) fn small() {
    let data = tempfile::tempdir().unwrap();
    create(data.path(), 100_000);
    build(data.path(), 100_000, 3);
    queries(data.path(), "100,000", (5.0, 80.0));
    command(data.path());
}

/// 1,000,000 artifacts: building, queries, memory.
pub(crate) fn large() {
    let data = tempfile::tempdir().unwrap();
    create(data.path(), 1_000_000);
    build(data.path(), 1_000_000, 1);
    queries(data.path(), "1,000,000", (50.0, 1000.0));
}

fn index_path(data_dir: &Path) -> PathBuf {
    data_dir.join("index.sqlite")
}

/// Has a process of its own build the index and ask one query of each kind; tells seconds and MB of memory.
fn built(data_dir: &Path) -> (f64, f64) {
    let index = index_path(data_dir);
    if index.exists() {
        std::fs::remove_file(&index).unwrap();
    }
    let mut child = this_program();
    child.arg("--child").arg(data_dir);
    let answer = output_of(&mut child);
    let mut numbers = answer
        .split_whitespace()
        .map(|number| number.parse::<f64>().unwrap());
    let (seconds, kib) = (numbers.next().unwrap(), numbers.next().unwrap());
    (seconds, kib * 1024.0 / 1e6)
}

/// Building the index from the journals.
fn build(data_dir: &Path, count: usize, rounds: usize) {
    let mut times = Vec::new();
    let mut memory: f64 = 0.0;
    for _ in 0..rounds {
        let (seconds, megabytes) = built(data_dir);
        times.push(seconds);
        memory = memory.max(megabytes);
    }
    let (fastest, slowest) = times.iter().fold((f64::MAX, 0.0_f64), |(least, most), time| {
        (least.min(*time), most.max(*time))
    });
    let (per_second, of) = (|seconds: f64| count as f64 / seconds, count);
    let megabytes = std::fs::metadata(index_path(data_dir)).unwrap().len() / 1_000_000;
    print(
        "building the index, artifacts/s",
        per_second(median(times.clone())),
        ">= 10000",
        &format!(
            "{of} artifacts with 1 KiB of text, {megabytes} MB, {rounds} times, {:.0} to {:.0}",
            per_second(slowest),
            per_second(fastest)
        ),
    );
    print(
        "peak memory of a manager that builds and searches, MB",
        memory,
        "< 200",
        &format!("{of} artifacts"),
    );
}

/// Runs in a process of its own: prints the seconds that building took, and its peak memory in KiB.
pub(crate) fn child(data_dir: &Path) {
    let dir = DataDir::existing(data_dir).unwrap();
    let index = SqliteIndex::new(index_path(data_dir));
    let manager = TestArtifactsManager::new(dir, ManagerOptions::default().with_index(Arc::new(index)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let begin = Instant::now();
    let unreadable = runtime.block_on(manager.update_index(|_| {})).unwrap();
    assert!(unreadable.is_empty());
    let building = begin.elapsed().as_secs_f64();
    let mut numbers = Numbers::new(1);
    for (_, kind) in KINDS {
        runtime
            .block_on(manager.search_artifacts(kind(&mut numbers)))
            .unwrap();
    }
    runtime
        .block_on(manager.artifact_statistics(ArtifactQuery::new()))
        .unwrap();
    println!("{building} {}", peak_memory_kib());
}

/// Each kind of query, in the index alone.
fn queries(data_dir: &Path, count: &str, (aim, ranked_aim): (f64, f64)) {
    let index = SqliteIndex::new(index_path(data_dir));
    // Ranking reads the records of up to 10,000 matches, whatever the index does.
    let (mut slowest, mut slowest_ranked): ((f64, &str), (f64, &str)) = ((0.0, ""), (0.0, ""));
    let mut show = |name: &'static str, mut times: Vec<f64>, found: usize| {
        times.sort_by(f64::total_cmp);
        let (p50, p90) = (times[times.len() / 2], times[times.len() * 9 / 10]);
        let slowest = if name.starts_with("ranked") {
            &mut slowest_ranked
        } else {
            &mut slowest
        };
        if p50 > slowest.0 {
            *slowest = (p50, name);
        }
        println!("  {name}: p50 {p50:.3} ms, p90 {p90:.3} ms, {found} found");
    };
    println!("queries over {count} artifacts, 50 of them returned");
    for (name, kind) in KINDS {
        let mut numbers = Numbers::new(42);
        let mut found = 0;
        let mut times = Vec::new();
        for _ in 0..SAMPLES {
            let query = kind(&mut numbers);
            let begin = Instant::now();
            found = found.max(index.query(&query).unwrap().artifacts.len());
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        show(name, times, found);
    }
    let mut query = ArtifactQuery::new().with_limit(50);
    let pages = (0..SAMPLES).map(|_| {
        let begin = Instant::now();
        query.after = index.query(&query).unwrap().next;
        begin.elapsed().as_secs_f64() * 1e3
    });
    let pages = pages.collect();
    show("page after page", pages, 50);
    let all = ArtifactQuery::new();
    let counts = (0..SAMPLES).map(|_| {
        let begin = Instant::now();
        index.statistics(&all).unwrap();
        begin.elapsed().as_secs_f64() * 1e3
    });
    let counts = counts.collect();
    show("statistics of everything", counts, 0);
    for (kind, (p50, name), aim) in [
        ("query", slowest, aim),
        ("ranked query", slowest_ranked, ranked_aim),
    ] {
        print(
            &format!("slowest kind of {kind} over {count}, p50, ms"),
            p50,
            &format!("<= {aim:.2}"),
            name,
        );
    }
}

/// `ekstrack search` as a whole.
fn command(data_dir: &Path) {
    let mut command = Command::new(released_ekstrack());
    command
        .arg("--data-dir")
        .arg(data_dir)
        .args(["search", "ready", "node"]);
    print(
        "ekstrack search, ms",
        median(seconds_of(&mut command)) * 1e3,
        "< 100",
        "100,000 artifacts",
    );
}
