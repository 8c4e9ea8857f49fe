//! What a terminal shows, for one upgrade at several moments and on several terminals.

use std::sync::Arc;

use tracking_facade::{
    Agent, CommandError, Details, History, NewTask, PlanId, ProgressEventMessage, Snapshot, Span, StreamId,
    Summary, TaskAction, TaskId, TaskType, Timestamp, UpgradeCommand, UpgradeId, UpgradeMirror,
    UpgradeProgress,
};
use tracking_model::{Fold, RecordMeta};
use uuid::Uuid;

use super::charset::Charset;
use super::scene::{Canvas, Scene};
use crate::render::Palette;

const BEGIN: i64 = 1_738_301_100_000_000;

/// An upgrade that is told what happens, and when.
struct Story {
    progress: UpgradeProgress,
    seq: u64,
    now: Timestamp,
    /// What somebody sees who is told of it from afar.
    mirror: Option<UpgradeMirror>,
}

impl Story {
    fn begin() -> Self {
        let stream = StreamId::Upgrade(UpgradeId::new("prod-1.32").unwrap());
        let mut story = Self {
            progress: UpgradeProgress::empty(&stream),
            seq: 0,
            now: Timestamp::from_micros(BEGIN),
            mirror: None,
        };
        story.tell(UpgradeCommand::Create {
            plan_id: PlanId::new("blue-green").unwrap(),
            cluster_name: "Zürich-1".into(),
            metadata: Details::NONE,
        });
        story
    }

    fn tell(&mut self, command: UpgradeCommand) {
        let told: Result<_, CommandError> = self.progress.check(command, self.now);
        for event in told.unwrap() {
            self.seq += 1;
            let meta = RecordMeta {
                seq: self.seq,
                id: Uuid::from_u128(u128::from(self.seq)),
                at: self.now,
                actor: Arc::from("agent"),
            };
            self.progress.apply(&meta, &event);
            let message = ProgressEventMessage::new(&self.progress.upgrade_id, &meta, &event);
            if let (Some(mirror), Some(message)) = (&mut self.mirror, message) {
                mirror.event(self.seq, &message);
            }
        }
    }

    /// From now on it is told from afar as well.
    fn mirror(&mut self) {
        let snapshot = serde_json::to_string(&Snapshot::brief(&self.progress)).unwrap();
        let summary = Summary::of(&self.progress, self.now);
        self.mirror = Some(UpgradeMirror::begin(&snapshot, &summary, self.seq).unwrap());
    }

    /// Whoever is told of it from afar is told every second what changes with time alone.
    fn at(&mut self, seconds: i64) -> &mut Self {
        let until = Timestamp::from_micros(BEGIN + seconds * 1_000_000);
        while self.now < until {
            self.now = self.now + Span::from_secs(1);
            let summary = Summary::of(&self.progress, self.now);
            if let Some(mirror) = &mut self.mirror {
                mirror.summary(&summary, self.now);
            }
        }
        self
    }

    fn add(&mut self, id: &str, name: &str, parent: Option<&str>) {
        let mut task = NewTask::new(TaskId::new(id).unwrap(), name, TaskType::UpgradeStep);
        task.parent_task_id = parent.map(|parent| TaskId::new(parent).unwrap());
        self.tell(UpgradeCommand::AddTasks(vec![task]));
    }

    fn task(&mut self, id: &str, action: TaskAction) {
        let task_id = TaskId::new(id).unwrap();
        self.tell(UpgradeCommand::Task { task_id, action });
    }

    fn done(&mut self, id: &str) {
        self.task(id, TaskAction::Start { message: None });
        self.task(id, TaskAction::Complete { message: None });
    }

    fn progress(&mut self, id: &str, percentage: f64, message: &str) {
        let (message, details) = (message.into(), Details::NONE);
        self.task(
            id,
            TaskAction::Progress {
                percentage,
                message,
                details,
            },
        );
    }

    fn draw(&self, width: usize, height: usize, charset: Charset) -> String {
        self.draw_with(width, height, charset, Agent::Live, None)
    }

    fn draw_with(
        &self,
        width: usize,
        height: usize,
        charset: Charset,
        agent: Agent,
        stale: Option<&str>,
    ) -> String {
        let notes = ["2 artifacts, 4.0 KiB".to_owned()];
        let scene = Scene {
            progress: &self.progress,
            history: &History::default(),
            agent,
            stalled: None,
            now: self.now,
            notes: &notes,
            stale,
        };
        let canvas = Canvas {
            width,
            height,
            charset,
            palette: Palette::PLAIN,
        };
        let lines = scene.draw(&canvas);
        assert!(lines.len() <= height, "{} lines", lines.len());
        for line in &lines {
            assert!(console::measure_text_width(line) <= width, "{line:?} is too wide");
        }
        lines.join("\n")
    }
}

