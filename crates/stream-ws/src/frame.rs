//! A message as it goes out: encoded once, shared by all who get it.

use std::sync::Arc;

use tokio_tungstenite::tungstenite::Utf8Bytes;
use tracking_model::Timestamp;

/// One message, encoded. Cheap to clone: all viewers share it, and a queue of them costs a pointer each.
#[derive(Debug, Clone)]
pub struct Frame(Arc<Content>);

#[derive(Debug)]
struct Content {
    text: Utf8Bytes,
    event: Option<(Arc<str>, Timestamp)>,
}

impl Frame {
    /// A message about an event whose record has type `kind` and was written `at`.
    pub(crate) fn event(text: String, kind: Arc<str>, at: Timestamp) -> Self {
        let (text, event) = (text.into(), Some((kind, at)));
        Self(Arc::new(Content { text, event }))
    }

    /// Any other message.
    pub(crate) fn control(text: String) -> Self {
        let (text, event) = (text.into(), None);
        Self(Arc::new(Content { text, event }))
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

    /// The text, shared.
    pub(crate) fn share(&self) -> Utf8Bytes {
        self.0.text.clone()
    }
}
