//! Following an upgrade by its live server, wherever that is: what comes is shown as by the journal, as far as the
//! messages say it, and what is shown is said to be stale while the server cannot be heard.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tracking_facade::live::protocol::{ErrorCode, ResetReason, ServerMessage};
use tracking_facade::live::{Client, ClientError, ClientEvent, ClientOptions};
use tracking_facade::{Clock, ProgressEventMessage, Status, Summary, SystemClock, UpgradeId};

use super::lines::Lines;
use super::sketch::Sketch;
use super::{End, Until, has_ended};
use crate::exit::{Failure, Kind, chain};
use crate::output::{Output, note};
use crate::process::Signals;
use crate::render::time;

/// Once an upgrade has ended, what was missed may still come for so long after what came last.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// For the server to agree that we go.
const GOODBYE: Duration = Duration::from_secs(1);

/// How an upgrade is followed from afar.
#[derive(Debug)]
pub(crate) struct RemoteFollow {
    /// Without a query.
    pub(crate) url: String,
    pub(crate) upgrade: Option<UpgradeId>,
    pub(crate) output: Output,
    pub(crate) since: Option<u64>,
    pub(crate) until: Until,
    pub(crate) options: ClientOptions,
}

/// The ways to show it.
enum View {
    /// Messages as they came.
    Wire(Output),
    /// Begun once the upgrade is known.
    Lines(Output, Option<Lines>),
    Sketch(Box<Sketch>),
}

/// What is known of the connection and of the upgrade.
struct Watch {
    view: View,
    until: Until,
    /// Whether anything was ever heard.
    began: bool,
    /// Whether what happened before is asked for, so that a summary tells of an end whose event is still to come.
    resumes: bool,
    stale: bool,
    told: Option<ErrorCode>,
    /// When nothing more is to be expected.
    over: Option<(Status, Instant)>,
}

impl RemoteFollow {
    /// Shows the upgrade until it ends, or a signal comes.
    ///
    /// # Errors
    /// The server cannot be reached at first, refuses, or has no such upgrade; the output is gone.
    ///
    /// # Cancellation
    /// The terminal is left in order.
    pub(crate) async fn run(self) -> Result<End, Failure> {
        let attempted = || self.attempted();
        let signals = |error: &dyn std::error::Error| Failure::of(Kind::Failed, attempted(), error);
        let mut interrupts = Signals::take_over().map_err(|error| signals(&error))?;
        let mut resized = signal(SignalKind::window_change()).map_err(|error| signals(&error))?;
        let query = self.query().await?;
        let mut client = self.client(&query)?;
        let mut watch = Watch {
            view: View::new(&self)?,
            until: self.until,
            began: false,
            resumes: self.since.is_some(),
            stale: false,
            told: None,
            over: None,
        };
        let end = loop {
            if let Some((status, at)) = watch.over
                && at <= Instant::now()
            {
                break End::Upgrade(status);
            }
            let over = watch.over.map(|(_, at)| at);
            tokio::select! {
                incoming = interrupts.next() => break End::Signal(incoming),
                event = client.next() => match event {
                    Ok(ClientEvent::Message(message)) => watch.heard(&self, &client, &message)?,
                    Ok(ClientEvent::Stale { error, retry_in }) => watch.lost(&self, &error, retry_in)?,
                    Ok(_) => {}
                    Err(error) => return Err(watch.refused(&self, &error)),
                },
                () = watch.view.wants_drawing(&mut resized) => watch.view.draw()?,
                () = async { sleep_until(over.expect("polled only where it is over")).await }, if over.is_some() => {}
            }
        };
        watch.finish()?;
        client.close(GOODBYE).await;
        Ok(end)
    }

    fn attempted(&self) -> String {
        match &self.upgrade {
            Some(upgrade) => format!("watch upgrade {upgrade} at {}", self.url),
            None => format!("watch {}", self.url),
        }
    }

    fn client(&self, query: &str) -> Result<Client, Failure> {
        Client::new(&format!("{}{query}", self.url), self.options.clone())
            .map_err(|error| Failure::of(Kind::Usage, self.attempted(), &error))
    }

    /// What is asked for. A sequence is one of a certain journal, and which that is the server says first.
    async fn query(&self) -> Result<String, Failure> {
        let named = self.upgrade.as_ref().map(|upgrade| format!("?upgrade={upgrade}"));
        let Some(since) = self.since else {
            return Ok(named.unwrap_or_default());
        };
        let mut client = self.client(&named.unwrap_or_default())?;
        let mut told = None;
        loop {
            match client.next().await {
                Ok(ClientEvent::Message(ServerMessage::Summary(summary))) => {
                    client.close(GOODBYE).await;
                    let upgrade = &summary.data.summary.upgrade_id;
                    let epoch = summary.position.epoch;
                    if since > summary.position.seq {
                        let cause = format!("its journal has only {} records", summary.position.seq);
                        return Err(Failure::new(
                            Kind::Usage,
                            format!("{} since {since}", self.attempted()),
                            cause,
                        )
                        .hint("it may be another upgrade of the same id; leave --since out to begin anew"));
                    }
                    return Ok(format!("?upgrade={upgrade}&epoch={epoch}&since={since}"));
                }
                Ok(ClientEvent::Message(ServerMessage::Error(error))) => told = Some(error.code),
                Ok(ClientEvent::Stale { error, .. }) | Err(error) => return Err(failure(self, told, &error)),
                Ok(_) => {}
            }
        }
    }
}

