//! The same without async, for agents that have no runtime: calls block until what they ask for is durable.
//!
//! A runtime of its own, with one thread beside yours, does what goes on between calls: relays, timers. Do not use it
//! inside async code: blocking there panics.
//!
//! ```
#![doc = include_str!("../examples/agent_blocking.rs")]
//! ```

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use progress_core::{CompleteOptions, Estimate, ProgressError, TaskReport};
use serde_json::Value;
use stream_ws::ServerOptions;
use tokio::runtime::Runtime;
use tracking_journal::{Clock, Committed, EventSink, RecoveryReport};
use tracking_model::{
    Artifact, ArtifactId, Collection, CollectionId, Details, NewArtifact, NewCollection, NewSession, NewTask,
    ProgressEvent, Session, SessionEvent, SessionId, SessionOutcome, SessionSummary, Status, Summary,
    Timestamp, UpgradeId,
};

use crate::{
    AddProgress, Archive, ArtifactError, ArtifactQuery, CleanupOptions, CleanupProgress, CleanupReport,
    DeleteOptions, Deletion, Download, NewFile, RetentionPlan, RetentionPolicy, SearchResults, Sessions,
    ShutdownReport, StatisticsResults, TrackingError, VerifyProgress, VerifyReport, VerifyScope,
};

/// Configures a blocking [`Tracking`], as [`crate::TrackingBuilder`] does an async one.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is opened before `build`"]
pub struct TrackingBuilder {
    builder: crate::TrackingBuilder,
}

impl TrackingBuilder {
    fn map(self, set: impl FnOnce(crate::TrackingBuilder) -> crate::TrackingBuilder) -> Self {
        Self {
            builder: set(self.builder),
        }
    }

    /// As [`crate::TrackingBuilder::data_dir`].
    pub fn data_dir(self, path: impl Into<PathBuf>) -> Self {
        self.map(|builder| builder.data_dir(path))
    }

    /// As [`crate::TrackingBuilder::actor`].
    pub fn actor(self, actor: impl Into<String>) -> Self {
        self.map(|builder| builder.actor(actor))
    }

    /// As [`crate::TrackingBuilder::upgrade`].
    pub fn upgrade(self, id: impl Into<String>, plan: impl Into<String>, cluster: impl Into<String>) -> Self {
        self.map(|builder| builder.upgrade(id, plan, cluster))
    }

    /// As [`crate::TrackingBuilder::existing_upgrade`].
    pub fn existing_upgrade(self, id: impl Into<String>) -> Self {
        self.map(|builder| builder.existing_upgrade(id))
    }

    /// As [`crate::TrackingBuilder::metadata`].
    pub fn metadata(self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.map(|builder| builder.metadata(key, value))
    }

    /// As [`crate::TrackingBuilder::lock_timeout`].
    pub fn lock_timeout(self, timeout: Duration) -> Self {
        self.map(|builder| builder.lock_timeout(timeout))
    }

    /// As [`crate::TrackingBuilder::shutdown_deadline`].
    pub fn shutdown_deadline(self, deadline: Duration) -> Self {
        self.map(|builder| builder.shutdown_deadline(deadline))
    }

