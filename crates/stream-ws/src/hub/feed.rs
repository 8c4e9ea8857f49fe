//! One task per stream that is watched: follows its journal, encodes each event once, and hands it to all who watch.
//!
//! The task owns the stream's state and the list of its viewers, so whoever joins does so between two commits: the
//! summary that it gets and the events after it fit without gap or repeat.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracking_journal::{Commit, DataDir, Follower, Head, JournalError, Liveness};
use tracking_model::{Session, StreamId, TaskId, UpgradeProgress};

use super::Counters;
use super::followed::{Followed, Names};
use super::registration::{Registration, push_to_each};
use crate::frame::Frame;
use crate::protocol::{
    ErrorCode, Position, ResetReason, SummaryParts, error_frame, reset_frame, summary_text,
};
use crate::source::{SummarySource, UpgradeView};

/// How often a feed looks at what changes with time alone, and whether anybody still watches.
const LOOK: Duration = Duration::from_secs(5);
/// How often it looks for a journal that cannot be read.
const LOOK_FOR_JOURNAL: Duration = Duration::from_secs(1);
/// For how long a view of an unchanged state is handed to those who join.
const VIEW_KEEPS: Duration = Duration::from_secs(1);
/// So many events are handed out before viewers get a turn: what comes in one go should overflow nobody who keeps up.
const SLICE: usize = 256;
/// So many viewers are served before others get a turn.
const VIEWERS_AT_A_TIME: usize = 64;
const COMMANDS: usize = 64;

/// What viewers ask of a feed.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    /// Send everything from now on, after a summary, after a reset if a reason is given.
    Join {
        who: Registration,
        reset: Option<ResetReason>,
        beginning: Beginning,
    },
    /// The viewer knows everything up to `since`: what does it lack? If `since` cannot be, that is a `Join`.
    Resume {
        who: Registration,
        since: Position,
        beginning: Beginning,
    },
    /// The viewer has caught up to `at`: if that is where the feed stands, send everything from now on.
    Meet { who: Registration, at: Position },
    /// Send a summary.
    Summarize { who: Registration },
    /// Where does it stand?
    Where,
    /// Hand out what is durable now, and answer then.
    Settle,
}

/// What the summary tells beside the upgrade that begins something for a viewer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beginning {
    /// Where its sessions stand.
    pub(crate) sessions: Option<BTreeMap<String, Position>>,
    /// What estimates are learned from.
    pub(crate) history: Option<Arc<RawValue>>,
}

impl Beginning {
    fn tells_the_same_as(&self, other: &Self) -> bool {
        self.sessions == other.sessions && self.history_text() == other.history_text()
    }

    fn history_text(&self) -> Option<&str> {
        self.history.as_ref().map(|history| history.get())
    }
}

/// A summary that began something for a viewer, for others that begin with the same.
struct FirstSummary {
    view: Arc<UpgradeView>,
    has_snapshot: bool,
    beginning: Beginning,
    frame: Frame,
}

/// What a feed answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What was asked for has been queued.
    Done(Head),
    /// What lies between must be read from the journal first, up to here. The summary precedes it.
    Behind { until: Head, summary: Option<Frame> },
    /// There is nothing that could be watched, and why.
    Unavailable(ErrorCode, String),
}

/// The way to a feed. The feed ends some time after nobody watches any more.
#[derive(Debug, Clone)]
pub(crate) struct FeedHandle(mpsc::Sender<(Ask, oneshot::Sender<Answer>)>);

impl FeedHandle {
    /// Asks; `None` if the feed has ended.
    pub(crate) async fn ask(&self, ask: Ask) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        self.0.send((ask, reply)).await.ok()?;
        answer.await.ok()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.is_closed()
    }
}

/// What a feed needs.
#[derive(Debug, Clone)]
pub(crate) struct FeedParts {
    pub(crate) dir: DataDir,
    pub(crate) source: Arc<dyn SummarySource>,
    pub(crate) counters: Arc<Counters>,
}

