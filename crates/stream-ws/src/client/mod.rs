//! A viewer that stays one: it connects again, continues where it was, and knows when what it shows is stale.

mod address;
mod connect;
mod error;
mod known;
mod options;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tracking_model::StreamId;

use crate::protocol::{ClientMessage, CloseReason, Position, ServerMessage, Subscribe};
use crate::wire::{Turn, Wire};
use address::Address;
use connect::{ClientSocket, Socket, connect};
pub use error::{ClientError, TlsProblem};
use known::Known;
pub use options::{ClientOptions, Roots};

/// What a client learns.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The connection stands. What is shown is live once the summary comes.
    Connected,
    /// A message; events that were seen already are left out.
    Message(ServerMessage),
    /// What is shown is stale from now on.
    Stale {
        /// Why.
        error: ClientError,
        /// When the next try is.
        retry_in: Duration,
    },
}

/// A viewer that stays one.
///
/// It reconnects with growing pauses and continues where it was, so that each event is returned once however often the
/// connection breaks; where that cannot be, the server sends a `reset` and a summary.
#[derive(Debug)]
pub struct Client {
    address: Address,
    options: ClientOptions,
    known: Known,
    last_text: Utf8Bytes,
    state: State,
    failures: u32,
    /// The last error that the server told; it explains why it hangs up.
    told: Option<String>,
    live: bool,
}

type Connecting = Pin<Box<dyn Future<Output = Result<ClientSocket, ClientError>> + Send>>;

enum State {
    Connecting(Connecting),
    Open(Box<Open>),
    Pausing(Pin<Box<Sleep>>),
}

