//! Lines as they are written: by hand, because every event passes here.

use tracking_model::{StreamEvent, StreamId, Timestamp};
use uuid::Uuid;

use crate::ChainHash;
use crate::line::{FORMAT_VERSION, HASH_END, HASH_KEY};

/// Appends `value` in decimal.
pub(crate) fn write_number(value: u64, out: &mut Vec<u8>) {
    let mut text = [0_u8; 20];
    let mut start = text.len();
    let mut rest = value;
    loop {
        start -= 1;
        text[start] = b'0' + u8::try_from(rest % 10).expect("a digit is below ten");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[start..]);
}

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    if text
        .bytes()
        .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
    {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("writing a string to memory cannot fail");
    }
}

/// Writes the lines of one stream and epoch, each chained to the one before.
#[derive(Debug)]
pub(crate) struct LineWriter {
    epoch: Uuid,
    /// `{"v":1,"stream":"…","epoch":"…","seq":`
    prefix: Vec<u8>,
    /// `","at":"…","actor":` of the current commit.
    at: Vec<u8>,
    batch: u64,
    next_id: u128,
}

/// What one record is, beside its event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineHead<'a> {
    pub(crate) seq: u64,
    pub(crate) id: Uuid,
    pub(crate) actor: &'a str,
}

impl LineWriter {
    pub(crate) fn new(stream: &StreamId, epoch: Uuid) -> Self {
        let prefix = format!(
            "{{\"v\":{FORMAT_VERSION},\"stream\":\"{stream}\",\"epoch\":\"{}\",\"seq\":",
            epoch.hyphenated()
        );
        Self {
            epoch,
            prefix: prefix.into_bytes(),
            at: Vec::new(),
            batch: 0,
            next_id: 0,
        }
    }

    /// The epoch of the lines.
    pub(crate) const fn epoch(&self) -> Uuid {
        self.epoch
    }

    /// Begins a commit whose first record is `batch`, at time `at`.
    pub(crate) fn begin(&mut self, batch: u64, at: Timestamp) {
        let mut text = String::with_capacity(48);
        text.push_str("\",\"at\":\"");
        at.write_rfc3339(&mut text);
        text.push_str("\",\"actor\":");
        self.at = text.into_bytes();
        self.batch = batch;
        // One UUID v7 from the system's randomness for each commit; its records count on from there. The topmost
        // random bit is cleared, so that counting never reaches the variant and version bits.
        let millis = u64::try_from(at.as_micros() / 1000).unwrap_or(0);
        let random = tracking_model::new_uuid().into_bytes();
        let mut tail = [0; 10];
        tail.copy_from_slice(&random[6..]);
        tail[2] &= 0x1f;
        self.next_id = uuid::Builder::from_unix_timestamp_millis(millis, &tail)
            .into_uuid()
            .as_u128();
    }

    /// The id of the next record of this commit.
    pub(crate) fn next_id(&mut self) -> Uuid {
        let id = Uuid::from_u128(self.next_id);
        self.next_id += 1;
        id
    }

    /// Appends the line of `event` and returns its hash.
    pub(crate) fn write<E: StreamEvent>(
        &self,
        head: LineHead<'_>,
        event: &E,
        previous: &ChainHash,
        out: &mut Vec<u8>,
    ) -> ChainHash {
        let start = out.len();
        out.extend_from_slice(&self.prefix);
        write_number(head.seq, out);
        out.extend_from_slice(b",\"batch\":");
        write_number(self.batch, out);
        out.extend_from_slice(b",\"id\":\"");
        let mut id = [0; 36];
        head.id.hyphenated().encode_lower(&mut id);
        out.extend_from_slice(&id);
        out.extend_from_slice(&self.at);
        write_string(head.actor, out);
        out.extend_from_slice(b",\"type\":");
        write_string(event.kind(), out);
        out.extend_from_slice(b",\"data\":");
        event.write_data(out);
        seal_line(start, previous, out)
    }
}

/// Ends the line that begins at `start` of `out` with its hash and a line feed.
pub(crate) fn seal_line(start: usize, previous: &ChainHash, out: &mut Vec<u8>) -> ChainHash {
    let hash = previous.next(&out[start..]);
    out.extend_from_slice(HASH_KEY);
    hash.write_hex(out);
    out.extend_from_slice(HASH_END);
    out.push(b'\n');
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_written_as_everywhere(value in any::<u64>()) {
            let mut out = Vec::new();
            write_number(value, &mut out);
            prop_assert_eq!(out, value.to_string().into_bytes());
        }
    }
}
