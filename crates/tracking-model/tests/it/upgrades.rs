//! Upgrades to test with, and driving them as a journal does.

use std::sync::Arc;

use tracking_model::{
    CommandError, Fold, NewTask, RecordMeta, StreamEvent, StreamId, TaskAction, TaskId, TaskType, Timestamp,
    UpgradeCommand, UpgradeEvent, UpgradeId, UpgradeProgress,
};

/// 2025-03-04T10:00:00Z.
pub(crate) const START: i64 = 1_741_082_400_000_000;

/// What record `seq`, written `seconds` after [`START`], says of itself.
pub(crate) fn meta(seq: u64, seconds: i64) -> RecordMeta {
    RecordMeta {
        seq,
        id: uuid::Uuid::from_u128(u128::from(seq)),
        at: at(seconds),
        actor: Arc::from("agent"),
    }
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(START + seconds * 1_000_000)
}

/// Writes an event as a record's data and reads it back.
pub(crate) fn through_the_journal(event: &UpgradeEvent) -> UpgradeEvent {
    let mut data = Vec::new();
    event.write_data(&mut data);
    let data = String::from_utf8(data).unwrap();
    assert!(!data.contains('\n'), "a record is one line: {data}");
    UpgradeEvent::decode(event.kind(), &data).unwrap()
}

pub(crate) fn task_id(id: &str) -> TaskId {
    TaskId::new(id).unwrap()
}

/// An upgrade with its history, which time and sequence numbers are counted along with.
#[derive(Debug, Clone)]
pub(crate) struct Driven {
    pub(crate) progress: UpgradeProgress,
    pub(crate) events: Vec<(RecordMeta, UpgradeEvent)>,
}

impl Driven {
    pub(crate) fn new(id: &str) -> Self {
        let stream = StreamId::Upgrade(UpgradeId::new(id).unwrap());
        Self {
            progress: UpgradeProgress::empty(&stream),
            events: Vec::new(),
        }
    }

    pub(crate) fn try_at(&mut self, seconds: i64, command: UpgradeCommand) -> Result<usize, CommandError> {
        let events = self.progress.check(command, at(seconds))?;
        let count = events.len();
        for event in events {
            let meta = meta(self.events.len() as u64 + 1, seconds);
            self.progress.apply(&meta, &event);
            self.events.push((meta, event));
        }
        Ok(count)
    }

    pub(crate) fn at(&mut self, seconds: i64, command: UpgradeCommand) -> &mut Self {
        self.try_at(seconds, command).unwrap();
        self
    }

    pub(crate) fn task(&mut self, seconds: i64, id: &str, action: TaskAction) -> &mut Self {
        self.at(
            seconds,
            UpgradeCommand::Task {
                task_id: task_id(id),
                action,
            },
        )
    }
}

pub(crate) fn create() -> UpgradeCommand {
    UpgradeCommand::Create {
        plan_id: "plan-1".parse().unwrap(),
        cluster_name: "prod-eu".into(),
        metadata: serde_json::from_str("{\"region\":\"eu-west-1\"}").unwrap(),
    }
}

pub(crate) fn progress(percentage: f64) -> TaskAction {
    TaskAction::Progress {
        percentage,
        message: format!("at {percentage}").into(),
        details: serde_json::from_str("{\"pods\":3}").unwrap(),
    }
}

/// An upgrade half done, with something of everything: a tree, a failure, a retry, a wait, steps, a pause.
pub(crate) fn half_done() -> Driven {
    let mut driven = Driven::new("prod-1");
    let step = |id: &str, name: &str| NewTask::new(task_id(id), name, TaskType::UpgradeStep);
    driven
        .at(0, create())
        .at(
            1,
            UpgradeCommand::AddTasks(vec![
                NewTask::new(task_id("plan"), "Plan the upgrade", TaskType::UpgradePlan),
                step("nodes", "Node groups").with_weight(3.0),
                step("blue", "Blue").with_parent(task_id("nodes")),
                step("green", "Green")
                    .with_parent(task_id("nodes"))
                    .with_total_steps(4),
                NewTask::new(task_id("check"), "Validate", TaskType::Validation).with_heartbeat_seconds(60),
                NewTask::new(task_id("tidy"), "Tidy up", TaskType::Cleanup),
            ]),
        )
        .at(
            2,
            UpgradeCommand::Start {
                phase: "Planning".into(),
            },
        )
        .task(3, "plan", TaskAction::Start { message: None })
        .task(
            10,
            "plan",
            TaskAction::Complete {
                message: Some("planned".into()),
            },
        )
        .at(
            11,
            UpgradeCommand::SetPhase {
                phase: "Provisioning".into(),
            },
        )
        .task(12, "blue", progress(40.0))
        .task(
            20,
            "blue",
            TaskAction::Fail {
                error: "no capacity".into(),
            },
        )
        .task(30, "blue", TaskAction::Retry { message: None })
        .task(31, "blue", progress(62.5))
        .task(
            32,
            "green",
            TaskAction::Steps {
                done: 1,
                total: None,
                current_step: Some("drain".into()),
            },
        )
        .task(
            33,
            "green",
            TaskAction::Wait {
                reason: "approval".into(),
                until: Some(at(4000)),
            },
        )
        .task(34, "check", TaskAction::Start { message: None })
        .task(
            35,
            "check",
            TaskAction::Fail {
                error: "pods \"missing\"".into(),
            },
        )
        .task(
            36,
            "tidy",
            TaskAction::Cancel {
                reason: Some("not needed".into()),
            },
        )
        .task(40, "blue", TaskAction::Heartbeat);
    driven
}
