//! Random histories: the real machine against the naive one, and what must hold after any of them.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tracking_model::{
    EventHistory, Fold, NewTask, ProgressEventMessage, RECENT_EVENTS, Rollup, Snapshot, Span, Status,
    StreamId, Summary, TaskAction, TaskTree, TaskType, Timestamp, UpgradeCommand, UpgradeEvent, UpgradeId,
    UpgradeProgress,
};

use crate::import::import;
use crate::naive::Naive;
use crate::upgrades::{Driven, START, at, create, meta, task_id, through_the_journal};

const DAY: i64 = 86_400;

fn id() -> impl Strategy<Value = String> {
    (0_u8..8).prop_map(|n| char::from(b'a' + n).to_string())
}

fn text() -> impl Strategy<Value = std::sync::Arc<str>> {
    "[a-z \"\\\\é☸\n]{1,8}".prop_map(Into::into)
}

fn phase() -> impl Strategy<Value = std::sync::Arc<str>> {
    "[A-Z][a-z é]{0,8}".prop_map(Into::into)
}

fn percentage() -> impl Strategy<Value = f64> {
    prop_oneof![8 => 0.0..=100.0, 2 => Just(100.0), 1 => -50.0..150.0, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)]
}

fn new_task() -> impl Strategy<Value = NewTask> {
    let weight = prop_oneof![4 => Just(1.0), 3 => 0.01..50.0, 1 => Just(0.0)];
    (id(), option::of(id()), weight, option::of(0_u64..5)).prop_map(|(id, parent, weight, steps)| {
        let mut task =
            NewTask::new(task_id(&id), format!("Task {id}"), TaskType::ALL[id.len() % 5]).with_weight(weight);
        task.parent_task_id = parent.map(|parent| task_id(&parent));
        task.total_steps = steps;
        task
    })
}

fn action() -> impl Strategy<Value = TaskAction> {
    let words = || option::of(text());
    prop_oneof![
        2 => words().prop_map(|message| TaskAction::Start { message }),
        6 => (percentage(), text(), option::of(0_i32..9)).prop_map(|(percentage, message, pods)| TaskAction::Progress {
            percentage,
            message,
            details: pods.map_or_else(Default::default, |pods| {
                serde_json::from_str(&format!("{{\"pods\":{pods},\"at\":[1.5,\"é\"]}}")).unwrap()
            }),
        }),
        3 => (0_u64..6, option::of(0_u64..6), words())
            .prop_map(|(done, total, current_step)| TaskAction::Steps { done, total, current_step }),
        1 => Just(TaskAction::Heartbeat),
        1 => (text(), option::of(0_i64..DAY))
            .prop_map(|(reason, until)| TaskAction::Wait { reason, until: until.map(at) }),
        2 => words().prop_map(|message| TaskAction::Complete { message }),
        2 => text().prop_map(|error| TaskAction::Fail { error }),
        2 => words().prop_map(|message| TaskAction::Retry { message }),
        1 => words().prop_map(|reason| TaskAction::Pause { reason }),
        1 => Just(TaskAction::Resume),
        1 => words().prop_map(|reason| TaskAction::Cancel { reason }),
    ]
}

fn command() -> impl Strategy<Value = UpgradeCommand> {
    let one = prop_oneof![
        20 => (id(), action()).prop_map(|(id, action)| UpgradeCommand::Task { task_id: task_id(&id), action }),
        8 => vec(new_task(), 0..4).prop_map(UpgradeCommand::AddTasks),
        3 => phase().prop_map(|phase| UpgradeCommand::Start { phase }),
        2 => phase().prop_map(|phase| UpgradeCommand::SetPhase { phase }),
        1 => option::of(text()).prop_map(|reason| UpgradeCommand::Pause { reason }),
        2 => Just(UpgradeCommand::Resume),
        1 => text().prop_map(|error| UpgradeCommand::Fail { error }),
        1 => Just(UpgradeCommand::Complete { allow_unfinished: false }),
    ];
    let rare = prop_oneof![
        Just(UpgradeCommand::Complete {
            allow_unfinished: true
        }),
        option::of(text()).prop_map(|reason| UpgradeCommand::Cancel { reason }),
        Just(create()),
    ];
    let single = prop_oneof![40 => one, 1 => rare].boxed();
    prop_oneof![12 => single.clone(), 1 => vec(single, 0..4).prop_map(UpgradeCommand::All)]
}