/// The feed of `stream`, to be run, and the way to it.
pub(crate) fn feed(stream: StreamId, parts: FeedParts) -> (FeedHandle, impl Future<Output = ()> + Send) {
    let (sender, asked) = mpsc::channel(COMMANDS);
    let run = async move {
        match stream {
            StreamId::Upgrade(_) => Feed::<UpgradeProgress>::new(stream, parts).run(asked).await,
            StreamId::Session(_) => Feed::<Session>::new(stream, parts).run(asked).await,
        }
    };
    (FeedHandle(sender), run)
}

struct Feed<F: Followed> {
    names: Names,
    parts: FeedParts,
    source: Result<Follower<F>, (ErrorCode, String)>,
    viewers: Vec<Registration>,
    liveness: Option<(Instant, Option<Liveness>)>,
    view: Option<(Head, Instant, Arc<UpgradeView>)>,
    /// The summary of a view, without what begins something.
    summary: Option<(Arc<UpgradeView>, Frame)>,
    snapshot: Option<(Head, Arc<RawValue>)>,
    first: Option<FirstSummary>,
    /// What of the last view was told to all, of that which changes with time alone.
    told: Option<(Option<Arc<str>>, Vec<TaskId>)>,
}

impl<F: Followed> Feed<F> {
    fn new(stream: StreamId, parts: FeedParts) -> Self {
        Self {
            names: Names::new(stream),
            parts,
            source: Err((ErrorCode::Unavailable, "not opened yet".to_owned())),
            viewers: Vec::new(),
            liveness: None,
            view: None,
            summary: None,
            snapshot: None,
            first: None,
            told: None,
        }
    }

    async fn run(mut self, mut asked: mpsc::Receiver<(Ask, oneshot::Sender<Answer>)>) {
        self.open().await;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.tick().await;
        let mut idle = 0;
        loop {
            tokio::select! {
                question = asked.recv() => {
                    let Some((ask, reply)) = question else { return };
                    match ask {
                        Ask::Settle => self.settle().await,
                        Ask::Join { .. } | Ask::Resume { .. } | Ask::Meet { .. } | Ask::Summarize { .. } => {
                            self.look_at_writers().await;
                        }
                        Ask::Where => {}
                    }
                    // Whoever asked may be gone.
                    drop(reply.send(self.answer(ask)));
                    idle = 0;
                }
                next = next_commit(&mut self.source) => match next {
                    Some(Ok(commit)) => self.tell(&commit).await,
                    Some(Err(error)) => self.lose(&error).await,
                    None => self.open_again().await,
                },
                _ = look.tick() => {
                    self.look_again().await;
                    idle = if self.viewers.is_empty() { idle + 1 } else { 0 };
                    if idle > 1 {
                        return;
                    }
                }
            }
        }
    }

    async fn settle(&mut self) {
        while let Ok(follower) = &mut self.source {
            match follower.advance().await {
                Ok(Some(commit)) => self.tell(&commit).await,
                // What is wrong is met again, and told, where the stream is followed.
                Ok(None) | Err(_) => return,
            }
        }
    }

    async fn open(&mut self) {
        let (dir, stream) = (self.parts.dir.clone(), self.names.stream.clone());
        let opened = tokio::task::spawn_blocking(move || Follower::<F>::open(&dir, &stream)).await;
        self.source = match opened {
            // Whoever began it has not come far, or died there.
            Ok(Ok(follower)) if !follower.state().has_begun() => Err((
                ErrorCode::UnknownUpgrade,
                format!("there is no {}", self.names.text),
            )),
            Ok(Ok(follower)) => Ok(follower),
            Ok(Err(error)) => Err(self.reason(&error)),
            Err(error) => Err((ErrorCode::Unavailable, error.to_string())),
        };
    }

    /// Viewers are not told paths of this machine; the log is.
    fn reason(&self, error: &JournalError) -> (ErrorCode, String) {
        let stream = &self.names.text;
        match error {
            JournalError::NoSuchStream { .. } => (ErrorCode::UnknownUpgrade, format!("there is no {stream}")),
            JournalError::Removed { .. } => (ErrorCode::Removed, format!("{stream} was removed")),
            error => {
                tracing::warn!(%error, %stream, "a stream cannot be shown to its viewers");
                let message = format!("{stream} cannot be read at present; the server's log says why");
                (ErrorCode::Unavailable, message)
            }
        }
    }

