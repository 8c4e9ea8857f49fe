//! What is refused, and what the refusals say.

use tracking_model::{
    CommandError, Details, MAX_DEPTH, NewTask, TaskAction, TaskId, TaskType, UpgradeCommand, UpgradeImported,
};

use crate::import::FAILED;
use crate::upgrades::{Driven, create, half_done, progress, task_id};

fn add(tasks: Vec<NewTask>) -> UpgradeCommand {
    UpgradeCommand::AddTasks(tasks)
}

fn new(id: &str) -> NewTask {
    NewTask::new(task_id(id), "A task", TaskType::UpgradeStep)
}

fn on(id: &str, action: TaskAction) -> UpgradeCommand {
    UpgradeCommand::Task {
        task_id: task_id(id),
        action,
    }
}

fn report(percentage: f64, details: Details) -> TaskAction {
    TaskAction::Progress {
        percentage,
        message: "m".into(),
        details,
    }
}

fn steps(done: u64, total: Option<u64>) -> TaskAction {
    TaskAction::Steps {
        done,
        total,
        current_step: None,
    }
}

fn details(json: &str) -> Details {
    serde_json::from_str(json).unwrap()
}

/// Commands that an upgrade half done refuses, one for each reason at least.
fn impossible() -> Vec<UpgradeCommand> {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(64 * 1024));
    let chain = |length: usize| {
        let link = |n: usize| match n {
            0 => new("l0"),
            _ => new(&format!("l{n}")).with_parent(task_id(&format!("l{}", n - 1))),
        };
        add((0..length).map(link).collect())
    };
    let name = |name: &str| NewTask::new(task_id("n"), name, TaskType::Cleanup);
    vec![
        create(),
        UpgradeCommand::Import(UpgradeImported::from_reference(FAILED).unwrap()),
        UpgradeCommand::Start {
            phase: "again".into(),
        },
        UpgradeCommand::SetPhase { phase: "".into() },
        UpgradeCommand::SetPhase {
            phase: "a\u{0}".into(),
        },
        UpgradeCommand::Resume,
        UpgradeCommand::Pause {
            reason: Some("r".repeat(64 * 1024 + 1).into()),
        },
        UpgradeCommand::Complete {
            allow_unfinished: false,
        },
        add(vec![new("plan")]),
        add(vec![new("x"), new("x")]),
        add(vec![new("x").with_parent(task_id("nowhere"))]),
        add(vec![new("x").with_parent(task_id("x"))]),
        add(vec![
            new("x").with_parent(task_id("y")),
            new("y").with_parent(task_id("x")),
        ]),
        chain(MAX_DEPTH + 1),
        add(vec![new("x").with_weight(0.0)]),
        add(vec![new("x").with_weight(f64::NAN)]),
        add(vec![new("x").with_weight(f64::INFINITY)]),
        add(vec![new("x").with_weight(f64::MAX)]),
        add(vec![new("x").with_heartbeat_seconds(0)]),
        add(vec![new("x").with_total_steps(0)]),
        add(vec![name("")]),
        add(vec![name("a\nb")]),
        add(vec![name(&"n".repeat(257))]),
        on("nobody", TaskAction::Heartbeat),
        on("plan", progress(10.0)),
        on("plan", TaskAction::Start { message: None }),
        on(
            "plan",
            TaskAction::Wait {
                reason: "x".into(),
                until: None,
            },
        ),
        on("check", progress(10.0)),
        on("check", TaskAction::Heartbeat),
        on("check", TaskAction::Complete { message: None }),
        on("nodes", TaskAction::Heartbeat),
        on("nodes", TaskAction::Retry { message: None }),
        on("nodes", TaskAction::Pause { reason: None }),
        on("blue", TaskAction::Resume),
        on("blue", report(f64::NAN, Details::NONE)),
        on("blue", report(f64::NEG_INFINITY, Details::NONE)),
        on("blue", report(1.0, details(&large))),
        on("blue", report(1.0, details(&deep))),
        on("blue", report(1.0, details("{\"a\":1e999}"))),
        on("blue", steps(1, None)),
        on("blue", steps(5, Some(4))),
        on("green", steps(5, None)),
        on("green", steps(0, Some(0))),
        UpgradeCommand::All(vec![add(vec![new("fine")]), on("nobody", TaskAction::Heartbeat)]),
    ]
}

#[test]
fn every_refusal_says_what_and_why() {
    let mut texts = vec![
        Driven::new("u")
            .try_at(0, UpgradeCommand::Resume)
            .unwrap_err()
            .to_string(),
    ];
    for command in impossible() {
        texts.push(half_done().try_at(100, command).unwrap_err().to_string());
    }
    let mut ended = half_done();
    ended.at(
        100,
        UpgradeCommand::Complete {
            allow_unfinished: true,
        },
    );
    for command in [
        add(vec![new("late")]),
        on("blue", progress(99.0)),
        UpgradeCommand::Cancel { reason: None },
    ] {
        texts.push(ended.try_at(101, command).unwrap_err().to_string());
    }
    let import = UpgradeImported::from_reference(FAILED).unwrap();
    texts.push(
        Driven::new("u")
            .try_at(0, UpgradeCommand::Import(import))
            .unwrap_err()
            .to_string(),
    );
    insta::assert_snapshot!(texts.join("\n"));
}

/// Fault row 16. Ids that break the rules cannot even be made into commands; everything else is refused by `check`,
/// and state and history stay as they were.
#[test]
fn fault_16_impossible_input_is_refused_before_anything_is_written() {
    let (mut cases, mut accepted) = (0, 0);
    for id in [
        "",
        "-a",
        "a/b",
        "..",
        "a b",
        "é",
        "a.json",
        "a\u{0}",
        &"a".repeat(129),
        &":".repeat(128),
    ] {
        cases += 1;
        accepted += u32::from(TaskId::new(id).is_ok());
    }
    for command in impossible() {
        let mut driven = half_done();
        let before = driven.clone();
        cases += 1;
        let outcome: Result<usize, CommandError> = driven.try_at(100, command);
        accepted += u32::from(outcome.is_ok());
        assert_eq!(driven.progress, before.progress);
        assert_eq!(driven.events.len(), before.events.len());
    }
    println!("FAULT row=16 name=impossible_input cases={cases} accepted={accepted}");
    assert_eq!(accepted, 0);
}
