//! Estimates of upgrades that commands drive by a clock of their own.

use tracking_model::{
    Fold, NewTask, PlanId, RecordMeta, StreamId, TaskAction, TaskType, UpgradeCommand, UpgradeId,
};

use super::*;

/// An upgrade driven by commands at given seconds.
struct Upgrade {
    state: UpgradeProgress,
    seq: u64,
}

impl Upgrade {
    fn new(tasks: Vec<NewTask>) -> Self {
        let stream = StreamId::Upgrade(UpgradeId::new("u").unwrap());
        let mut upgrade = Self {
            state: UpgradeProgress::empty(&stream),
            seq: 0,
        };
        let plan_id = PlanId::new("p").unwrap();
        let metadata = tracking_model::Details::NONE;
        upgrade.does(
            0,
            UpgradeCommand::Create {
                plan_id,
                cluster_name: "c".into(),
                metadata,
            },
        );
        upgrade.does(0, UpgradeCommand::Start { phase: "x".into() });
        upgrade.does(0, UpgradeCommand::AddTasks(tasks));
        upgrade
    }

    fn does(&mut self, second: i64, command: UpgradeCommand) {
        let at = at(second);
        for event in self.state.check(command, at).unwrap() {
            self.seq += 1;
            let meta = RecordMeta {
                seq: self.seq,
                id: uuid::Uuid::nil(),
                at,
                actor: "a".into(),
            };
            self.state.apply(&meta, &event);
        }
    }

    fn task(&mut self, second: i64, task: &str, action: TaskAction) {
        self.does(
            second,
            UpgradeCommand::Task {
                task_id: id(task),
                action,
            },
        );
    }

    fn start(&mut self, second: i64, task: &str) {
        self.task(second, task, TaskAction::Start { message: None });
    }

    fn complete(&mut self, second: i64, task: &str) {
        self.task(second, task, TaskAction::Complete { message: None });
    }

    fn progress(&mut self, second: i64, task: &str, percentage: f64) {
        let (message, details) = ("".into(), tracking_model::Details::NONE);
        self.task(
            second,
            task,
            TaskAction::Progress {
                percentage,
                message,
                details,
            },
        );
    }

