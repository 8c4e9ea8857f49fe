//! A checksum at the end of a JSON object, over everything before it. A derived file is believed only if its seal is
//! right.
//!
//! ```text
//! {"version":2,…,"sum":"<64 hexadecimal digits>"}
//! ```

use crate::ChainHash;

const KEY: &[u8] = b",\"sum\":\"";
const END: &[u8] = b"\"}\n";
const SEAL: usize = KEY.len() + 64 + END.len();

/// Appends the checksum and a line feed to `object`, a JSON object with at least one key.
pub(crate) fn seal(object: &mut Vec<u8>) {
    let brace = object.pop();
    debug_assert_eq!(brace, Some(b'}'), "only an object can be sealed");
    let sum = ChainHash::ZERO.next(object);
    object.extend_from_slice(KEY);
    sum.write_hex(object);
    object.extend_from_slice(END);
}

/// Tells if `text` ends in the checksum of everything before it.
pub(crate) fn is_sealed(text: &[u8]) -> bool {
    let Some(body) = text.len().checked_sub(SEAL) else {
        return false;
    };
    let (body, seal) = text.split_at(body);
    let digits = seal.strip_prefix(KEY).and_then(|seal| seal.strip_suffix(END));
    digits.and_then(ChainHash::from_hex) == Some(ChainHash::ZERO.next(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_breaks_a_seal() {
        let mut text = br#"{"a":1,"b":"x"}"#.to_vec();
        seal(&mut text);
        assert!(is_sealed(&text));
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["b"], "x");
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut flipped = text.clone();
                flipped[at] ^= 1 << bit;
                assert!(!is_sealed(&flipped), "byte {at}, bit {bit}");
            }
            assert!(!is_sealed(&text[..at]));
        }
    }
}