struct Open {
    wire: Wire<Box<dyn Socket>>,
    /// Whether a message came, or none needs to: until then a pong alone is no sign of life of a server of ours.
    greeted: bool,
    heard_at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Client {
    /// A client of `url`, which is `ws://host:port`, with a query as [`Query`](crate::protocol::Query) says. Connects when
    /// it is first asked for something.
    ///
    /// # Errors
    /// [`ClientError::Url`].
    pub fn new(url: &str, options: ClientOptions) -> Result<Self, ClientError> {
        let address = Address::parse(url)?;
        Ok(Self {
            known: Known::begin(&address.query),
            last_text: Utf8Bytes::default(),
            address,
            options,
            state: State::Pausing(Box::pin(sleep(Duration::ZERO))),
            failures: 0,
            told: None,
            live: false,
        })
    }

    /// What happens next. It goes on after every error that passes; [`ClientEvent::Stale`] says so.
    ///
    /// # Errors
    /// [`ClientError`] if trying again is of no use; calling again tries all the same.
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<ClientEvent, ClientError> {
        loop {
            let event = match &mut self.state {
                State::Pausing(pause) => {
                    pause.await;
                    self.state = State::Connecting(self.connecting());
                    continue;
                }
                State::Connecting(connecting) => match connecting.await {
                    Ok(socket) => {
                        self.open(socket);
                        return Ok(ClientEvent::Connected);
                    }
                    Err(error) => Err(error),
                },
                State::Open(open) => open.hear(&self.options).await,
            };
            match event {
                Ok(None) => {}
                Ok(Some((message, text))) => {
                    if let ServerMessage::Error(error) = &message {
                        self.told = Some(error.message.clone());
                    }
                    let is_new = self.known.take_in(&message);
                    if let ServerMessage::Summary(_) = message {
                        self.live = true;
                        self.failures = 0;
                    }
                    if is_new {
                        self.last_text = text;
                        return Ok(ClientEvent::Message(message));
                    }
                }
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Whether what was returned last is how things stand, as far as can be known.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.live
    }

    /// The message that was returned last, as it came over the wire; empty before the first.
    #[must_use]
    pub fn last_text(&self) -> &str {
        &self.last_text
    }

    /// How far a stream was seen.
    #[must_use]
    pub fn position(&self, stream: &StreamId) -> Option<Position> {
        self.known.position(stream)
    }

    /// Sends a message, if there is a connection. What it asks for is not asked for again after the next one.
    pub fn send(&mut self, message: &ClientMessage) -> bool {
        match &mut self.state {
            State::Open(open) => {
                open.wire.send(Message::Text(message.to_text().into()));
                true
            }
            State::Connecting(_) | State::Pausing(_) => false,
        }
    }

    /// Hangs up, and waits at most `patience` for the server to agree.
    pub async fn close(self, patience: Duration) {
        if let State::Open(open) = self.state {
            open.wire.close(CloseReason::Normal, "", patience).await;
        }
    }

    fn connecting(&self) -> Connecting {
        let query = self.known.query(&self.address.query);
        let (address, options) = (self.address.clone(), self.options.clone());
        let limit = options.connect;
        Box::pin(async move {
            let connected = timeout(limit, connect(address, query, options)).await;
            connected.map_err(|_| ClientError::Silent(limit))?
        })
    }

    fn open(&mut self, socket: ClientSocket) {
        let mut wire = Wire::new(socket);
        if !self.options.types.is_open() {
            let subscribe = Subscribe {
                types: Some(self.options.types.clone()),
                ..Subscribe::default()
            };
            let text = ClientMessage::Subscribe(subscribe).to_text();
            wire.send(Message::Text(text.into()));
        }
        self.told = None;
        self.state = State::Open(Box::new(Open {
            wire,
            greeted: self.address.query.nothing,
            heard_at: Instant::now(),
            timer: Box::pin(sleep(self.options.ping)),
        }));
    }

    /// Gives up a connection: for good, or until the next try.
    fn fail(&mut self, error: ClientError) -> Result<ClientEvent, ClientError> {
        self.live = false;
        let error = match (error, self.told.take()) {
            (ClientError::Closed { code, .. }, Some(reason)) => ClientError::Closed { code, reason },
            (error, _) => error,
        };
        let retry_in = self.pause();
        self.failures = self.failures.saturating_add(1);
        self.state = State::Pausing(Box::pin(sleep(retry_in)));
        if error.is_passing() {
            Ok(ClientEvent::Stale { error, retry_in })
        } else {
            Err(error)
        }
    }

    /// Twice as long each time, give or take a half, so that a thousand clients do not come back at once.
    fn pause(&self) -> Duration {
        let doubled = self.options.pause.saturating_mul(1 << self.failures.min(16));
        doubled
            .min(self.options.pause_at_most)
            .mul_f64(0.5 + fastrand::f64())
    }
}

impl Open {
    /// The next message; `None` for what only shows that the server lives.
    async fn hear(
        &mut self,
        options: &ClientOptions,
    ) -> Result<Option<(ServerMessage, Utf8Bytes)>, ClientError> {
        tokio::select! {
            turn = self.wire.turn() => {
                let message = match turn {
                    Turn::Flushed => return Ok(None),
                    Turn::Heard(message) => message,
                    Turn::Gone => return Err(ClientError::Gone),
                    Turn::Offence(_, reason) => return Err(ClientError::Nonsense { reason }),
                };
                self.greeted |= matches!(message, Message::Text(_));
                if self.greeted {
                    self.heard_at = Instant::now();
                }
                match message {
                    Message::Text(text) => match ServerMessage::parse(&text) {
                        Ok(message) => Ok(Some((message, text))),
                        Err(error) => Err(ClientError::Nonsense { reason: error.to_string() }),
                    },
                    Message::Close(Some(frame)) => Err(ClientError::Closed {
                        code: frame.code.into(),
                        reason: frame.reason.to_string(),
                    }),
                    Message::Close(None) => Err(ClientError::Gone),
                    Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => Ok(None),
                }
            }
            () = &mut self.timer => {
                let now = Instant::now();
                let silent = now.duration_since(self.heard_at);
                if silent >= options.stale {
                    return Err(ClientError::Silent(silent));
                }
                self.wire.ping();
                let next = (now + options.ping).min(self.heard_at + options.stale);
                self.timer.as_mut().reset(next);
                Ok(None)
            }
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting(_) => "Connecting",
            Self::Open(_) => "Open",
            Self::Pausing(_) => "Pausing",
        })
    }
}