    /// Seconds from `second` to p50 and p90, and the basis.
    fn eta(&self, history: &History, second: i64) -> (Option<f64>, Option<f64>, EstimateBasis) {
        seconds(estimate_upgrade(&self.state, history, at(second)), second)
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(1_735_689_600_000_000) + Span::from_secs(second)
}

fn seconds(estimate: Estimate, second: i64) -> (Option<f64>, Option<f64>, EstimateBasis) {
    let left = |point: Option<Timestamp>| point.map(|point| point.since(at(second)).as_secs_f64());
    (left(estimate.p50), left(estimate.p90), estimate.basis)
}

fn id(task: &str) -> TaskId {
    TaskId::new(task).unwrap()
}

/// A task whose name is its id.
fn step(task: &str) -> NewTask {
    NewTask::new(id(task), task, TaskType::UpgradeStep)
}

/// Earlier upgrades in which the tasks took so many seconds.
fn history(runs: &[(&str, &[i64])]) -> History {
    let mut history = History::default();
    for (name, durations) in runs {
        for seconds in *durations {
            let mut upgrade = Upgrade::new(vec![step(name)]);
            upgrade.start(0, name);
            upgrade.complete(*seconds, name);
            history.add(&upgrade.state);
        }
    }
    history
}

#[test]
fn nothing_is_known_of_what_has_not_begun_or_has_ended() {
    let stream = StreamId::Upgrade(UpgradeId::new("u").unwrap());
    let none = History::default();
    assert_eq!(
        estimate_upgrade(&UpgradeProgress::empty(&stream), &none, at(0)),
        Estimate::UNKNOWN
    );
    let mut upgrade = Upgrade::new(vec![]);
    assert_eq!(upgrade.eta(&none, 100), (None, None, EstimateBasis::Unknown));
    upgrade.does(
        5,
        UpgradeCommand::Complete {
            allow_unfinished: false,
        },
    );
    assert_eq!(upgrade.eta(&none, 100).2, EstimateBasis::Unknown);
    assert_eq!(
        estimate_task(&upgrade.state, &id("a"), &none, at(0)),
        Estimate::UNKNOWN
    );
}

#[test]
fn three_runs_are_enough_and_two_are_not() {
    let upgrade = Upgrade::new(vec![step("a")]);
    assert_eq!(
        upgrade.eta(&history(&[("a", &[10, 20])]), 0).2,
        EstimateBasis::Unknown
    );
    let three = history(&[("a", &[10, 20, 30])]);
    assert_eq!(
        upgrade.eta(&three, 0),
        (Some(20.0), Some(30.0), EstimateBasis::History { runs: 3 })
    );
    let other_type = NewTask::new(id("a"), "a", TaskType::Validation);
    assert_eq!(
        Upgrade::new(vec![other_type]).eta(&three, 0).2,
        EstimateBasis::Unknown
    );
}

#[test]
fn only_runs_that_took_longer_say_something_of_one_that_runs() {
    let runs = history(&[("a", &[10, 20, 30, 40])]);
    let mut upgrade = Upgrade::new(vec![step("a")]);
    upgrade.start(0, "a");
    assert_eq!(upgrade.eta(&runs, 0).0, Some(20.0));
    assert_eq!(
        upgrade.eta(&runs, 25),
        (Some(5.0), Some(15.0), EstimateBasis::History { runs: 4 })
    );
    // It has outrun them all: what they say is void.
    assert_eq!(upgrade.eta(&runs, 41).2, EstimateBasis::Unknown);
    upgrade.progress(41, "a", 50.0);
    assert_eq!(
        upgrade.eta(&runs, 50),
        (Some(50.0), Some(100.0), EstimateBasis::Rate)
    );
}

#[test]
fn the_last_twenty_runs_count() {
    let mut durations = vec![1000; 5];
    durations.extend([2000; 20]);
    // A longer run also ends later here.
    let runs = history(&[("a", &durations)]);
    let upgrade = Upgrade::new(vec![step("a")]);
    assert_eq!(
        upgrade.eta(&runs, 0),
        (Some(2000.0), Some(2000.0), EstimateBasis::History { runs: 20 })
    );
}

#[test]
fn of_many_tasks_of_one_name_the_last_twenty_count() {
    let name = |n: i64| format!("node-{n}");
    let nodes = (0..=100).map(|n| NewTask::new(id(&name(n)), "Drain", TaskType::UpgradeStep));
    let mut upgrade = Upgrade::new(nodes.collect());
    let mut second = 0;
    for n in 0..100 {
        upgrade.start(second, &name(n));
        second += if n < 80 { 1 } else { 7 };
        upgrade.complete(second, &name(n));
    }
    let expected = (Some(7.0), Some(7.0), EstimateBasis::History { runs: 20 });
    assert_eq!(upgrade.eta(&History::default(), second), expected);
}

#[test]
fn what_is_to_come_is_added_and_what_runs_goes_side_by_side() {
    let runs = history(&[
        ("a", &[100; 3]),
        ("b", &[40; 3]),
        ("c", &[60, 60, 60, 60, 90]),
        ("d", &[60, 60, 60, 60, 100]),
    ]);
    let mut upgrade = Upgrade::new(["a", "b", "c", "d"].map(step).to_vec());
    // c and d: medians 60 + 60, spreads 30 and 40 make 50.
    assert_eq!(
        upgrade.eta(&runs, 0),
        (Some(260.0), Some(310.0), EstimateBasis::History { runs: 3 })
    );
    upgrade.start(0, "a");
    upgrade.start(0, "b");
    assert_eq!(upgrade.eta(&runs, 10).0, Some(90.0 + 120.0));
    upgrade.task(10, "c", TaskAction::Cancel { reason: None });
    assert_eq!(upgrade.eta(&runs, 10).0, Some(90.0 + 60.0));
}

#[test]
fn a_parent_is_its_own_history_or_the_sum_of_its_children() {
    let tree = || {
        vec![
            step("p"),
            step("a").with_parent(id("p")),
            step("b").with_parent(id("p")),
        ]
    };
    let children = history(&[("a", &[10; 3]), ("b", &[20; 3])]);
    assert_eq!(Upgrade::new(tree()).eta(&children, 0).0, Some(30.0));
    let all = history(&[("a", &[10; 3]), ("b", &[20; 3]), ("p", &[25; 3])]);
    assert_eq!(Upgrade::new(tree()).eta(&all, 0).0, Some(25.0));
    let estimate = estimate_task(&Upgrade::new(tree()).state, &id("p"), &children, at(0));
    assert_eq!(seconds(estimate, 0).0, Some(30.0));
}

#[test]
fn an_upgrade_learns_from_its_own_tasks() {
    let nodes = (1..=5).map(|n| NewTask::new(id(&format!("node-{n}")), "Drain", TaskType::UpgradeStep));
    let mut upgrade = Upgrade::new(nodes.collect());
    for n in 0..3 {
        upgrade.start(n * 10, &format!("node-{}", n + 1));
        upgrade.complete(n * 10 + 10, &format!("node-{}", n + 1));
    }
    assert_eq!(
        upgrade.eta(&History::default(), 30),
        (Some(20.0), Some(20.0), EstimateBasis::History { runs: 3 })
    );
}

#[test]
fn unknown_parts_go_at_the_rate_of_the_whole_where_that_is_known() {
    let runs = history(&[("a", &[10; 3]), ("b", &[10; 3])]);
    let mut upgrade = Upgrade::new(["a", "b", "x", "y"].map(step).to_vec());
    assert_eq!(upgrade.eta(&runs, 5).2, EstimateBasis::Unknown);
    upgrade.start(0, "a");
    upgrade.complete(10, "a");
    // 25 % in 10 s: x and y, another 50 %, take 20 s beside the 10 s of b.
    assert_eq!(upgrade.eta(&runs, 10).0, Some(30.0));
    assert_eq!(upgrade.eta(&runs, 10).2, EstimateBasis::Rate);
}

#[test]
fn a_rate_is_trusted_from_five_percent_on() {
    let none = History::default();
    let mut upgrade = Upgrade::new(vec![step("a")]);
    upgrade.progress(0, "a", 4.9);
    assert_eq!(upgrade.eta(&none, 60).2, EstimateBasis::Unknown);
    upgrade.progress(0, "a", 5.0);
    assert_eq!(
        upgrade.eta(&none, 60),
        (Some(1140.0), Some(2280.0), EstimateBasis::Rate)
    );
}

#[test]
fn estimates_tell_their_basis_in_json() {
    let estimate = Estimate {
        p50: Some(at(0)),
        p90: None,
        basis: EstimateBasis::History { runs: 4 },
    };
    assert_eq!(
        serde_json::to_string(&estimate).unwrap(),
        "{\"p50\":\"2025-01-01T00:00:00.000000+00:00\",\"p90\":null,\"basis\":\"history\",\"runs\":4}"
    );
}

#[test]
fn fault_17_eta_is_sane_however_the_clock_jumps() {
    const DAY: i64 = 86_400;
    let runs = history(&[("a", &[100, 200, 300]), ("b", &[50; 4])]);
    let mut estimates = 0;
    for jump in [-DAY, -3600, -1, 0, 1, 3600, DAY] {
        for after in [0, 1, 150, 299, 400] {
            let mut upgrade = Upgrade::new(["a", "b", "c"].map(step).to_vec());
            upgrade.start(0, "a");
            upgrade.progress(after, "a", 40.0);
            upgrade.start(after + jump, "c");
            upgrade.progress(after + jump, "c", 30.0);
            for second in [after, after + jump, after + 2 * jump, after - DAY] {
                let now = at(second);
                let estimate = estimate_upgrade(&upgrade.state, &runs, now);
                estimates += 1;
                let (Some(p50), Some(p90)) = (estimate.p50, estimate.p90) else {
                    assert_eq!(estimate, Estimate::UNKNOWN);
                    continue;
                };
                assert!(now <= p50 && p50 <= p90, "{jump} {after} {second}: {estimate:?}");
                assert!(
                    p90.since(now) <= Span::from_secs(3 * 20 * 2 * DAY),
                    "{estimate:?}"
                );
            }
        }
    }
    println!("FAULT row=17 name=eta_under_clock_jumps estimates={estimates} insane=0");
}