/// Commands with the seconds that pass before each.
pub(crate) fn history() -> impl Strategy<Value = Vec<(i64, UpgradeCommand)>> {
    vec((0_i64..400, command()), 1..80)
}

fn same(progress: &UpgradeProgress, naive: &Naive) -> Result<(), TestCaseError> {
    prop_assert_eq!(progress.exists(), naive.exists);
    prop_assert_eq!(progress.status, naive.status);
    prop_assert_eq!(progress.current_phase.as_deref(), naive.phase.as_deref());
    prop_assert_eq!(progress.retry_count, naive.retries);
    prop_assert_eq!(progress.completed_with_failures, naive.with_failures);
    prop_assert_eq!(progress.tasks().len(), naive.tasks.len());
    let rollup = Rollup::of(progress);
    prop_assert!((rollup.overall.value() - naive.overall()).abs() < 1e-6);
    for (place, task) in progress.tasks().values().enumerate() {
        let other = &naive.tasks[task.task_id.as_str()];
        prop_assert_eq!(place, other.place);
        prop_assert_eq!(
            task.parent_task_id.as_ref().map(|id| id.as_str()),
            other.parent.as_deref()
        );
        prop_assert_eq!(task.status, other.status);
        prop_assert_eq!(task.retry_count, other.retries);
        prop_assert_eq!(
            (task.completed_steps, task.total_steps),
            (other.done, other.total)
        );
        prop_assert_eq!(task.waiting_on.is_some(), other.waits);
        prop_assert_eq!(task.events.len() as u64 + task.events_omitted, other.reports);
        prop_assert!(task.events.len() <= RECENT_EVENTS);
        let shown = rollup.task(&task.task_id).unwrap().value();
        prop_assert!((shown - naive.shown(other, task.task_id.as_str())).abs() < 1e-6);
        prop_assert_eq!(shown.to_bits(), progress.task_percentage(task).value().to_bits());
        prop_assert_eq!(
            rollup.status(&task.task_id),
            Some(naive.shown_status(other, task.task_id.as_str()))
        );
        prop_assert_eq!(rollup.status(&task.task_id), Some(progress.task_status(task)));
        prop_assert!((task.percentage.value() - other.own).abs() < 1e-6);
        let depth = task
            .parent_task_id
            .as_ref()
            .map_or(1, |parent| progress.tasks()[parent].depth + 1);
        prop_assert_eq!(task.depth, depth);
    }
    Ok(())
}

/// Runs `history` on a fresh upgrade, created first.
fn run(history: Vec<(i64, UpgradeCommand)>) -> Driven {
    let mut driven = Driven::new("u");
    driven.at(0, create());
    let mut now = 0;
    for (pause, command) in history {
        now += pause;
        // Refusals are part of every history.
        drop(driven.try_at(now, command));
    }
    driven
}

proptest! {
    #[test]
    fn the_machine_does_what_the_naive_one_does(history in history(), created in any::<bool>()) {
        let mut driven = Driven::new("u");
        let mut naive = Naive::new();
        let first = created.then(|| (0, create()));
        let mut now = 0;
        for (pause, command) in first.into_iter().chain(history) {
            now += pause;
            let text = format!("{command:?}");
            let next = naive.run(&command);
            let before = driven.progress.clone();
            match (driven.try_at(now, command), next) {
                (Ok(_), Some(next)) => naive = next,
                (Err(_), None) => prop_assert_eq!(&before, &driven.progress),
                (real, next) => prop_assert!(false, "{text}: {real:?} but {next:?}"),
            }
            same(&driven.progress, &naive)?;
        }
    }

}

/// A quarter of the usual number of cases, for properties that cost more a case.
fn fewer() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: usual.cases.div_ceil(4),
        ..usual
    }
}

