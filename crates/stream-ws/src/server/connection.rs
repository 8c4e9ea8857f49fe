//! One viewer from its first message to its last.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::metered::Allowance;
use super::{Limits, Token};
use crate::frame::Frame;
use crate::hub::{HubError, Progress, Viewer};
use crate::protocol::{
    ClientMessage, CloseReason, ErrorCode, MalformedMessage, Query, QueryError, error_frame,
};
use crate::wire::{Turn, Wire};

/// Why a connection ends: what is said first, if anything, and the close code.
pub(super) struct End {
    pub(super) reason: CloseReason,
    pub(super) words: String,
    last: Option<Frame>,
    /// There is nobody to say it to.
    gone: bool,
}

impl End {
    const fn gone() -> Self {
        Self {
            reason: CloseReason::Normal,
            words: String::new(),
            last: None,
            gone: true,
        }
    }

    pub(super) fn new(reason: CloseReason, words: impl Into<String>) -> Self {
        Self {
            reason,
            words: words.into(),
            last: None,
            gone: false,
        }
    }

    /// With an `error` message before.
    pub(super) fn with_error(reason: CloseReason, code: ErrorCode, words: impl Into<String>) -> Self {
        let words = words.into();
        Self {
            last: Some(error_frame(code, words.clone())),
            ..Self::new(reason, words)
        }
    }

    /// Says it, and hangs up.
    pub(super) async fn carry_out<S>(self, mut wire: Wire<S>, patience: Duration)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if !self.gone {
            if let Some(last) = &self.last {
                wire.send(Message::Text(last.share()));
            }
            wire.close(self.reason, &self.words, patience).await;
        }
    }

    fn internal(error: &HubError) -> Self {
        match error {
            HubError::Refused { code, message } => {
                let reason = match code {
                    // Trying again may help.
                    ErrorCode::Unavailable => CloseReason::Internal,
                    _ => CloseReason::Policy,
                };
                Self::with_error(reason, *code, message)
            }
            HubError::Closed => Self::new(CloseReason::GoingAway, "the server stops"),
            error => {
                tracing::warn!(%error, "a viewer cannot be served");
                let words = "the server cannot read its data at present; its log says why";
                Self::with_error(CloseReason::Internal, ErrorCode::Unavailable, words)
            }
        }
    }
}

/// One viewer on its socket.
pub(super) struct Connection<S> {
    wire: Wire<S>,
    viewer: Viewer,
    limits: Limits,
    allowance: Allowance,
    heard_at: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(wire: Wire<S>, viewer: Viewer, limits: Limits) -> Self {
        Self {
            wire,
            viewer,
            limits,
            allowance: Allowance::per_minute(limits.messages_per_minute),
            heard_at: Instant::now(),
        }
    }

    /// Serves the viewer to its end. `token` is what it still has to show.
    pub(super) async fn run(
        mut self,
        query: Result<Query, QueryError>,
        token: Option<&Token>,
    ) -> CloseReason {
        let end = match self.begin(query, token).await {
            Ok(()) => self.serve().await,
            Err(end) => end,
        };
        let reason = end.reason;
        let patience = match reason {
            CloseReason::GoingAway => self.limits.shutdown,
            _ => self.limits.close,
        };
        // What it watches ends here; what was handed out already goes first.
        drop(self.viewer);
        end.carry_out(self.wire, patience).await;
        reason
    }

    async fn begin(&mut self, query: Result<Query, QueryError>, token: Option<&Token>) -> Result<(), End> {
        if let Some(token) = token {
            self.wait_for_token(token).await?;
        }
        let query = query
            .map_err(|error| End::with_error(CloseReason::Policy, ErrorCode::Malformed, error.to_string()))?;
        self.viewer
            .begin(&query)
            .await
            .map_err(|error| End::internal(&error))
    }

    async fn wait_for_token(&mut self, token: &Token) -> Result<(), End> {
        let refused = |words: &str| End::with_error(CloseReason::Policy, ErrorCode::Unauthorized, words);
        let first = async {
            loop {
                match self.wire.turn().await {
                    Turn::Heard(Message::Ping(_) | Message::Pong(_)) | Turn::Flushed
                        if self.allowance.spend(1) => {}
                    turn => return turn,
                }
            }
        };
        let first = tokio::select! {
            first = timeout(self.limits.auth, first) => first,
            () = self.viewer.closing() => return Err(End::new(CloseReason::GoingAway, "the server stops")),
        };
        match first {
            Err(_) => Err(refused("the token did not come in time")),
            Ok(Turn::Heard(Message::Text(text))) => match ClientMessage::parse(&text) {
                Ok(ClientMessage::Auth { token: shown }) if token.matches(&shown) => Ok(()),
                Ok(ClientMessage::Auth { .. }) => Err(refused("the token is wrong")),
                Ok(_) | Err(_) => Err(refused("the first message must be auth, with the token")),
            },
            Ok(Turn::Gone | Turn::Heard(Message::Close(_))) => Err(End::gone()),
            Ok(Turn::Offence(reason, words)) => Err(End::new(reason, words)),
            Ok(Turn::Heard(_) | Turn::Flushed) => {
                Err(refused("the first message must be auth, with the token"))
            }
        }
    }

