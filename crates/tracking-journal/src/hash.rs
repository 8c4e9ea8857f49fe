//! The hash that chains each record to its predecessor.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use tracking_model::StreamId;
use uuid::Uuid;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// SHA-256 over a record and its predecessor's hash: names a record and everything before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ChainHash([u8; 32]);

/// A text that is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {0:?} as a hash of 64 lower-case hexadecimal digits")]
pub struct HashError(pub String);

impl ChainHash {
    /// The head of a stream without records.
    pub const ZERO: Self = Self([0; 32]);

    /// The predecessor of a stream's first record.
    #[must_use]
    pub fn genesis(stream: &StreamId, epoch: Uuid) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(stream.to_string().as_bytes());
        hasher.update(epoch.hyphenated().to_string().as_bytes());
        Self(hasher.finalize().into())
    }

    /// The hash of a record: `body` is its line up to but excluding `,"hash":`.
    #[must_use]
    pub fn next(&self, body: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(body);
        Self(hasher.finalize().into())
    }

    /// The hash as bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Appends 64 hexadecimal digits.
    pub(crate) fn write_hex(&self, out: &mut Vec<u8>) {
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        out.extend_from_slice(&text);
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        if text.len() != 64 {
            return None;
        }
        let mut hash = [0; 32];
        let mut invalid = 0;
        // Without a branch for each digit: every record that is read passes here.
        for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
            let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
            invalid |= high | low;
            *byte = (high << 4) | low;
        }
        (invalid & NO_DIGIT == 0).then_some(Self(hash))
    }
}

/// Set in what stands for a byte that is no lower-case hexadecimal digit.
const NO_DIGIT: u8 = 0x80;

/// The value of each byte as a hexadecimal digit.
const NIBBLES: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        table[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    table
};

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ChainHash {
    type Err = HashError;
    fn from_str(text: &str) -> Result<Self, HashError> {
        Self::from_hex(text.as_bytes()).ok_or_else(|| HashError(text.to_owned()))
    }
}

impl Serialize for ChainHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChainHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_agree() {
        let hash = ChainHash::ZERO.next(b"body");
        let mut hex = Vec::new();
        hash.write_hex(&mut hex);
        assert_eq!(hash.to_string().as_bytes(), hex);
        assert_eq!(hash.to_string().parse::<ChainHash>().unwrap(), hash);
        assert!(hash.to_string().to_uppercase().parse::<ChainHash>().is_err());
        for byte in (0..=u8::MAX).filter(|byte| !DIGITS.contains(byte)) {
            let mut text = hex.clone();
            text[63] = byte;
            assert_eq!(ChainHash::from_hex(&text), None, "{byte:#04x}");
        }
    }
}
