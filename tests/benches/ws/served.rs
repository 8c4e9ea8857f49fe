//! The server under measurement, over a data directory with one upgrade.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stream_ws::{Hub, Limits, ServerOptions, bind, serve};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tracking_journal::{DataDir, Journal, JournalOptions};
use tracking_model::{
    Details, NewTask, PlanId, TaskAction, TaskId, TaskType, UpgradeCommand, UpgradeProgress,
};

/// A data directory with an upgrade that is under way, and its agent.
pub(crate) struct Agent {
    folder: TempDir,
    pub(crate) journal: Journal<UpgradeProgress>,
}

impl Agent {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let options = JournalOptions::default().with_actor("bench");
        let journal = Journal::open(&dir, scenarios::stream(), options).unwrap();
        let create = UpgradeCommand::Create {
            plan_id: PlanId::new("plan").unwrap(),
            cluster_name: "cluster".into(),
            metadata: Details::NONE,
        };
        let task = NewTask::new(task_id(), "Nodes", TaskType::UpgradeStep);
        let start = UpgradeCommand::Start {
            phase: "Nodes".into(),
        };
        let commands = vec![create, UpgradeCommand::AddTasks(vec![task]), start, report()];
        journal.submit(UpgradeCommand::All(commands)).wait().unwrap();
        Self { folder, journal }
    }

    pub(crate) fn dir(&self) -> DataDir {
        DataDir::existing(self.folder.path()).unwrap()
    }

    /// Adds tasks that have begun.
    pub(crate) fn add_tasks(&self, count: usize) {
        let ids: Vec<_> = (0..count)
            .map(|n| TaskId::new(format!("node-{n}")).unwrap())
            .collect();
        let tasks = ids
            .iter()
            .map(|id| NewTask::new(id.clone(), format!("Replace {id}"), TaskType::UpgradeStep));
        let mut commands = vec![UpgradeCommand::AddTasks(tasks.collect())];
        commands.extend(ids.into_iter().map(report_of));
        self.journal.submit(UpgradeCommand::All(commands)).wait().unwrap();
    }

    /// Writes `events` reports as fast as can be.
    pub(crate) fn burst(&self, events: usize) {
        burst(&self.journal, events);
    }
}

/// Writes `events` reports as fast as can be.
pub(crate) fn burst(journal: &Journal<UpgradeProgress>, events: usize) {
    let mut pending = VecDeque::new();
    for _ in 0..events {
        pending.push_back(journal.submit(report()));
        if pending.len() == 256 {
            pending.pop_front().expect("it is full").wait().unwrap();
        }
    }
    for pending in pending {
        pending.wait().unwrap();
    }
}

fn task_id() -> TaskId {
    TaskId::new("nodes").unwrap()
}

/// A report, as an agent makes them.
pub(crate) fn report() -> UpgradeCommand {
    report_of(task_id())
}

fn report_of(task_id: TaskId) -> UpgradeCommand {
    let action = TaskAction::Progress {
        percentage: 42.5,
        message: "replaced 17 of 40".into(),
        details: Details::NONE,
    };
    UpgradeCommand::Task { task_id, action }
}

/// A server over the agent's data directory.
pub(crate) struct Served {
    pub(crate) agent: Agent,
    pub(crate) address: SocketAddr,
    pub(crate) hub: Hub,
    runtime: Runtime,
    shutdown: CancellationToken,
}

impl Served {
    /// Waits until the viewers there are, and those that come, know of everything that is durable.
    pub(crate) fn settle(&self) {
        self.runtime.block_on(self.hub.settle());
    }

    /// Runs something beside it, until it ends.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(work));
    }

    pub(crate) fn start(agent: Agent) -> Self {
        Self::start_with(agent, 2)
    }

    /// With so many threads.
    pub(crate) fn start_with(agent: Agent, threads: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap();
        let limits = Limits {
            connections: 20_000,
            connections_per_address: 20_000,
            shutdown: Duration::from_secs(1),
            // The viewers of the measurements answer no pings, to cost less.
            ping: Duration::from_secs(3_600),
            dead: Duration::from_secs(3_600),
            ..Limits::default()
        };
        let options = ServerOptions::default().with_limits(limits);
        let shutdown = CancellationToken::new();
        let (hub, address) = runtime.block_on(async {
            let hub = Hub::new(agent.dir());
            let listeners = bind("127.0.0.1:0").await.unwrap();
            let address = listeners[0].local_addr().unwrap();
            let serving = serve(listeners, hub.clone(), options, shutdown.clone());
            #[expect(clippy::disallowed_methods, reason = "it ends with the runtime")]
            drop(tokio::spawn(serving));
            (hub, address)
        });
        Self {
            agent,
            address,
            hub,
            runtime,
            shutdown,
        }
    }

    /// The text of an event as viewers get it.
    pub(crate) fn sample(&self) -> String {
        self.runtime.block_on(async {
            let mut viewer = self
                .hub
                .view(&stream_ws::protocol::Query::default())
                .await
                .unwrap();
            viewer.next().await.unwrap();
            self.agent.journal.submit(report()).await.unwrap();
            viewer.next().await.unwrap()[0].text().to_owned()
        })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.runtime.block_on(self.hub.close());
    }
}

/// Calls `each` so often in a second, for so many times.
pub(crate) fn paced(per_second: u32, times: u32, mut each: impl FnMut(u32)) {
    let begin = Instant::now();
    for n in 0..times {
        let due = Duration::from_secs(1) * n / per_second;
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        each(n);
    }
}

pub(crate) fn quantile(values: &mut [f64], quantile: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * quantile).round() as usize]
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(&mut values.to_vec(), 0.5)
}

/// Median and range.
pub(crate) fn spread(values: &[f64]) -> String {
    let mut values = values.to_vec();
    let (low, high) = (quantile(&mut values, 0.0), quantile(&mut values, 1.0));
    format!("{:.2} ({low:.2} to {high:.2})", median(&values))
}

pub(crate) fn print(name: &str, value: &str, aim: &str, details: &str) {
    println!("BENCH {name}: {value} (aim {aim}); {details}");
}