    /// As [`crate::TrackingBuilder::clock`].
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        self.map(|builder| builder.clock(clock))
    }

    /// As [`crate::TrackingBuilder::sink`].
    pub fn sink(self, sink: Arc<dyn EventSink>) -> Self {
        self.map(|builder| builder.sink(sink))
    }

    /// As [`crate::TrackingBuilder::websocket`].
    pub fn websocket(self, address: impl Into<String>) -> Self {
        self.map(|builder| builder.websocket(address))
    }

    /// As [`crate::TrackingBuilder::websocket_with`].
    pub fn websocket_with(self, address: impl Into<String>, options: ServerOptions) -> Self {
        self.map(|builder| builder.websocket_with(address, options))
    }

    /// As [`crate::TrackingBuilder::eventbridge`].
    #[cfg(feature = "eventbridge")]
    pub fn eventbridge(self, bus: crate::eventbridge::EventBridgeSink) -> Self {
        self.map(|builder| builder.eventbridge(bus))
    }

    /// As [`crate::TrackingBuilder::s3`].
    #[cfg(feature = "s3")]
    pub fn s3(self, bucket: crate::s3::SharedBucket) -> Self {
        self.map(|builder| builder.s3(bucket))
    }

    /// As [`crate::TrackingBuilder::auto_upload`].
    #[cfg(feature = "s3")]
    pub fn auto_upload(self, auto_upload: bool) -> Self {
        self.map(|builder| builder.auto_upload(auto_upload))
    }

    /// As [`crate::TrackingBuilder::build`].
    ///
    /// # Errors
    /// As [`crate::TrackingBuilder::build`], and if no thread can be started.
    pub fn build(self) -> Result<Tracking, TrackingError> {
        let runtime = crate::runtime::with_a_thread("tracking").map_err(TrackingError::Runtime)?;
        let inner = runtime.block_on(self.builder.build())?;
        Ok(Tracking { inner, runtime })
    }
}

/// Progress and artifacts of one upgrade, over one data directory, for code without async.
#[derive(Debug)]
pub struct Tracking {
    // Dropped before the runtime on which its tasks run.
    inner: crate::Tracking,
    runtime: Runtime,
}

impl Tracking {
    /// Begins to configure it.
    pub fn builder() -> TrackingBuilder {
        TrackingBuilder::default()
    }

    /// The upgrade's progress.
    #[must_use]
    pub const fn progress(&self) -> ProgressTracker<'_> {
        ProgressTracker { tracking: self }
    }

    /// The artifacts, of this upgrade and of all others in the data directory.
    #[must_use]
    pub const fn artifacts(&self) -> TestArtifactsManager<'_> {
        TestArtifactsManager { tracking: self }
    }

    /// Everything in the data directory, to look at it or look after it.
    #[must_use]
    pub const fn archive(&self) -> &Archive {
        self.inner.archive()
    }

    /// What opening the upgrade's journal found.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        self.inner.recovery()
    }

    /// As [`crate::Tracking::websocket_addresses`].
    #[must_use]
    pub fn websocket_addresses(&self) -> &[SocketAddr] {
        self.inner.websocket_addresses()
    }

    /// The async API beneath, for what has no blocking method; see [`Self::block_on`].
    #[must_use]
    pub const fn asynchronous(&self) -> &crate::Tracking {
        &self.inner
    }

    /// Drives a future of the async API to its end.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// As [`crate::Tracking::shutdown`].
    pub fn shutdown(self) -> ShutdownReport {
        self.runtime.block_on(self.inner.shutdown())
    }
}

/// The upgrade's progress; each method is that of [`crate::ProgressTracker`], blocking.
#[derive(Debug, Clone, Copy)]
pub struct ProgressTracker<'a> {
    tracking: &'a Tracking,
}

/// Artifacts; each method is that of [`crate::TestArtifactsManager`], blocking.
#[derive(Debug, Clone, Copy)]
pub struct TestArtifactsManager<'a> {
    tracking: &'a Tracking,
}

/// Methods that drive the async ones of the same name to their ends.
macro_rules! blocking {
    ($type:ident, $part:ident, $error:ty, $($(#[$doc:meta])* $name:ident($($arg:ident: $arg_type:ty),*) -> $output:ty;)*) => {
        impl $type<'_> {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                #[doc = concat!("As [`", stringify!($name), "`](crate::", stringify!($type), "::", stringify!($name), ").")]
                pub fn $name(&self $(, $arg: $arg_type)*) -> Result<$output, $error> {
                    self.tracking.block_on(self.tracking.inner.$part().$name($($arg),*))
                }
            )*
        }
    };
}

