//! Following an upgrade by its live server, wherever that is: what comes is shown as by the journal, and what is shown is
//! said to be stale while the server cannot be heard.

mod clock;
mod refused;

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tracking_facade::live::protocol::{
    ClientMessage, ErrorCode, ErrorMessage, Placed, Position, Query, ResetReason, ServerMessage,
    SummaryMessage,
};
use tracking_facade::live::{Client, ClientError, ClientEvent, ClientOptions};
use tracking_facade::{Span, Status, Timestamp, UpgradeId};

use super::mirrored::Mirrored;
use super::{End, Until, has_ended};
use crate::exit::{Failure, Kind, chain};
use crate::output::{Output, note};
use crate::process::Signals;
use crate::render::time;
use crate::work::Work;
use clock::ServerClock;
use refused::{failure, future};

/// For the server to agree that we go.
const GOODBYE: Duration = Duration::from_secs(1);
/// A tree shows what changes without events, too: after so long without a message, that is asked for.
const QUIET: Duration = Duration::from_secs(10);

/// How an upgrade is followed from afar.
#[derive(Debug)]
pub(crate) struct RemoteFollow {
    /// With a query of its own only where neither an upgrade nor a sequence is given.
    pub(crate) url: String,
    pub(crate) upgrade: Option<UpgradeId>,
    pub(crate) output: Output,
    pub(crate) since: Option<u64>,
    pub(crate) until: Until,
    pub(crate) options: ClientOptions,
}

