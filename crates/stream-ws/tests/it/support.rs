//! An agent that writes, a server that serves, and a viewer that takes notes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stream_ws::protocol::ServerMessage;
use stream_ws::{
    Frame, Hub, HubOptions, MemorySummaries, ServeReport, ServerOptions, Token, Viewer, bind, serve,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracking_journal::{DataDir, Journal, JournalOptions, JournalReader};
use tracking_model::{
    AddArtifact, ArtifactId, CollectionId, Details, FileHash, NewArtifact, NewCollection, NewSession,
    NewTask, PlanId, ProgressEventMessage, Session, SessionCommand, SessionId, StoredFile, StreamId,
    TaskAction, TaskId, TaskType, UpgradeCommand, UpgradeEvent, UpgradeId, UpgradeProgress,
};

/// Nothing in a test depends on how fast the machine is; what takes longer than this hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(crate) fn token() -> Token {
    TOKEN.parse().unwrap()
}

pub(crate) fn data_dir() -> (TempDir, DataDir) {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path()).unwrap();
    (folder, dir)
}

pub(crate) fn upgrade_id(id: &str) -> UpgradeId {
    UpgradeId::new(id).unwrap()
}

pub(crate) fn upgrade_stream(id: &str) -> StreamId {
    StreamId::Upgrade(upgrade_id(id))
}

/// A writer of one upgrade, with one task that runs: four records to begin with.
pub(crate) struct Agent {
    pub(crate) journal: Journal<UpgradeProgress>,
}

impl Agent {
    pub(crate) async fn start(dir: &DataDir, id: &str) -> Self {
        Self::start_in(dir, id, "prod").await
    }

    pub(crate) async fn start_in(dir: &DataDir, id: &str, cluster: &str) -> Self {
        let options = JournalOptions::default().with_actor("agent");
        let journal = Journal::open(dir, upgrade_stream(id), options).unwrap();
        let agent = Self { journal };
        let create = UpgradeCommand::Create {
            plan_id: PlanId::new("plan").unwrap(),
            cluster_name: cluster.into(),
            metadata: Details::NONE,
        };
        let task = NewTask::new(task_id(), "Replace the nodes", TaskType::UpgradeStep);
        let start = UpgradeCommand::Start {
            phase: "Nodes".into(),
        };
        let begin = UpgradeCommand::Task {
            task_id: task_id(),
            action: TaskAction::Start { message: None },
        };
        let commands = vec![create, UpgradeCommand::AddTasks(vec![task]), start, begin];
        agent.submit(UpgradeCommand::All(commands)).await;
        agent
    }

    pub(crate) async fn submit(&self, command: UpgradeCommand) {
        self.journal.submit(command).await.unwrap();
    }

    /// A report whose message is `message`.
    pub(crate) fn report(message: &str) -> UpgradeCommand {
        let action = TaskAction::Progress {
            percentage: 50.0,
            message: message.into(),
            details: Details::NONE,
        };
        UpgradeCommand::Task {
            task_id: task_id(),
            action,
        }
    }

    /// Reports that are numbered.
    pub(crate) async fn reports(&self, range: std::ops::Range<u64>) {
        let pending: Vec<_> = range
            .map(|n| self.journal.submit(Self::report(&n.to_string())))
            .collect();
        for pending in pending {
            pending.await.unwrap();
        }
    }

    pub(crate) fn seq(&self) -> u64 {
        self.journal.head().seq
    }
}

pub(crate) fn task_id() -> TaskId {
    TaskId::new("nodes").unwrap()
}

/// A writer of one session, with one collection.
pub(crate) struct Keeper {
    pub(crate) journal: Journal<Session>,
}

impl Keeper {
    pub(crate) async fn open(dir: &DataDir, id: &str, upgrade: &str) -> Self {
        let stream = StreamId::Session(SessionId::new(id).unwrap());
        let journal = Journal::open(dir, stream, JournalOptions::default()).unwrap();
        let keeper = Self { journal };
        let new = NewSession::new(upgrade_id(upgrade), "prod");
        keeper.submit(SessionCommand::Create(new)).await;
        let collection = NewCollection::new("Logs").with_id(CollectionId::new("logs").unwrap());
        keeper.submit(SessionCommand::CreateCollection(collection)).await;
        keeper
    }

    async fn submit(&self, command: SessionCommand) {
        self.journal.submit(command).await.unwrap();
    }

    pub(crate) async fn keep(&self, name: &str) {
        let add = AddArtifact {
            artifact_id: ArtifactId::new(name).unwrap(),
            collection_id: CollectionId::new("logs").unwrap(),
            artifact: NewArtifact::new().with_name(name),
            stored: StoredFile {
                local_path: format!("artifacts/s/logs/{name}").into(),
                file_size: 7,
                file_hash: FileHash::new([7; 32]),
            },
        };
        self.submit(SessionCommand::AddArtifact(Box::new(add))).await;
    }
}

/// A hub that looks for new streams often.
pub(crate) fn hub(dir: &DataDir) -> Hub {
    hub_with(dir, HubOptions::default())
}

pub(crate) fn hub_with(dir: &DataDir, options: HubOptions) -> Hub {
    let options = options.with_look_for_streams(Duration::from_millis(10));
    Hub::with_source(dir.clone(), Arc::new(MemorySummaries::default()), options)
}

/// A server on loopback.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Hub,
    shutdown: CancellationToken,
    task: JoinSet<ServeReport>,
}

impl Served {
    pub(crate) async fn start(hub: Hub, options: ServerOptions) -> Self {
        Self::start_on(bind("127.0.0.1:0").await.unwrap(), hub, options).await
    }