    /// What was followed is no more: says so, and looks for it again.
    async fn lose(&mut self, error: &JournalError) {
        let (code, message) = self.reason(error);
        // The journal that took its place is looked at next, and a reset says the rest.
        if !matches!(error, JournalError::Replaced { .. }) {
            self.send_to_all(&[error_frame(code, message.clone())]).await;
        }
        self.source = Err((code, message));
    }

    async fn open_again(&mut self) {
        self.open().await;
        if self.source.is_ok() {
            self.look_at_writers().await;
            for who in std::mem::take(&mut self.viewers) {
                self.join(who, Some(ResetReason::Replaced), &Beginning::default());
            }
        }
    }

    async fn tell(&mut self, commit: &Commit<F::Event>) {
        let epoch = commit.head.epoch;
        for records in commit.records.chunks(SLICE) {
            let frames: Vec<_> = records
                .iter()
                .filter_map(|record| F::frame(&self.names, epoch, &record.meta, &record.event))
                .collect();
            self.send_to_all(&frames).await;
            if commit.records.len() > SLICE {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn send_to_all(&mut self, frames: &[Frame]) {
        if frames.is_empty() {
            return;
        }
        let mut gone = Vec::new();
        for (part, viewers) in self.viewers.chunks(VIEWERS_AT_A_TIME).enumerate() {
            // Each may have been a system call.
            if part > 0 {
                tokio::task::yield_now().await;
            }
            for (place, wants) in push_to_each(viewers, frames, &self.parts.counters)
                .into_iter()
                .enumerate()
            {
                if !wants {
                    gone.push(part * VIEWERS_AT_A_TIME + place);
                }
            }
        }
        for index in gone.into_iter().rev() {
            self.viewers.swap_remove(index);
        }
    }

    /// Tells all what changed with time alone: who is at work, and which tasks are silent.
    async fn look_again(&mut self) {
        self.viewers.retain(Registration::is_wanted);
        (self.liveness, self.view, self.summary) = (None, None, None);
        (self.snapshot, self.first) = (None, None);
        if self.viewers.is_empty() {
            return;
        }
        self.look_at_writers().await;
        let Some((head, view)) = self.view() else { return };
        let now = (view.agent.clone(), view.summary.stalled_tasks.clone());
        if self.told.as_ref().is_some_and(|told| *told != now) {
            let frame = self.summary(head, &view);
            self.send_to_all(&[frame]).await;
        }
        self.told = Some(now);
    }

    /// Finds out who is at work, on a thread that may block, unless that was done a moment ago.
    async fn look_at_writers(&mut self) {
        let known = self
            .liveness
            .is_some_and(|(since, _)| since.elapsed() < VIEW_KEEPS);
        let Some(upgrade_id) = self
            .source
            .as_ref()
            .ok()
            .and_then(|follower| follower.state().written_for())
            .filter(|_| !known)
        else {
            return;
        };
        let source = Arc::clone(&self.parts.source);
        let looked = tokio::task::spawn_blocking(move || source.liveness(&upgrade_id)).await;
        let liveness = looked.unwrap_or_else(|error| {
            tracing::error!(%error, stream = %self.names.text, "cannot tell whether somebody is at work");
            None
        });
        self.liveness = Some((Instant::now(), liveness));
    }

    fn view(&mut self) -> Option<(Head, Arc<UpgradeView>)> {
        let follower = self.source.as_ref().ok()?;
        let head = follower.head();
        if let Some((at, since, view)) = &self.view
            && *at == head
            && since.elapsed() < VIEW_KEEPS
        {
            return Some((head, Arc::clone(view)));
        }
        let liveness = self.liveness.and_then(|(_, liveness)| liveness);
        let view = Arc::new(follower.state().view(&*self.parts.source, liveness)?);
        self.view = Some((head, Instant::now(), Arc::clone(&view)));
        let told = (view.agent.clone(), view.summary.stalled_tasks.clone());
        self.told.get_or_insert(told);
        Some((head, view))
    }

    /// The summary for those who have begun. All who ask at once share it.
    fn summary(&mut self, head: Head, view: &Arc<UpgradeView>) -> Frame {
        if let Some((of, frame)) = &self.summary
            && Arc::ptr_eq(of, view)
        {
            return frame.clone();
        }
        let text = summary_text(&self.names.text, head, view, SummaryParts::default());
        let frame = Frame::control(&text);
        self.summary = Some((Arc::clone(view), frame.clone()));
        frame
    }

    /// The summary that begins something for a viewer. All who come at once share it: with a snapshot it may be large.
    fn first_summary(&mut self, who: &Registration, beginning: &Beginning) -> Option<Frame> {
        let (head, view) = self.view()?;
        let snapshot = if who.queue.wants_snapshots() {
            self.snapshot(head)
        } else {
            None
        };
        if let Some(first) = &self.first
            && Arc::ptr_eq(&first.view, &view)
            && first.has_snapshot == snapshot.is_some()
            && first.beginning.tells_the_same_as(beginning)
        {
            return Some(first.frame.clone());
        }
        let parts = SummaryParts {
            sessions: beginning.sessions.as_ref(),
            snapshot: snapshot.as_deref(),
            history: beginning.history.as_deref(),
        };
        let frame = Frame::control(&summary_text(&self.names.text, head, &view, parts));
        self.first = Some(FirstSummary {
            view,
            has_snapshot: snapshot.is_some(),
            beginning: beginning.clone(),
            frame: frame.clone(),
        });
        Some(frame)
    }

    fn snapshot(&mut self, head: Head) -> Option<Arc<RawValue>> {
        if let Some((at, snapshot)) = &self.snapshot
            && *at == head
        {
            return Some(Arc::clone(snapshot));
        }
        let snapshot = Arc::from(self.source.as_ref().ok()?.state().snapshot()?);
        self.snapshot = Some((head, Arc::clone(&snapshot)));
        Some(snapshot)
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        let head = match &self.source {
            Ok(follower) => follower.head(),
            Err((code, message)) => return Answer::Unavailable(*code, message.clone()),
        };
        match ask {
            Ask::Join {
                who,
                reset,
                beginning,
            } => self.join(who, reset, &beginning),
            Ask::Resume {
                who,
                since,
                beginning,
            } => match void(since, head) {
                Some(reason) => self.join(who, Some(reason), &beginning),
                None => Answer::Behind {
                    until: head,
                    summary: self.first_summary(&who, &beginning),
                },
            },
            Ask::Meet { who, at } => match void(at, head) {
                Some(reason) => self.join(who, Some(reason), &Beginning::default()),
                None if at.seq == head.seq => {
                    self.viewers.push(who);
                    Answer::Done(head)
                }
                None => Answer::Behind {
                    until: head,
                    summary: None,
                },
            },
            Ask::Summarize { who } => {
                if let Some((head, view)) = self.view() {
                    let frame = self.summary(head, &view);
                    who.push(&[frame]);
                }
                Answer::Done(head)
            }
            Ask::Where | Ask::Settle => Answer::Done(head),
        }
    }

    fn join(&mut self, who: Registration, reset: Option<ResetReason>, beginning: &Beginning) -> Answer {
        let Ok(follower) = &self.source else {
            let message = format!("{} cannot be read at present", self.names.text);
            return Answer::Unavailable(ErrorCode::Unavailable, message);
        };
        let head = follower.head();
        let mut frames = Vec::new();
        if let Some(reason) = reset {
            self.parts.counters.reset();
            frames.push(reset_frame(&self.names.text, head.into(), reason));
        }
        frames.extend(self.first_summary(&who, beginning));
        if who.push(&frames) {
            self.viewers.push(who);
        }
        Answer::Done(head)
    }
}

/// Why a viewer's place cannot be one of a stream that stands at `head`. Before the first record any epoch will do.
fn void(place: Position, head: Head) -> Option<ResetReason> {
    if place.seq > 0 && place.epoch != head.epoch {
        Some(ResetReason::Epoch)
    } else if place.seq > head.seq {
        Some(ResetReason::Future)
    } else {
        None
    }
}

/// The next commit; `None` when it is time to look for a journal that could not be read.
///
/// # Cancellation
/// Nothing is lost when the future is dropped.
async fn next_commit<F: Followed>(
    source: &mut Result<Follower<F>, (ErrorCode, String)>,
) -> Option<Result<Commit<F::Event>, JournalError>> {
    let Ok(follower) = source else {
        sleep(LOOK_FOR_JOURNAL).await;
        return None;
    };
    Some(follower.next().await)
}
