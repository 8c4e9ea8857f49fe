//! Durable appends against the same bytes written by hand.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use scenarios::measure::{median, print};
use serde::{Serialize, Serializer};
use tracking_journal::ChainHash;
use tracking_model::{Fold, TaskChange, Timestamp, UpgradeEvent, UpgradeProgress};
use uuid::Uuid;

use super::workload::{UpgradeJournal, prepared, report, write};

const ROUNDS: usize = 7;

/// The lines that the journal wrote, for the raw side to write again.
fn lines(data_dir: &Path) -> Vec<Vec<u8>> {
    let path = tracking_journal::DataDir::existing(data_dir)
        .unwrap()
        .journal_path(&scenarios::stream());
    std::fs::read(path)
        .unwrap()
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

/// One caller, each event durable before the next, against write and fdatasync of the same bytes.
pub(crate) fn one_caller() {
    const EVENTS: usize = 1_000;
    let data = tempfile::tempdir().unwrap();
    let journal = prepared(data.path(), 10);
    let mut ratios = Vec::new();
    let (mut ours, mut raws) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let begin = Instant::now();
        (0..10).for_each(|task| one_by_one(&journal, task, EVENTS / 10));
        let own = begin.elapsed();
        let lines: Vec<_> = lines(data.path()).into_iter().rev().take(EVENTS).collect();
        let mut file = File::create(data.path().join(format!("raw-{round}"))).unwrap();
        let begin = Instant::now();
        for line in &lines {
            file.write_all(line).unwrap();
            file.sync_data().unwrap();
        }
        let raw = begin.elapsed();
        ratios.push(raw.as_secs_f64() / own.as_secs_f64());
        ours.push(EVENTS as f64 / own.as_secs_f64());
        raws.push(EVENTS as f64 / raw.as_secs_f64());
    }
    journal.close_blocking();
    let details = format!(
        "{:.0} events/s, write + fdatasync {:.0}/s",
        median(ours),
        median(raws)
    );
    print(
        "one caller, durable, of write + fdatasync",
        median(ratios),
        ">= 0.80",
        &details,
    );
}

/// 64 callers, each waiting for its event, against a bare group commit of the same bytes.
pub(crate) fn many_callers() {
    const CALLERS: usize = 64;
    const EVENTS: usize = 1_000;
    let data = tempfile::tempdir().unwrap();
    let journal = prepared(data.path(), CALLERS);
    let line = lines(data.path()).pop().unwrap();
    let (mut ratios, mut ours, mut raws) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let own = callers(CALLERS, |caller| one_by_one(&journal, caller, EVENTS));
        let group = GroupCommit::start(File::create(data.path().join(format!("raw-{round}"))).unwrap());
        let raw = callers(CALLERS, |_| (0..EVENTS).for_each(|_| group.append(&line)));
        group.stop();
        let rate = |seconds: f64| (CALLERS * EVENTS) as f64 / seconds;
        ratios.push(raw / own);
        ours.push(rate(own));
        raws.push(rate(raw));
    }
    journal.close_blocking();
    let details = format!(
        "{:.0} events/s, bare group commit {:.0}/s",
        median(ours),
        median(raws)
    );
    print(
        "64 callers, durable, of a bare group commit",
        median(ratios),
        ">= 0.60",
        &details,
    );
}

fn one_by_one(journal: &UpgradeJournal, task: usize, events: usize) {
    let command = report(task);
    for _ in 0..events {
        drop(journal.submit_blocking(command.clone()).unwrap());
    }
}

/// Runs `work` on so many threads and returns the seconds until the last ended.
fn callers(count: usize, work: impl Fn(usize) + Sync) -> f64 {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..count {
            let work = &work;
            scope.spawn(move || work(caller));
        }
    });
    begin.elapsed().as_secs_f64()
}

/// The least that a group commit is: one thread that writes and syncs whatever waits.
struct GroupCommit {
    shared: Arc<(Mutex<Group>, Condvar, Condvar)>,
    thread: std::thread::JoinHandle<()>,
}

#[derive(Default)]
struct Group {
    waiting: Vec<u8>,
    queued: u64,
    synced: u64,
    stopped: bool,
}