/// A URL as it may be printed: what is before the host, and in the query, may be secret.
pub(crate) fn shown(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

/// The ways to show it.
#[derive(Debug)]
enum View {
    /// Messages as they came.
    Wire(Output),
    /// The upgrade.
    Mirrored(Box<Mirrored>),
}

/// Says that a connection is made, until it is dropped.
struct Connecting(Work);

impl Connecting {
    fn begin(follow: &RemoteFollow) -> Self {
        let work = Work::begin("connecting to", follow.output);
        work.say(&shown(&follow.url));
        Self(work)
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What is known of the connection and of the upgrade.
struct Watch {
    view: View,
    /// Until anything is heard.
    connecting: Option<Connecting>,
    until: Until,
    /// Whether anything was ever heard.
    began: bool,
    stale: bool,
    /// What is asked for continues something: before a summary, events are to be expected.
    resumes: bool,
    /// Nothing was heard on this connection yet.
    fresh: bool,
    told: Option<ErrorCode>,
    /// How the upgrade stands, and as of which record.
    status: Option<(u64, Status)>,
    /// Events up to there may still come.
    missing: bool,
    /// A summary was asked for, which comes when nothing is missing any more.
    asked: bool,
    heard_at: Instant,
    clock: ServerClock,
}

impl RemoteFollow {
    /// Shows the upgrade until it ends, or a signal comes.
    ///
    /// # Errors
    /// The server cannot be reached at first, refuses, or has no such upgrade (any more); the output is gone.
    ///
    /// # Cancellation
    /// The terminal is left in order.
    pub(crate) async fn run(self) -> Result<End, Failure> {
        let attempted = || self.attempted();
        let signals = |error: &dyn std::error::Error| Failure::of(Kind::Failed, attempted(), error);
        let mut interrupts = Signals::that_end().map_err(|error| signals(&error))?;
        let mut resized = signal(SignalKind::window_change()).map_err(|error| signals(&error))?;
        let mut watch = Watch::new(&self);
        let query = tokio::select! {
            query = self.query() => query?,
            incoming = interrupts.asked_to_end() => return Ok(End::Signal(incoming)),
        };
        let mut client = self.client(&query)?;
        let end = loop {
            if let Some(status) = watch.over() {
                break End::Upgrade(status);
            }
            tokio::select! {
                incoming = interrupts.asked_to_end() => break End::Signal(incoming),
                event = client.next() => watch.hear(&self, &mut client, event)?,
                () = watch.view.due() => watch.draw()?,
                _ = resized.recv() => watch.draw()?,
                () = sleep_until(watch.heard_at + QUIET), if watch.is_quiet() => {
                    client.send(&ClientMessage::Summary);
                    watch.heard_at = Instant::now();
                }
            }
        };
        watch.view.finish(watch.clock.now())?;
        client.close(GOODBYE).await;
        Ok(end)
    }

    fn attempted(&self) -> String {
        let url = shown(&self.url);
        match &self.upgrade {
            Some(upgrade) => format!("watch upgrade {upgrade} at {url}"),
            None => format!("watch {url}"),
        }
    }

    fn client(&self, query: &Query) -> Result<Client, Failure> {
        let mut url = self.url.clone();
        let query = query.to_query();
        if !query.is_empty() {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&query);
        }
        Client::new(&url, self.options.clone()).map_err(|error| failure(self, None, &error))
    }

    /// What is asked for. A sequence is one of a certain journal, and which that is the server says first.
    async fn query(&self) -> Result<Query, Failure> {
        let mut query = Query {
            upgrade: self.upgrade.clone(),
            ..Query::default()
        };
        if let Some(since) = self.since {
            let summary = self.first_summary(&query).await?;
            let Placed { position, data, .. } = summary;
            if since > position.seq {
                return Err(future(self, since, position.seq));
            }
            query.upgrade = Some(data.summary.upgrade_id);
            query.since = Some(Position {
                epoch: position.epoch,
                seq: since,
            });
        }
        query.snapshot = !self.output.is_json();
        Ok(query)
    }

    async fn first_summary(&self, query: &Query) -> Result<Placed<SummaryMessage>, Failure> {
        let mut client = self.client(query)?;
        let mut told = None;
        loop {
            match client.next().await {
                Ok(ClientEvent::Message(ServerMessage::Summary(summary))) => {
                    client.close(GOODBYE).await;
                    return Ok(*summary);
                }
                Ok(ClientEvent::Message(ServerMessage::Error(error))) => told = Some(error.code),
                Ok(ClientEvent::Stale { error, .. }) | Err(error) => return Err(failure(self, told, &error)),
                Ok(_) => {}
            }
        }
    }
}

impl Watch {
    fn new(follow: &RemoteFollow) -> Self {
        let output = follow.output;
        let view = if output.is_json() {
            View::Wire(output)
        } else {
            View::Mirrored(Box::new(Mirrored::new(
                output,
                output.is_live() && follow.since.is_none(),
            )))
        };
        Self {
            view,
            connecting: Some(Connecting::begin(follow)),
            until: follow.until,
            began: false,
            stale: false,
            resumes: follow.since.is_some() || follow.url.contains("since="),
            fresh: true,
            told: None,
            status: None,
            missing: false,
            asked: false,
            heard_at: Instant::now(),
            clock: ServerClock::default(),
        }
    }

    /// How the upgrade has ended, if that is so, and everything that led to it was shown.
    fn over(&self) -> Option<Status> {
        let (_, status) = self.status?;
        let is_over = self.until == Until::UpgradeEnds && has_ended(status) && !self.missing && !self.stale;
        is_over.then_some(status)
    }

    fn draw(&mut self) -> Result<(), Failure> {
        self.view.draw(self.clock.now())
    }

    fn is_quiet(&self) -> bool {
        self.view.is_drawn() && self.began && !self.stale
    }

    fn hear(
        &mut self,
        follow: &RemoteFollow,
        client: &mut Client,
        event: Result<ClientEvent, ClientError>,
    ) -> Result<(), Failure> {
        match event {
            Ok(ClientEvent::Message(message)) => {
                self.heard_at = Instant::now();
                self.connecting = None;
                self.message(follow, client, &message)
            }
            Ok(ClientEvent::Stale { error, retry_in }) => self.lost(follow, &error, retry_in),
            Ok(ClientEvent::Connected) => {
                (self.fresh, self.asked) = (true, false);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => {
                self.view.stale(&chain(&error).join(": "), self.clock.now());
                self.draw()?;
                Err(failure(follow, self.told, &error))
            }
        }
    }

    fn message(
        &mut self,
        follow: &RemoteFollow,
        client: &mut Client,
        message: &ServerMessage,
    ) -> Result<(), Failure> {
        if let View::Wire(output) = &self.view {
            // What was asked for here alone is nobody's business, and errors are none of the messages.
            let ours = self.asked && matches!(message, ServerMessage::Summary(_));
            if !ours && !matches!(message, ServerMessage::Error(_)) {
                output.text(&format!("{}\n", client.last_text()))?;
            }
        }
        match message {
            ServerMessage::Summary(summary) => self.summary(client, summary)?,
            ServerMessage::Progress(event) => {
                if let View::Mirrored(mirrored) = &mut self.view {
                    mirrored.event(event)?;
                }
                let seq = event.position.seq;
                match self.status {
                    // How it was before is not how it stands.
                    Some((as_of, _)) if seq < as_of => {}
                    Some((as_of, _)) if seq == as_of => self.missing = false,
                    _ => {
                        self.missing = false;
                        if event.data.task_id.is_none() {
                            self.status = Some((seq, event.data.status));
                        }
                    }
                }
            }
            ServerMessage::Reset(reset) => {
                self.resumes = false;
                self.status = None;
                let why = match reset.reason {
                    ResetReason::Overflow => "they came faster than they were taken",
                    _ => "the journal is not the one that was watched before",
                };
                self.view
                    .tell("note", &format!("events are left out here: {why}"));
            }
            ServerMessage::Error(error) => self.error(follow, error)?,
            _ => {}
        }
        if self.missing && !self.asked && self.status.is_some_and(|(_, status)| has_ended(status)) {
            self.asked = client.send(&ClientMessage::Summary);
        }
        Ok(())
    }

    fn summary(&mut self, client: &Client, summary: &Placed<SummaryMessage>) -> Result<(), Failure> {
        if std::mem::take(&mut self.stale) {
            let text = "the server is heard again: what is shown is live";
            self.view.tell("note", text);
        }
        if let Some(now) = summary.data.made_at {
            self.clock.told(now);
        }
        if let View::Mirrored(mirrored) = &mut self.view {
            mirrored.summary(summary, self.clock.now())?;
        }
        self.began = true;
        let seen = client.position(&summary.stream).map_or(0, |seen| seen.seq);
        let first = std::mem::take(&mut self.fresh);
        self.missing = first && self.resumes && seen < summary.position.seq;
        self.asked = false;
        self.status = Some((summary.position.seq, summary.data.summary.status));
        Ok(())
    }

    /// Before the first summary, the server hangs up after it.
    fn error(&mut self, follow: &RemoteFollow, error: &ErrorMessage) -> Result<(), Failure> {
        self.told = Some(error.code);
        if !self.began {
            return Ok(());
        }
        match error.code {
            ErrorCode::Removed | ErrorCode::UnknownUpgrade => {
                self.view.stale(&error.message, self.clock.now());
                self.draw()?;
                Err(Failure::new(
                    Kind::NotFound,
                    format!("{} any longer", follow.attempted()),
                    error.message.clone(),
                ))
            }
            ErrorCode::Unavailable => self.stale_since(self.clock.now(), &error.message, ""),
            _ => {
                self.view
                    .tell("warning", &format!("{}: {}", shown(&follow.url), error.message));
                Ok(())
            }
        }
    }

    /// What was never shown cannot be stale.
    fn lost(
        &mut self,
        follow: &RemoteFollow,
        error: &ClientError,
        retry_in: Duration,
    ) -> Result<(), Failure> {
        if !self.began {
            return Err(failure(follow, self.told, error));
        }
        self.resumes = true;
        let next = format!("; trying again in {retry_in:.1?}");
        self.stale_since(
            last_heard(self.clock.now(), error),
            &chain(error).join(": "),
            &next,
        )
    }

    /// What is shown is stale: says since when, and why.
    fn stale_since(&mut self, since: Timestamp, why: &str, next: &str) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.stale, true) {
            let text = format!("what is shown is stale from {} on: {why}{next}", time(since));
            self.view.tell("warning", &text);
            self.view.stale(why, since);
        }
        self.draw()
    }
}

/// Until when the server was heard that is not heard any more at `now`. Silence is noticed at its end.
fn last_heard(now: Timestamp, error: &ClientError) -> Timestamp {
    match error {
        ClientError::Silent(silent) => now - Span::from(*silent),
        _ => now,
    }
}

impl View {
    fn is_drawn(&self) -> bool {
        match self {
            Self::Wire(_) => false,
            Self::Mirrored(mirrored) => mirrored.is_drawn(),
        }
    }

    /// Says so on stderr, unless a terminal is drawn on, which shows it by itself.
    fn tell(&self, head: &str, text: &str) {
        if !self.is_drawn() {
            note(head, text);
        }
    }

    fn stale(&mut self, why: &str, now: Timestamp) {
        match self {
            Self::Wire(_) => {}
            Self::Mirrored(mirrored) => mirrored.stale(why, now),
        }
    }

    async fn due(&self) {
        match self {
            Self::Wire(_) => std::future::pending().await,
            Self::Mirrored(mirrored) => mirrored.due().await,
        }
    }

    fn draw(&mut self, now: Timestamp) -> Result<(), Failure> {
        match self {
            Self::Wire(_) => Ok(()),
            Self::Mirrored(mirrored) => mirrored.draw(now),
        }
    }

    fn finish(&mut self, now: Timestamp) -> Result<(), Failure> {
        match self {
            Self::Wire(_) => Ok(()),
            Self::Mirrored(mirrored) => mirrored.finish(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_as_old_as_the_silence() {
        let now = Timestamp::from_micros(100_000_000);
        let silent = ClientError::Silent(Duration::from_secs(30));
        assert_eq!(last_heard(now, &silent), Timestamp::from_micros(70_000_000));
        assert_eq!(last_heard(now, &ClientError::Gone), now);
        assert!(silent.to_string().ends_with(" 30s"), "{silent}");
    }
}