blocking! { ProgressTracker, progress, ProgressError,
    /// Starts the upgrade, or starts it again after a failure.
    start_upgrade(phase: impl Into<Arc<str>>) -> ();
    /// Starts the upgrade unless it runs or is completed already, as after a restart of the agent.
    ensure_started(phase: impl Into<Arc<str>>) -> Status;
    /// Enters another phase.
    set_current_phase(phase: impl Into<Arc<str>>) -> ();
    /// Asks the upgrade to wait.
    pause(reason: Option<&str>) -> ();
    /// Lets the upgrade go on.
    resume() -> ();
    /// Gives the upgrade up, for good.
    cancel(reason: Option<&str>) -> ();
    /// Ends the upgrade well.
    complete_upgrade(options: CompleteOptions) -> ();
    /// Ends the upgrade badly.
    fail_upgrade(error: impl Into<Arc<str>>) -> ();
    /// Adds a task.
    add_task(task: NewTask) -> ();
    /// Adds a task unless it is there already, as after a restart of the agent.
    ensure_task(task: NewTask) -> Status;
    /// Adds tasks, all or none.
    add_tasks(tasks: Vec<NewTask>) -> ();
    /// Starts a task, or starts it again after a failure.
    start_task(task_id: impl AsRef<str>) -> ProgressEvent;
    /// Reports how far a task is.
    update_task_progress(task_id: impl AsRef<str>, percentage: f64, message: impl Into<Arc<str>>) -> ProgressEvent;
    /// Reports how far a task is, with free-form details.
    update_task_progress_with(task_id: impl AsRef<str>, percentage: f64, message: impl Into<Arc<str>>, details: impl Into<Details>) -> ProgressEvent;
    /// Reports how many steps of a task are done.
    update_task_steps(task_id: impl AsRef<str>, done: u64, total: Option<u64>) -> ProgressEvent;
    /// Ends a task well.
    complete_task(task_id: impl AsRef<str>) -> ProgressEvent;
    /// Ends a task badly; it may be retried.
    fail_task(task_id: impl AsRef<str>, error: impl Into<Arc<str>>) -> ProgressEvent;
    /// Starts a failed task again.
    retry(task_id: impl AsRef<str>) -> ProgressEvent;
    /// Asks a task to wait.
    pause_task(task_id: impl AsRef<str>, reason: Option<&str>) -> ProgressEvent;
    /// Lets a paused task go on.
    resume_task(task_id: impl AsRef<str>) -> ProgressEvent;
    /// Gives a task up, for good.
    cancel_task(task_id: impl AsRef<str>, reason: Option<&str>) -> ProgressEvent;
    /// Says what a task waits for, and until when at the latest.
    waiting_on(task_id: impl AsRef<str>, reason: impl Into<Arc<str>>, until: Option<Timestamp>) -> ProgressEvent;
    /// Says that a task is alive.
    heartbeat(task_id: impl AsRef<str>) -> ();
    /// Returns when the upgrade is not paused: at once if it is not.
    wait_while_paused() -> ();
}

impl ProgressTracker<'_> {
    /// The tracker beneath, for callbacks, subscriptions, and what else does not block.
    #[must_use]
    pub const fn tracker(&self) -> &crate::ProgressTracker {
        self.tracking.inner.progress()
    }

    /// The upgrade in a few lines.
    #[must_use]
    pub fn progress_summary(&self) -> Summary {
        self.tracker().progress_summary()
    }

    /// How a task stands, with its last five events.
    ///
    /// # Errors
    /// As [`task_progress`](crate::ProgressTracker::task_progress).
    pub fn task_progress(&self, task_id: impl AsRef<str>) -> Result<TaskReport, ProgressError> {
        self.tracker().task_progress(task_id)
    }

    /// When the upgrade will be complete, and from what that is estimated.
    ///
    /// # Errors
    /// As [`estimated_completion`](crate::ProgressTracker::estimated_completion).
    pub fn estimated_completion(&self) -> Result<Estimate, ProgressError> {
        self.tracker().estimated_completion()
    }
}