/// Why it cannot be watched, as an exit code.
fn failure(follow: &RemoteFollow, told: Option<ErrorCode>, error: &ClientError) -> Failure {
    let kind = match (told, error) {
        (Some(ErrorCode::UnknownUpgrade | ErrorCode::Removed), _) => Kind::NotFound,
        (_, ClientError::Url { .. }) => Kind::Usage,
        (_, ClientError::Refused { status: 401 | 403 } | ClientError::Closed { code: 1008, .. }) => {
            Kind::Refused
        }
        _ => Kind::Unavailable,
    };
    let failure = Failure::of(kind, follow.attempted(), error);
    match kind {
        Kind::Unavailable => failure.hint("is `ekstrack serve` running there?"),
        Kind::Refused => failure.hint("--token-file names the file with the server's token"),
        _ => failure,
    }
}

impl Watch {
    fn heard(
        &mut self,
        follow: &RemoteFollow,
        client: &Client,
        message: &ServerMessage,
    ) -> Result<(), Failure> {
        if let View::Wire(output) = &self.view {
            output.text(&format!("{}\n", client.last_text()))?;
        }
        match message {
            ServerMessage::Summary(summary) => {
                if std::mem::take(&mut self.stale) {
                    note("note", "the server is heard again: what is shown is live");
                }
                self.view
                    .summary(&summary.data.summary, summary.data.agent.as_deref(), !self.began)?;
                self.began = true;
                self.settle(summary.data.summary.status, !self.resumes);
            }
            ServerMessage::Progress(event) => {
                self.view.event(&event.data)?;
                if event.data.task_id.is_none() {
                    let is_final = matches!(event.data.status, Status::Completed | Status::Cancelled);
                    self.settle(event.data.status, is_final || !self.resumes);
                } else if let Some((status, _)) = self.over {
                    self.settle(status, false);
                }
            }
            ServerMessage::Reset(reset) => {
                let why = match reset.reason {
                    ResetReason::Overflow => "they came faster than they were taken",
                    _ => "the journal is not the one that was watched before",
                };
                note("note", &format!("events are left out here: {why}"));
            }
            ServerMessage::Error(error) => {
                self.told = Some(error.code);
                if self.began {
                    note("warning", &format!("{}: {}", follow.url, error.message));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether that is the end, at once or after what may still come.
    fn settle(&mut self, status: Status, at_once: bool) {
        let pause = if at_once { Duration::ZERO } else { LAST_WORDS };
        let is_over = self.until == Until::UpgradeEnds && has_ended(status);
        self.over = is_over.then(|| (status, Instant::now() + pause));
    }

    /// What is shown is stale: says since when, and why. What was never shown cannot be.
    fn lost(
        &mut self,
        follow: &RemoteFollow,
        error: &ClientError,
        retry_in: Duration,
    ) -> Result<(), Failure> {
        if !self.began {
            return Err(failure(follow, self.told, error));
        }
        self.over = None;
        self.resumes = true;
        let why = chain(error).join(": ");
        if !std::mem::replace(&mut self.stale, true) {
            let since = time(SystemClock.now());
            let text =
                format!("what is shown is stale from {since} on: {why}; trying again in {retry_in:.1?}");
            match &mut self.view {
                View::Sketch(sketch) => sketch.stale(&why),
                View::Wire(_) | View::Lines(..) => note("warning", &text),
            }
        }
        self.view.draw()
    }

    fn refused(&mut self, follow: &RemoteFollow, error: &ClientError) -> Failure {
        if let View::Sketch(sketch) = &mut self.view {
            sketch.stale(&chain(error).join(": "));
        }
        match self.view.draw() {
            Ok(()) => failure(follow, self.told, error),
            Err(failure) => failure,
        }
    }

    fn finish(&mut self) -> Result<(), Failure> {
        match &mut self.view {
            View::Lines(..) | View::Wire(_) => Ok(()),
            View::Sketch(sketch) => sketch.draw(),
        }
    }
}

impl View {
    fn new(follow: &RemoteFollow) -> Result<Self, Failure> {
        let output = follow.output;
        Ok(if output.is_json() {
            Self::Wire(output)
        } else if output.is_live() && follow.since.is_none() {
            Self::Sketch(Box::new(Sketch::begin(&follow.url, output.palette())?))
        } else {
            Self::Lines(output, None)
        })
    }

    fn summary(&mut self, summary: &Summary, agent: Option<&str>, is_first: bool) -> Result<(), Failure> {
        match self {
            Self::Wire(_) => Ok(()),
            Self::Lines(output, lines) => {
                let lines = lines.get_or_insert_with(|| Lines::new(summary.upgrade_id.clone(), *output));
                // Later ones come with what changes with time alone.
                if is_first { lines.summary(summary) } else { Ok(()) }
            }
            Self::Sketch(sketch) => {
                sketch.summary(summary, agent);
                sketch.draw()
            }
        }
    }

    fn event(&mut self, event: &ProgressEventMessage) -> Result<(), Failure> {
        match self {
            Self::Lines(_, Some(lines)) => lines.message(event),
            Self::Wire(_) | Self::Lines(_, None) => Ok(()),
            Self::Sketch(sketch) => {
                sketch.event(event);
                Ok(())
            }
        }
    }

    async fn wants_drawing(&self, resized: &mut tokio::signal::unix::Signal) {
        match self {
            Self::Sketch(sketch) => tokio::select! {
                () = sketch.due() => {}
                _ = resized.recv() => {}
            },
            Self::Wire(_) | Self::Lines(..) => std::future::pending().await,
        }
    }

    fn draw(&mut self) -> Result<(), Failure> {
        match self {
            Self::Sketch(sketch) => sketch.draw(),
            Self::Wire(_) | Self::Lines(..) => Ok(()),
        }
    }
}