    async fn serve(&mut self) -> End {
        let mut batch = Vec::new();
        let mut next_ping = Instant::now() + self.limits.ping;
        let timer = sleep_until(next_ping);
        tokio::pin!(timer);
        loop {
            tokio::select! {
                biased;
                turn = self.wire.turn() => match turn {
                    Turn::Flushed => {}
                    Turn::Heard(message) => if let Err(end) = self.hear(message).await {
                        return end;
                    },
                    Turn::Gone => return End::gone(),
                    Turn::Offence(reason, words) => return End::new(reason, words),
                },
                () = self.viewer.ready(), if self.wire.is_idle() => {
                    match self.viewer.advance(&mut batch).await {
                        Ok(Progress::Goes) => self.send(&mut batch),
                        Ok(Progress::Closed) => {
                            self.send(&mut batch);
                            return End::new(CloseReason::GoingAway, "the server stops");
                        }
                        Err(error) => return End::internal(&error),
                    }
                }
                () = &mut timer => {
                    let now = Instant::now();
                    if now >= self.heard_at + self.limits.dead {
                        return End::new(CloseReason::Policy, "no sign of life");
                    }
                    if now >= next_ping {
                        self.wire.ping();
                        next_ping = now + self.limits.ping;
                    }
                    timer.as_mut().reset(next_ping.min(self.heard_at + self.limits.dead));
                }
            }
        }
    }

    fn send(&mut self, batch: &mut Vec<Frame>) {
        if let Some(recorded_at) = batch.iter().rev().find_map(Frame::recorded_at) {
            self.viewer.late(recorded_at);
        }
        for frame in batch.drain(..) {
            self.wire.send(Message::Text(frame.share()));
        }
        self.wire.must_flush();
        // What a burst made it grow to is not kept for good.
        if batch.capacity() > 64 {
            *batch = Vec::new();
        }
    }

    async fn hear(&mut self, message: Message) -> Result<(), End> {
        self.heard_at = Instant::now();
        if !self.allowance.spend(1) {
            let words = format!(
                "more than {} messages in a minute",
                self.limits.messages_per_minute
            );
            return Err(End::with_error(
                CloseReason::Policy,
                ErrorCode::RateLimited,
                words,
            ));
        }
        match message {
            Message::Text(text) => self.obey(&text).await,
            Message::Binary(_) => Err(End::new(
                CloseReason::Unsupported,
                "binary frames mean nothing here",
            )),
            // Answered by the library.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
            // So is this, and the next turn finds nobody; nothing else may follow the answer.
            Message::Close(_) => {
                self.viewer.set_shortcut(None);
                Ok(())
            }
        }
    }

    async fn obey(&mut self, text: &str) -> Result<(), End> {
        let done = match ClientMessage::parse(text) {
            Ok(ClientMessage::Ping) => {
                self.viewer.pong();
                Ok(())
            }
            Ok(ClientMessage::Summary) => self.viewer.summarize().await,
            Ok(ClientMessage::Subscribe(subscribe)) => self.viewer.subscribe(subscribe).await,
            Ok(ClientMessage::Unsubscribe(less)) => {
                self.viewer.unsubscribe(&less);
                Ok(())
            }
            // It has been shown, or is not needed.
            Ok(ClientMessage::Auth { .. }) => Ok(()),
            Err(error) => {
                let code = match error {
                    MalformedMessage::UnknownType(_) => ErrorCode::UnknownType,
                    MalformedMessage::Envelope(_) | MalformedMessage::Data { .. } => ErrorCode::Malformed,
                };
                self.viewer.error(code, error.to_string());
                Ok(())
            }
        };
        match done {
            // What else it watches goes on.
            Err(HubError::Refused { code, message }) => {
                self.viewer.error(code, message);
                Ok(())
            }
            Err(error) => Err(End::internal(&error)),
            Ok(()) => Ok(()),
        }
    }
}