blocking! { TestArtifactsManager, artifacts, ArtifactError,
    /// Opens a session under a new id.
    create_session(session: NewSession) -> Session;
    /// Opens a session under a given id.
    create_session_as(id: SessionId, session: NewSession) -> Session;
    /// Opens a session under a given id, unless it is there already.
    ensure_session(id: SessionId, session: NewSession) -> Session;
    /// A session's header with those of its collections.
    session(id: &SessionId) -> Session;
    /// All sessions.
    sessions() -> Sessions;
    /// What is said of a session as a whole.
    session_summary(id: &SessionId) -> SessionSummary;
    /// Passes every record of a session to a function, the oldest first.
    session_history(id: &SessionId, each: impl FnMut(Committed<SessionEvent>) -> ControlFlow<()> + Send + 'static) -> ();
    /// Tells retention to leave a session alone, or no longer.
    pin_session(id: &SessionId, pinned: bool) -> Session;
    /// Notes how an upgrade ended in its sessions.
    record_outcome(upgrade_id: &UpgradeId, outcome: SessionOutcome) -> Vec<SessionId>;
    /// Closes a session: nothing can be added any more.
    complete_session(id: &SessionId, outcome: Option<SessionOutcome>) -> Session;
    /// Creates a collection in a session.
    create_collection(session_id: &SessionId, collection: NewCollection) -> Collection;
    /// Creates a collection in a session, unless there is one of that id already.
    ensure_collection(session_id: &SessionId, collection: NewCollection) -> Collection;
    /// Adds a copy of a file.
    add_artifact(session_id: &SessionId, collection_id: &CollectionId, path: impl Into<PathBuf>, artifact: NewArtifact) -> Arc<Artifact>;
    /// Adds a copy of a file, with all that can be said of it.
    add_file(session_id: &SessionId, collection_id: &CollectionId, file: NewFile, progress: impl Fn(AddProgress) + Send + Sync + 'static) -> Arc<Artifact>;
    /// Adds what a reader delivers, up to its end.
    add_reader(session_id: &SessionId, collection_id: &CollectionId, artifact: NewArtifact, reader: impl std::io::Read + Send + 'static, max_bytes: Option<u64>) -> Arc<Artifact>;
    /// One artifact's record.
    artifact(id: &ArtifactId) -> Arc<Artifact>;
    /// Copies an artifact to a new file, or into a directory, verified.
    download_artifact(id: &ArtifactId, destination: impl Into<PathBuf>) -> Download;
    /// Notes that somebody took a copy of an artifact.
    record_download(id: &ArtifactId) -> ();
    /// Adds tags to an artifact and takes others away.
    tag_artifact(id: &ArtifactId, add: Vec<Arc<str>>, remove: Vec<Arc<str>>) -> Arc<Artifact>;
    /// Deletes an artifact; its record stays.
    delete_artifact(id: &ArtifactId, options: DeleteOptions) -> Deletion;
    /// The artifacts whose names match a pattern.
    search_by_name(pattern: &str, session_id: Option<SessionId>) -> SearchResults;
    /// The artifacts added within the last hours.
    recent_artifacts(hours: u32, session_id: Option<SessionId>) -> SearchResults;
    /// The artifacts that a query matches.
    search_artifacts(query: ArtifactQuery) -> SearchResults;
    /// Counts the artifacts that a query matches.
    artifact_statistics(query: ArtifactQuery) -> StatisticsResults;
    /// What retention would delete now, and what not and why.
    plan_retention(policy: RetentionPolicy) -> RetentionPlan;
    /// Deletes what a policy says may go.
    cleanup_old_artifacts(policy: RetentionPolicy, options: CleanupOptions, progress: impl Fn(CleanupProgress) + Send + Sync + 'static) -> CleanupReport;
    /// Reads artifacts and compares them with their records.
    verify_artifacts(scope: VerifyScope, progress: impl Fn(VerifyProgress) + Send + Sync + 'static) -> VerifyReport;
}

impl TestArtifactsManager<'_> {
    /// Adds copies of many files; the answers are in their order.
    ///
    /// # Errors
    /// Each file's own, as [`add_artifacts`](crate::TestArtifactsManager::add_artifacts).
    pub fn add_artifacts(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
        files: Vec<NewFile>,
        progress: impl Fn(AddProgress) + Send + Sync + 'static,
    ) -> Vec<Result<Arc<Artifact>, ArtifactError>> {
        let manager = self.tracking.inner.artifacts();
        let added = manager.add_artifacts(session_id, collection_id, files, progress);
        self.tracking.block_on(added)
    }
}