proptest! {
    #![proptest_config(fewer())]

    #[test]
    fn replay_is_the_live_state(history in history()) {
        let driven = run(history);
        let mut replayed = UpgradeProgress::empty(&StreamId::Upgrade(driven.progress.upgrade_id.clone()));
        let mut resumed = replayed.clone();
        for (meta, event) in &driven.events {
            let again = through_the_journal(event);
            prop_assert_eq!(&again, event);
            replayed.apply(meta, &again);
            // A checkpoint after every record changes nothing.
            resumed = serde_json::from_str(&serde_json::to_string(&resumed).unwrap()).unwrap();
            resumed.apply(meta, &again);
        }
        prop_assert_eq!(&replayed, &driven.progress);
        prop_assert_eq!(&resumed, &driven.progress);
    }

    #[test]
    fn what_goes_out_comes_back(history in history(), now in 0_i64..30_000) {
        let driven = run(history);
        let summary = Summary::of(&driven.progress, at(now));
        let json = serde_json::to_string(&summary).unwrap();
        prop_assert_eq!(serde_json::from_str::<Summary>(&json).unwrap(), summary);
        for (meta, event) in &driven.events {
            let message = ProgressEventMessage::new(&driven.progress.upgrade_id, meta, event);
            prop_assert_eq!(message.is_none(), matches!(event, UpgradeEvent::Heartbeat(_)));
            if let Some(message) = message {
                let json = serde_json::to_string(&message).unwrap();
                prop_assert_eq!(serde_json::from_str::<ProgressEventMessage>(&json).unwrap(), message);
            }
        }
        let (again, warnings) = import(Snapshot::of(&driven.progress).to_json().as_bytes());
        prop_assert_eq!(warnings, Vec::<String>::new());
        prop_assert_eq!(again, driven.progress.clone());

        let mut history = EventHistory::default();
        driven.events.iter().for_each(|(meta, event)| history.push(meta, event));
        for task in driven.progress.tasks().values() {
            let all = history.task(&task.task_id);
            prop_assert_eq!(all.len() as u64, task.events_omitted + task.events.len() as u64);
            prop_assert!(all.ends_with(&task.events.iter().cloned().collect::<Vec<_>>()));
        }
    }

    #[test]
    fn the_tree_has_every_task_once_after_its_parent(history in history()) {
        let driven = run(history);
        let tree = TaskTree::of(&driven.progress, at(0));
        prop_assert_eq!(tree.rows.len(), driven.progress.tasks().len());
        let mut way: Vec<&str> = Vec::new();
        for row in &tree.rows {
            prop_assert_eq!(row.level + 1, row.task.depth);
            way.truncate(row.level);
            prop_assert_eq!(way.last().copied(), row.task.parent_task_id.as_ref().map(|id| id.as_str()));
            way.push(row.task.task_id.as_str());
        }
    }

    /// Whatever a file holds, reading it neither panics nor loses the upgrade, and what was read is a sound state.
    #[test]
    fn any_file_with_an_id_becomes_a_sound_state(
        tasks in vec((".{0,3}", option::of(".{0,3}"), "[a-z_]{0,12}|completed|failed", any::<f64>()), 0..30),
        upgrade_id in ".{0,300}",
    ) {
        let mut text = format!("{{\"upgrade_id\":{}, \"tasks\":{{", serde_json::to_string(&upgrade_id).unwrap());
        for (place, (id, parent, status, number)) in tasks.iter().enumerate() {
            let number = if number.is_nan() { "NaN".to_owned() } else if number.is_infinite() { "-Infinity".to_owned() } else { format!("{number:e}") };
            text += &format!(
                "{}{}:{{\"parent_task_id\":{},\"status\":\"{status}\",\"percentage\":{number},\"weight\":{number}}}",
                if place == 0 { "" } else { "," },
                serde_json::to_string(id).unwrap(),
                serde_json::to_string(parent).unwrap(),
            );
        }
        text += "}}";
        let (progress, _) = import(text.as_bytes());
        let different: std::collections::HashSet<_> = tasks.iter().map(|task| &task.0).collect();
        prop_assert_eq!(progress.tasks().len(), different.len());
        prop_assert_eq!(TaskTree::of(&progress, at(0)).rows.len(), progress.tasks().len());
        prop_assert!(UpgradeId::new(progress.upgrade_id.as_str()).is_ok());
        let (again, warnings) = import(Snapshot::of(&progress).to_json().as_bytes());
        prop_assert_eq!(warnings, Vec::<String>::new());
        prop_assert_eq!(again, progress);
    }

    #[test]
    fn bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(imported) = tracking_model::UpgradeImported::from_reference(&bytes) {
            prop_assert!(imported.progress().exists());
        }
    }
}

