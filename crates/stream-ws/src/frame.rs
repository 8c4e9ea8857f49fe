//! A message as it goes out: encoded once, shared by all who get it.

use std::sync::Arc;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Bytes, Utf8Bytes};
use tracking_model::Timestamp;

/// One message, encoded. Cheap to clone: all viewers share it, and a queue of them costs a pointer each.
#[derive(Debug, Clone)]
pub struct Frame(Arc<Content>);

#[derive(Debug)]
struct Content {
    /// As it goes over the wire of a server, header first.
    encoded: Bytes,
    /// A part of it.
    text: Utf8Bytes,
    event: Option<(Arc<str>, Timestamp)>,
}

impl Frame {
    /// A message about an event whose record has type `kind` and was written `at`.
    pub(crate) fn event(text: &str, kind: Arc<str>, at: Timestamp) -> Self {
        Self::encode(text, Some((kind, at)))
    }

    /// Any other message.
    pub(crate) fn control(text: &str) -> Self {
        Self::encode(text, None)
    }

    fn encode(text: &str, event: Option<(Arc<str>, Timestamp)>) -> Self {
        let header = FrameHeader {
            opcode: OpCode::Data(Data::Text),
            ..FrameHeader::default()
        };
        let mut encoded = Vec::with_capacity(header.len(text.len() as u64) + text.len());
        header
            .format(text.len() as u64, &mut encoded)
            .expect("memory takes any header");
        let header_bytes = encoded.len();
        encoded.extend_from_slice(text.as_bytes());
        let encoded = Bytes::from(encoded);
        let text = Utf8Bytes::try_from(encoded.slice(header_bytes..)).expect("it was text before");
        Self(Arc::new(Content { encoded, text, event }))
    }

    /// The JSON text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The type of the event's record; `None` if it is about no event.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.0.event.as_ref().map(|(kind, _)| &**kind)
    }

    /// When the event was recorded; `None` if it is about no event.
    #[must_use]
    pub fn recorded_at(&self) -> Option<Timestamp> {
        self.0.event.as_ref().map(|(_, at)| *at)
    }

    /// Length of the text in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.text.len()
    }

    /// All of it as it goes over the wire of a server.
    pub(crate) fn encoded(&self) -> &Bytes {
        &self.0.encoded
    }

    /// The text, shared.
    pub(crate) fn share(&self) -> Utf8Bytes {
        self.0.text.clone()
    }
}