    pub(crate) async fn start_on(listeners: Vec<TcpListener>, hub: Hub, options: ServerOptions) -> Self {
        let address = listeners[0].local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let serving = serve(listeners, hub.clone(), options, shutdown.clone());
        let mut task = JoinSet::new();
        task.spawn(async move { serving.await.unwrap() });
        Self {
            address,
            hub,
            shutdown,
            task,
        }
    }

    pub(crate) fn url(&self, query: &str) -> String {
        format!("ws://{}/{query}", self.address)
    }

    pub(crate) fn begin_to_stop(&self) {
        self.shutdown.cancel();
    }

    pub(crate) async fn stop(mut self) -> ServeReport {
        self.shutdown.cancel();
        let report = within(self.task.join_next()).await.unwrap().unwrap();
        self.hub.close().await;
        report
    }
}

/// Fails a test that hangs.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it ends in time")
}

/// What a viewer saw, in short: `summary 3`, `event 4 hello`, `artifact 2 a.log`, `reset overflow`.
pub(crate) fn brief(text: &str) -> String {
    match ServerMessage::parse(text).unwrap() {
        ServerMessage::Summary(summary) => format!("summary {}", summary.position.seq),
        ServerMessage::Progress(event) => format!("event {} {}", event.position.seq, event.data.message),
        ServerMessage::Artifact(event) => format!("artifact {} {}", event.position.seq, event.data.name),
        ServerMessage::Reset(reset) => format!("reset {:?}", reset.reason).to_lowercase(),
        ServerMessage::Pong => "pong".to_owned(),
        ServerMessage::Error(error) => format!("error {:?}", error.code).to_lowercase(),
        other => panic!("{other:?}"),
    }
}

/// The next `count` messages of a viewer, in short.
pub(crate) async fn see(viewer: &mut Viewer, count: usize) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < count {
        let frames = within(viewer.next()).await.unwrap();
        seen.extend(frames.iter().map(Frame::text).map(brief));
    }
    assert_eq!(seen.len(), count, "{seen:?}");
    seen
}

/// The sequences of those records of an upgrade of which viewers are told.
pub(crate) fn told_sequences(dir: &DataDir, id: &str) -> Vec<u64> {
    let stream = upgrade_stream(id);
    let records = JournalReader::open(dir, &stream).unwrap().map(Result::unwrap);
    records
        .filter(|record| {
            let event: UpgradeEvent = record.decode().unwrap();
            ProgressEventMessage::new(&upgrade_id(id), &record.meta(), &event).is_some()
        })
        .map(|record| record.seq)
        .collect()
}

/// The Python that the set-up of the tests installs. Its absence is a failure of the set-up, not a reason to skip.
pub(crate) fn python() -> std::path::PathBuf {
    let program = std::env::current_exe().unwrap();
    program
        .ancestors()
        .map(|dir| dir.join("test-servers/python/bin/python"))
        .find(|python| python.exists())
        .expect("`cargo xtask test --step set-up` makes it below the target directory")
}

/// What happens to what passes a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Nothing passes, and nobody is told.
    Frozen,
    /// All connections are cut, whose number this is.
    Cut(u64),
}

/// A proxy whose connections are cut or freeze.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    weather: watch::Sender<Weather>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) fn freeze(&self) {
        self.weather.send_replace(Weather::Frozen);
    }

    pub(crate) fn thaw(&self) {
        self.weather.send_replace(Weather::Fair);
    }

    /// Cuts all connections that there are.
    pub(crate) fn cut(&self, number: u64) {
        self.weather.send_replace(Weather::Cut(number));
    }
}

pub(crate) async fn cutting_proxy(to: SocketAddr) -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (weather, _) = watch::channel(Weather::Fair);
    let sender = weather.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut passing = JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let Ok(target) = TcpStream::connect(to).await else {
                continue;
            };
            let weather = sender.subscribe();
            passing.spawn(pass(socket, target, weather));
            while passing.try_join_next().is_some() {}
        }
    });
    Proxy {
        address,
        weather,
        _tasks: tasks,
    }
}

async fn pass(mut near: TcpStream, mut far: TcpStream, mut weather: watch::Receiver<Weather>) {
    let (mut there, mut back) = (vec![0; 4096], vec![0; 4096]);
    weather.mark_unchanged();
    loop {
        let frozen = *weather.borrow() == Weather::Frozen;
        tokio::select! {
            changed = weather.changed() => match *weather.borrow_and_update() {
                _ if changed.is_err() => return,
                Weather::Cut(_) => return,
                Weather::Fair | Weather::Frozen => {}
            },
            read = near.read(&mut there), if !frozen => match read {
                Ok(length) if length > 0 => if far.write_all(&there[..length]).await.is_err() { return },
                _ => return,
            },
            read = far.read(&mut back), if !frozen => match read {
                Ok(length) if length > 0 => if near.write_all(&back[..length]).await.is_err() { return },
                _ => return,
            },
        }
    }
}

/// A small generator of test choices (xorshift64*), so that a seed reproduces a run.
pub(crate) struct Choices(u64);

impl Choices {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// That of `cargo xtask faults --long`, else always the same.
    pub(crate) fn seed() -> u64 {
        asked_for("EKSTRACK_FAULTS_SEED").unwrap_or(28)
    }

    /// That of `cargo xtask faults --long`, else `usual`.
    pub(crate) fn count(usual: u64) -> u64 {
        asked_for("EKSTRACK_FAULTS_COUNT").unwrap_or(usual)
    }

    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit
    }
}

#[expect(clippy::disallowed_methods, reason = "a test may be told how long to run")]
fn asked_for(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}