/// Fault row 17. A clock that jumps a day either way, stands still, or steps through a leap second and a change of
/// zone: no duration is negative, and the history stays in order.
#[test]
fn fault_17_clock_jumps() {
    let jumps = [-DAY, DAY, -1, 0, 1, -3600, 3600, 2 * DAY, -2 * DAY];
    let mut checked = 0_usize;
    for first in jumps {
        for second in jumps {
            let mut driven = Driven::new("u");
            let task = NewTask::new(task_id("t"), "Task", TaskType::UpgradeStep);
            driven
                .at(0, create())
                .at(0, UpgradeCommand::AddTasks(vec![task]))
                .at(
                    0,
                    UpgradeCommand::Start {
                        phase: "Phase".into(),
                    },
                )
                .task(0, "t", TaskAction::Start { message: None })
                .task(first, "t", TaskAction::Fail { error: "e".into() })
                .task(second, "t", TaskAction::Retry { message: None })
                .task(first + second, "t", TaskAction::Complete { message: None })
                .at(
                    second,
                    UpgradeCommand::Complete {
                        allow_unfinished: false,
                    },
                );
            let progress = &driven.progress;
            let task = &progress.tasks()["t"];
            let mut durations = vec![progress.duration.unwrap(), task.duration.unwrap()];
            for (_, event) in &driven.events {
                match event {
                    UpgradeEvent::Task(_, change) => durations.extend(change.duration),
                    UpgradeEvent::Upgrade(_, change) => durations.extend(change.duration),
                    _ => {}
                }
            }
            assert!(
                durations.iter().all(|duration| *duration >= Span::ZERO),
                "{durations:?}"
            );
            assert!(driven.events.is_sorted_by_key(|(meta, _)| meta.seq));
            assert_eq!(progress.status, Status::Completed);
            let (again, _) = import(Snapshot::of(progress).to_json().as_bytes());
            assert_eq!(again, *progress);
            checked += durations.len();
        }
    }
    let leap = Timestamp::parse("2016-12-31T23:59:60.5Z").unwrap();
    let after = Timestamp::parse("2017-01-01T00:00:01Z").unwrap();
    assert!(after >= leap && after.since(leap) >= Span::ZERO);
    let summer = Timestamp::parse("2025-10-26 02:59:59+02:00").unwrap();
    let winter = Timestamp::parse("2025-10-26 02:00:00+01:00").unwrap();
    assert_eq!(
        winter.since(summer),
        Span::from_secs(1),
        "an hour that comes twice"
    );
    println!("FAULT row=17 name=clock_jumps durations={checked} negative=0 out_of_order=0");
}

/// A task is stalled by silence alone, and a clock that went back does not make it so.
#[test]
fn stalled_is_a_view_of_silence() {
    let mut driven = Driven::new("u");
    driven.at(0, create()).at(
        0,
        UpgradeCommand::AddTasks(vec![
            NewTask::new(task_id("t"), "Task", TaskType::UpgradeStep).with_heartbeat_seconds(60),
        ]),
    );
    let stalled = |driven: &Driven, now: i64| driven.progress.tasks()["t"].is_stalled(at(now));
    assert!(!stalled(&driven, DAY), "it has not started");
    driven.task(0, "t", TaskAction::Start { message: None });
    assert!(!stalled(&driven, 60) && stalled(&driven, 61) && !stalled(&driven, -DAY));
    driven.task(61, "t", TaskAction::Heartbeat);
    assert!(!stalled(&driven, 121), "reversed by the next report");
    driven.task(
        70,
        "t",
        TaskAction::Wait {
            reason: "approval".into(),
            until: Some(at(1000)),
        },
    );
    assert!(
        !stalled(&driven, 1000) && stalled(&driven, 1001),
        "the deadline counts while it waits"
    );
    driven.task(1100, "t", TaskAction::Heartbeat);
    assert!(stalled(&driven, DAY));
    let part = NewTask::new(task_id("part"), "Part", TaskType::UpgradeStep).with_parent(task_id("t"));
    driven.at(1100, UpgradeCommand::AddTasks(vec![part]));
    assert!(!stalled(&driven, DAY), "what has parts reports through them");
    assert_eq!(meta(1, 0).at, Timestamp::from_micros(START));
}
