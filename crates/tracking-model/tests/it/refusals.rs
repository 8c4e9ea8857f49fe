//! What is refused, and what the refusals say.

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tracking_model::{
    CommandError, Details, MAX_DEPTH, NewTask, PlanId, TaskAction, TaskId, TaskType, UpgradeCommand,
    UpgradeId, UpgradeImported,
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

fn texts_too_long(limit: usize) -> impl Strategy<Value = Arc<str>> {
    (limit + 1..limit + 2000).prop_map(|length| "x".repeat(length).into())
}

fn bad_names() -> impl Strategy<Value = Arc<str>> {
    let control = ("[a-z]{0,5}", "[\\x00-\\x1f\\x7f]", "[a-z]{0,5}");
    prop_oneof![
        "[ \t]{0,5}".prop_map(Into::into),
        control.prop_map(|(before, control, after)| format!("{before}{control}{after}").into()),
        texts_too_long(256),
    ]
}

/// Ids that break one of the rules.
fn bad_ids() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[A-Za-z0-9]{129,300}",
        "[._:-][A-Za-z0-9]{0,20}",
        "[A-Za-z0-9]{1,10}[^A-Za-z0-9._:-][A-Za-z0-9]{0,10}",
        "[A-Za-z0-9]{1,10}\\.jsonl?",
        "[a-z]:{100,127}",
    ]
}

fn bad_details() -> impl Strategy<Value = Details> {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    prop_oneof![
        (128_usize..20_000).prop_map(nested),
        (65_530_usize..200_000).prop_map(|length| format!("{{\"a\":\"{}\"}}", "x".repeat(length))),
        (309_u32..5000).prop_map(|exponent| format!("{{\"a\":1e{exponent}}}")),
    ]
    .prop_map(|json| details(&json))
}

fn bad_weights() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(0.0),
        -1e300..0.0,
        1.1e100..1e300
    ]
}

fn bad_percentages() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(|bits| f64::from_bits(bits | 0x7ff0_0000_0000_0000))
}

/// Commands that no upgrade takes, whatever its state.
fn bad_commands() -> impl Strategy<Value = UpgradeCommand> {
    let too_deep = (MAX_DEPTH + 1..MAX_DEPTH + 200).prop_map(|length| {
        let link = |n: usize| match n {
            0 => new("l0"),
            _ => new(&format!("l{n}")).with_parent(task_id(&format!("l{}", n - 1))),
        };
        add((0..length).map(link).collect())
    });
    let circle = (1_usize..50).prop_map(|length| {
        let link = |n: usize| new(&format!("c{n}")).with_parent(task_id(&format!("c{}", (n + 1) % length)));
        add((0..length).map(link).collect())
    });
    prop_oneof![
        too_deep,
        circle,
        bad_weights().prop_map(|weight| add(vec![new("x").with_weight(weight)])),
        bad_names().prop_map(|name| add(vec![NewTask::new(task_id("x"), name, TaskType::Cleanup)])),
        bad_names().prop_map(|phase| UpgradeCommand::SetPhase { phase }),
        bad_percentages().prop_map(|percentage| on("blue", report(percentage, Details::NONE))),
        bad_details().prop_map(|details| on("blue", report(1.0, details))),
        (1_u64..1000, 0_u64..u64::MAX - 1000)
            .prop_map(|(more, total)| on("blue", steps(total + more, Some(total)))),
        texts_too_long(64 * 1024).prop_map(|error| on("blue", TaskAction::Fail { error })),
        texts_too_long(64 * 1024).prop_map(|reason| UpgradeCommand::Cancel { reason: Some(reason) }),
    ]
}

/// Fault row 16. Ids that break the rules cannot even be made into commands; everything else is refused by `check`,
/// and state and history stay as they were.
#[test]
fn fault_16_impossible_input_is_refused_before_anything_is_written() {
    let (cases, accepted) = (Cell::new(0_u32), Cell::new(0_u32));
    let count = |ok: bool| {
        cases.set(cases.get() + 1);
        accepted.set(accepted.get() + u32::from(ok));
    };
    let before = half_done();
    let try_command = |command: UpgradeCommand| {
        let mut driven = before.clone();
        let outcome: Result<usize, CommandError> = driven.try_at(100, command);
        count(outcome.is_ok());
        assert_eq!(driven.progress, before.progress);
        assert_eq!(driven.events.len(), before.events.len());
    };
    impossible().into_iter().for_each(&try_command);

    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(400)
    };
    let by_id = TestRunner::new(config.clone()).run(&bad_ids(), |id| {
        let json = serde_json::to_string(&id).unwrap();
        count(TaskId::new(&id).is_ok() || UpgradeId::new(&id).is_ok() || PlanId::new(&id).is_ok());
        count(serde_json::from_str::<TaskId>(&json).is_ok());
        Ok(())
    });
    let by_command = TestRunner::new(config).run(&bad_commands(), |command| {
        try_command(command);
        Ok(())
    });
    println!(
        "FAULT row=16 name=impossible_input cases={} accepted={}",
        cases.get(),
        accepted.get()
    );
    assert_eq!((by_id, by_command), (Ok(()), Ok(())));
    assert_eq!(accepted.get(), 0);
}