/// An upgrade in its second phase, with everything that a task can be.
fn eventful() -> Story {
    let mut story = Story::begin();
    story.mirror();
    story.add("plan", "Planning", None);
    for part in 0..4 {
        story.add(&format!("plan.{part}"), &format!("Check {part}"), Some("plan"));
    }
    story.add("nodes", "Provisioning", None);
    for (part, name) in ["general", "compute", "gpu", "arm", "spot", "legacy"]
        .into_iter()
        .enumerate()
    {
        story.add(
            &format!("nodes.{part}"),
            &format!("Node group {name}"),
            Some("nodes"),
        );
    }
    story.add("clean", "Clean-up", None);
    for part in 0..3 {
        story.add(&format!("clean.{part}"), &format!("Remove {part}"), Some("clean"));
    }
    story.tell(UpgradeCommand::Start {
        phase: "Planning".into(),
    });
    for part in 0..4 {
        story.at(part * 15).done(&format!("plan.{part}"));
    }
    story.at(60).done("plan");
    story.tell(UpgradeCommand::SetPhase {
        phase: "Provisioning".into(),
    });
    story.task("nodes", TaskAction::Start { message: None });
    story.progress("nodes.3", 10.0, "1 of 10");
    story
        .at(400)
        .progress("nodes.0", 99.99, "node ip-10-0-1-17 is ready");
    story.progress("nodes.1", 40.0, "2 of 5");
    let reason = "EC2 capacity in eu-west-1b".into();
    let until = Some(Timestamp::from_micros(BEGIN + 700_000_000));
    story.task("nodes.1", TaskAction::Wait { reason, until });
    let error: Arc<str> = "InsufficientInstanceCapacity: no g5.2xlarge".into();
    story.task(
        "nodes.2",
        TaskAction::Fail {
            error: Arc::clone(&error),
        },
    );
    story.task("nodes.2", TaskAction::Retry { message: None });
    story.at(430).task("nodes.2", TaskAction::Fail { error });
    story.task("nodes.5", TaskAction::Cancel { reason: None });
    story.at(460);
    story
}

#[test]
fn everything_that_a_task_can_be() {
    insta::assert_snapshot!(eventful().draw(120, 40, Charset::Unicode));
}

#[test]
fn from_afar_it_looks_the_same() {
    let mut story = eventful();
    let (here, now) = (story.draw(120, 40, Charset::Unicode), story.now);
    // Who is silent is noticed a second later.
    let here = here.replace("STALLED for 6m 40s", "STALLED for 6m 39s");
    let mirror = story.mirror.take().unwrap();
    let scene = Scene {
        progress: mirror.progress(),
        history: &History::default(),
        agent: Agent::Live,
        stalled: Some(mirror.stalled()),
        now,
        notes: &["2 artifacts, 4.0 KiB".to_owned()],
        stale: None,
    };
    let canvas = Canvas {
        width: 120,
        height: 40,
        charset: Charset::Unicode,
        palette: Palette::PLAIN,
    };
    assert_eq!(scene.draw(&canvas).join("\n"), here);
}

#[test]
fn eighty_columns() {
    insta::assert_snapshot!(eventful().draw(79, 40, Charset::Unicode));
}

#[test]
fn ascii() {
    let drawn = eventful().draw(79, 40, Charset::Ascii);
    assert!(drawn.is_ascii(), "{drawn}");
    insta::assert_snapshot!(drawn);
}

#[test]
fn a_low_terminal_folds_what_is_over_and_far_off() {
    insta::assert_snapshot!(eventful().draw(79, 16, Charset::Unicode));
}

#[test]
fn a_tiny_terminal_says_what_is_missing() {
    insta::assert_snapshot!(eventful().draw(40, 10, Charset::Unicode));
}

#[test]
fn no_terminal_is_too_small() {
    let story = eventful();
    for width in 20..100 {
        for height in 0..25 {
            story.draw(width, height, Charset::Unicode);
            story.draw(width, height, Charset::Ascii);
        }
    }
}

#[test]
fn what_runs_or_failed_stays_on_any_terminal_that_has_room_for_it() {
    let story = eventful();
    // The title, what is silent, an empty line, what does not fit; and the four that matter with what they are part of.
    let drawn = story.draw(79, 6 + 5, Charset::Unicode);
    for name in ["general", "compute", "gpu", "arm"] {
        assert!(
            drawn.contains(&format!("Node group {name}")),
            "{name} in\n{drawn}"
        );
    }
}

#[test]
fn an_agent_that_is_gone_and_a_journal_that_is_gone() {
    let story = eventful();
    let gone = story.draw_with(79, 20, Charset::Unicode, Agent::Gone, None);
    assert!(gone.contains("AGENT GONE"), "{gone}");
    assert!(
        gone.contains("no event for 30s, since 2025-01-31 05:32:10Z"),
        "{gone}"
    );
    let stale = story.draw_with(
        79,
        20,
        Charset::Unicode,
        Agent::NotNeeded,
        Some("the journal was removed"),
    );
    assert!(
        stale.contains("NOT LIVE: how it stood at 2025-01-31 05:32:40Z; the journal was removed"),
        "{stale}"
    );
    for drawn in [gone, stale] {
        assert!(!drawn.contains("left"), "nobody knows how long it takes: {drawn}");
    }
}

#[test]
fn paused_and_completed() {
    let mut story = eventful();
    story.tell(UpgradeCommand::Pause {
        reason: Some("change freeze".into()),
    });
    let paused = story.draw(79, 20, Charset::Unicode);
    assert!(paused.contains("paused: change freeze"), "{paused}");
    story.tell(UpgradeCommand::Resume);
    story.tell(UpgradeCommand::Complete {
        allow_unfinished: true,
    });
    let completed = story.draw(79, 20, Charset::Unicode);
    assert!(
        completed.contains("completed although tasks had failed"),
        "{completed}"
    );
    assert!(!completed.lines().nth(1).unwrap().contains("100%"), "{completed}");
}

#[test]
fn what_tasks_say_cannot_steer_the_terminal() {
    let mut story = Story::begin();
    story.add("evil", "\u{202e}name", None);
    story.progress("evil", 1.0, "\u{1b}[2Jgone\r\nnext");
    let drawn = story.draw(79, 20, Charset::Unicode);
    assert!(!drawn.contains(['\u{1b}', '\r']), "{drawn:?}");
}
