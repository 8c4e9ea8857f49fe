//! A long history: a million events of a thousand tasks.

use std::time::{Duration, Instant};

use scenarios::stream;
use tracking_journal::{DataDir, Journal, JournalOptions};
use tracking_model::{
    Details, NewTask, PlanId, TaskAction, TaskId, TaskType, UpgradeCommand, UpgradeProgress,
};

const EVENTS: u64 = 1_000_000;

#[test]
fn fault_18_a_million_events_cost_no_more_each_and_no_more_memory() {
    let data = tempfile::tempdir().unwrap();
    let dir = DataDir::open(data.path()).unwrap();
    let journal = Journal::<UpgradeProgress>::open(&dir, stream(), JournalOptions::default()).unwrap();
    let tasks: Vec<TaskId> = (0..1_000)
        .map(|n| TaskId::new(format!("task-{n}")).unwrap())
        .collect();
    prepare(&journal, &tasks);
    let tenth = EVENTS / 10;
    // The first tenth fills the ring of recent events of every task: from then on memory may not grow.
    let (first, rss_first) = (write(&journal, &tasks, tenth), resident_kib());
    for _ in 0..8 {
        write(&journal, &tasks, tenth);
    }
    let (last, rss_last) = (write(&journal, &tasks, tenth), resident_kib());
    journal.close_blocking();
    let begin = Instant::now();
    let journal = Journal::<UpgradeProgress>::open(&dir, stream(), JournalOptions::default()).unwrap();
    let open = begin.elapsed();
    assert_eq!(
        journal.head().seq,
        2 + 1_000 + EVENTS + 1_000,
        "every task's first report starts it as well"
    );
    journal.close_blocking();
    println!(
        "FAULT row=18 name=long_history events={EVENTS} cost_ratio={:.2} rss_first_kib={rss_first} rss_last_kib={rss_last} open_ms={}",
        last.as_secs_f64() / first.as_secs_f64(),
        open.as_millis()
    );
    assert!(
        rss_last < 100 * 1024,
        "the writer stays under 100 MiB: {rss_last} KiB"
    );
}

fn prepare(journal: &Journal<UpgradeProgress>, tasks: &[TaskId]) {
    let create = UpgradeCommand::Create {
        plan_id: PlanId::new("plan").unwrap(),
        cluster_name: "cluster".into(),
        metadata: Details::NONE,
    };
    let add = tasks
        .iter()
        .map(|task| NewTask::new(task.clone(), "a task", TaskType::UpgradeStep))
        .collect();
    let start = UpgradeCommand::Start {
        phase: "phase".into(),
    };
    journal
        .submit(UpgradeCommand::All(vec![
            create,
            start,
            UpgradeCommand::AddTasks(add),
        ]))
        .wait()
        .unwrap();
}

/// Writes `events` reports with up to 256 in flight and returns how long that took.
fn write(journal: &Journal<UpgradeProgress>, tasks: &[TaskId], events: u64) -> Duration {
    let begin = Instant::now();
    let mut pending = std::collections::VecDeque::new();
    for event in 0..events {
        let task_id = tasks[usize::try_from(event).unwrap() % tasks.len()].clone();
        let action = TaskAction::Progress {
            percentage: 50.0,
            message: "half way there".into(),
            details: Details::NONE,
        };
        pending.push_back(journal.submit(UpgradeCommand::Task { task_id, action }));
        if pending.len() == 256 {
            pending.pop_front().unwrap().wait().unwrap();
        }
    }
    for pending in pending {
        pending.wait().unwrap();
    }
    begin.elapsed()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}