impl GroupCommit {
    fn start(mut file: File) -> Self {
        let shared = Arc::new((Mutex::new(Group::default()), Condvar::new(), Condvar::new()));
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let (group, work, done) = &*of_thread;
            let mut buffer = Vec::new();
            loop {
                let mut guard = work
                    .wait_while(group.lock().unwrap(), |g| g.waiting.is_empty() && !g.stopped)
                    .unwrap();
                if guard.waiting.is_empty() {
                    return;
                }
                buffer.clear();
                std::mem::swap(&mut guard.waiting, &mut buffer);
                let upto = guard.queued;
                drop(guard);
                file.write_all(&buffer).unwrap();
                file.sync_data().unwrap();
                group.lock().unwrap().synced = upto;
                done.notify_all();
            }
        });
        Self { shared, thread }
    }

    fn append(&self, line: &[u8]) {
        let (group, work, done) = &*self.shared;
        let mut guard = group.lock().unwrap();
        guard.waiting.extend_from_slice(line);
        guard.queued += 1;
        let mine = guard.queued;
        work.notify_one();
        drop(done.wait_while(guard, |g| g.synced < mine).unwrap());
    }

    fn stop(self) {
        self.shared.0.lock().unwrap().stopped = true;
        self.shared.1.notify_all();
        self.thread.join().unwrap();
    }
}

/// 4 callers, each with 256 events in flight, against serialising the same records alone.
pub(crate) fn in_flight() {
    const EVENTS: usize = 100_000;
    const CALLERS: usize = 4;
    let data = tempfile::tempdir().unwrap();
    let journal = prepared(data.path(), 100);
    let change = a_change();
    let (mut ratios, mut ours, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let own = callers(CALLERS, |_| write(&journal, 100, EVENTS, 256));
        let begin = Instant::now();
        serialise(&change, CALLERS * EVENTS);
        let serialised = begin.elapsed().as_secs_f64();
        let rate = |seconds: f64| (CALLERS * EVENTS) as f64 / seconds;
        ratios.push(serialised / own);
        ours.push(rate(own));
        alone.push(rate(serialised));
    }
    journal.close_blocking();
    let details = format!(
        "{:.0} events/s, serialising alone {:.0}/s",
        median(ours),
        median(alone)
    );
    print(
        "4 callers with 256 in flight, durable, of serialising alone",
        median(ratios),
        ">= 0.30",
        &details,
    );
}

/// The event that a report causes.
fn a_change() -> TaskChange {
    let data = tempfile::tempdir().unwrap();
    let journal = prepared(data.path(), 1);
    let events = journal
        .read(|state: &UpgradeProgress, _| state.check(report(0), Timestamp::EPOCH))
        .unwrap();
    journal.close_blocking();
    match events.into_iter().next() {
        Some(UpgradeEvent::Task(_, change)) => change,
        other => panic!("a report causes a task event, not {other:?}"),
    }
}

#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    stream: &'a str,
    epoch: Uuid,
    seq: usize,
    batch: usize,
    id: Uuid,
    at: Timestamp,
    actor: &'a str,
    r#type: &'a str,
    data: &'a TaskChange,
    #[serde(serialize_with = "as_text")]
    hash: ChainHash,
}

fn as_text<S: Serializer>(hash: &ChainHash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(hash)
}

/// Serialises `events` records of typed values with serde_json, without making ids, hashing, chaining or writing them.
fn serialise(change: &TaskChange, events: usize) {
    let id = tracking_model::new_uuid();
    let at = Timestamp::from_micros(1_738_301_101_056_236);
    let hash = ChainHash::genesis(&scenarios::stream(), id);
    let mut buffer = Vec::with_capacity(1 << 20);
    for seq in 0..events {
        if buffer.len() > 1 << 19 {
            buffer.clear();
        }
        let line = Line {
            v: 1,
            stream: "upgrade:fault-upgrade",
            epoch: id,
            seq,
            batch: seq,
            id,
            at,
            actor: "bench",
            r#type: "task.progress",
            data: change,
            hash,
        };
        serde_json::to_writer(&mut buffer, &line).unwrap();
        buffer.push(b'\n');
    }
    std::hint::black_box(&buffer);
}
