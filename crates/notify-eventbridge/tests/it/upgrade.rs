//! An upgrade in a journal of its own, and a relay that feeds a sink from it.

use std::path::PathBuf;
use std::sync::Arc;

use notify_eventbridge::EventBridgeSink;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracking_journal::{
    DataDir, EventSink, Journal, JournalOptions, JournalReader, ManualClock, Record, Relay, RelayOptions,
};
use tracking_model::{
    Details, NewTask, PlanId, Span, StreamId, TaskAction, TaskId, TaskType, UpgradeCommand, UpgradeId,
    UpgradeProgress,
};

pub(crate) struct Upgrade {
    _folder: Option<TempDir>,
    pub(crate) dir: DataDir,
    pub(crate) stream: StreamId,
    clock: Arc<ManualClock>,
    journal: Journal<UpgradeProgress>,
}

impl Upgrade {
    /// `prod-1.31`, created and with one task `drain`.
    pub(crate) fn new() -> Self {
        Self::of_cluster("prod")
    }

    pub(crate) fn of_cluster(cluster_name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upgrade = Self {
            _folder: None,
            ..Self::at(folder.path().to_owned())
        };
        Self {
            _folder: Some(folder),
            ..upgrade.begun(cluster_name)
        }
    }

    /// In a directory that somebody else owns, as it is there.
    pub(crate) fn at(path: PathBuf) -> Self {
        let dir = DataDir::open(path).unwrap();
        let stream = StreamId::from(UpgradeId::new("prod-1.31").unwrap());
        let clock = Arc::new(ManualClock::default());
        let options = JournalOptions::default()
            .with_actor("agent")
            .with_clock(Arc::clone(&clock) as _);
        Self {
            _folder: None,
            journal: Journal::open(&dir, stream.clone(), options).unwrap(),
            dir,
            stream,
            clock,
        }
    }

    pub(crate) fn begun(self, cluster_name: &str) -> Self {
        self.submit(UpgradeCommand::Create {
            plan_id: PlanId::new("blue-green").unwrap(),
            cluster_name: cluster_name.into(),
            metadata: Details::NONE,
        });
        let task = NewTask::new(task_id(), "Drain nodes", TaskType::UpgradeStep);
        self.submit(UpgradeCommand::AddTasks(vec![task.with_total_steps(5)]));
        self
    }

    pub(crate) fn pass(&self, span: Span) {
        self.clock.advance(span);
    }

    /// Each command is a minute after the one before.
    pub(crate) fn submit(&self, command: UpgradeCommand) {
        self.clock.advance(Span::from_secs(60));
        self.journal.submit(command).wait().unwrap();
    }

    pub(crate) fn task(&self, action: TaskAction) {
        self.submit(UpgradeCommand::Task {
            task_id: task_id(),
            action,
        });
    }

    /// Writes `count` events `task.waiting`, each with a reason of so many bytes, in one commit.
    pub(crate) fn wait(&self, count: usize, bytes: usize) {
        let waiting = |number| UpgradeCommand::Task {
            task_id: task_id(),
            action: TaskAction::Wait {
                reason: format!("{number:0>bytes$}").into(),
                until: None,
            },
        };
        self.submit(UpgradeCommand::All((0..count).map(waiting).collect()));
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        let reader = JournalReader::open(&self.dir, &self.stream).unwrap();
        reader.map(|record| record.unwrap()).collect()
    }

    /// A relay with what suits the sink.
    pub(crate) async fn relay(&self, sink: &EventBridgeSink) -> Relay {
        let options = sink.relay_options(RelayOptions::default());
        self.relay_with(Arc::new(sink.clone()), options).await
    }

    pub(crate) async fn relay_with(&self, sink: Arc<dyn EventSink>, options: RelayOptions) -> Relay {
        Relay::open(&self.dir, self.stream.clone(), sink, options)
            .await
            .unwrap()
    }
}

pub(crate) fn task_id() -> TaskId {
    TaskId::new("drain").unwrap()
}

pub(crate) fn details(value: Value) -> Details {
    serde_json::from_value(value).unwrap()
}

/// A record as a journal might hold it, of a kind and with data that no command leads to.
pub(crate) fn record(first: &Record, seq: u64, kind: &str, data: Value) -> Record {
    let line = json!({
        "v": 1, "stream": first.stream.to_string(), "epoch": first.epoch, "seq": seq, "batch": seq,
        "id": format!("01940000-0000-7000-8000-{seq:012}"), "at": "2025-01-01T00:00:00.000000Z", "actor": "agent",
        "type": kind, "data": data, "hash": "0".repeat(64),
    });
    // Keys must come in the journal's order, and a map has them in the alphabet's.
    let keys = [
        "v", "stream", "epoch", "seq", "batch", "id", "at", "actor", "type", "data", "hash",
    ];
    let fields: Vec<_> = keys
        .iter()
        .map(|key| format!("\"{key}\":{}", line[key]))
        .collect();
    Record::parse(format!("{{{}}}", fields.join(",")).as_bytes()).unwrap()
}
