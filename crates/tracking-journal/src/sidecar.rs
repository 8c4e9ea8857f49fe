//! The file beside a journal: its lock is the turnstile of the writers, its content how much of the journal is
//! durable.
//!
//! ```text
//! {"epoch":"0194c6a8-…","len":               12345,"sum":"0a1b2c3d"}
//! ```
//!
//! One line of constant length, overwritten in place after each sync and itself never synced: what it says was true
//! when it was written, and after a crash it may be old, or torn, which `sum` shows.

use std::io;

use uuid::Uuid;

use crate::ChainHash;
use crate::io::{IoFile, read_full, write_full};

const LENGTH: usize = 93;

/// What a sidecar says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DurableLength {
    pub(crate) epoch: Uuid,
    pub(crate) length: u64,
}

impl DurableLength {
    fn encode(self) -> String {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(LENGTH);
        write!(
            text,
            "{{\"epoch\":\"{}\",\"len\":{:>20}",
            self.epoch.hyphenated(),
            self.length
        )
        .expect("a string takes any text");
        let sum = ChainHash::ZERO.next(text.as_bytes());
        let [a, b, c, d, ..] = *sum.as_bytes();
        writeln!(text, ",\"sum\":\"{:08x}\"}}", u32::from_be_bytes([a, b, c, d]))
            .expect("a string takes any text");
        text
    }

    fn decode(text: &str) -> Option<Self> {
        let epoch = text.get(10..46)?.parse().ok()?;
        let length = text.get(54..74)?.trim_start().parse().ok()?;
        let decoded = Self { epoch, length };
        (decoded.encode() == text).then_some(decoded)
    }

    /// Writes it in place.
    pub(crate) fn write(self, sidecar: &dyn IoFile) -> io::Result<()> {
        write_full(sidecar, self.encode().as_bytes(), 0)
    }

    /// Reads it; `None` if the file is empty, torn or of another form.
    pub(crate) fn read(sidecar: &dyn IoFile) -> io::Result<Option<Self>> {
        let mut buffer = [0; LENGTH];
        let read = read_full(sidecar, &mut buffer, 0)?;
        Ok(std::str::from_utf8(&buffer[..read]).ok().and_then(Self::decode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_refuses_what_is_torn() {
        let durable = DurableLength {
            epoch: tracking_model::new_uuid(),
            length: 12_345,
        };
        let text = durable.encode();
        assert_eq!(text.len(), LENGTH);
        assert_eq!(DurableLength::decode(&text), Some(durable));
        let torn = text.replace("12345", "92345");
        assert_eq!(DurableLength::decode(&torn), None);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}
