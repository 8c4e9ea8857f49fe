//! Numbers as SQLite writes them: seven bits a byte, the highest first, and all eight of a ninth byte.

/// Adds a number.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, number: u64) {
    if number < 0x80 {
        out.push(low_bits(number));
    } else if number < 0x4000 {
        out.extend_from_slice(&[0x80 | low_bits(number >> 7), low_bits(number)]);
    } else {
        put_long(out, number);
    }
}

fn put_long(out: &mut Vec<u8>, number: u64) {
    let bits = u64::BITS - number.leading_zeros();
    if bits > 56 {
        for shift in (0..8).rev() {
            out.push(0x80 | low_bits(number >> (8 + 7 * shift)));
        }
        out.push(number.to_le_bytes()[0]);
        return;
    }
    let mut bytes = [0; 8];
    let mut rest = number;
    for byte in bytes.iter_mut().rev() {
        *byte = 0x80 | low_bits(rest);
        rest >>= 7;
    }
    bytes[7] &= 0x7f;
    let length = bits.div_ceil(7) as usize;
    out.extend_from_slice(bytes.get(bytes.len() - length..).unwrap_or_default());
}

fn low_bits(number: u64) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

/// Takes a number off the front; `None` if it is not whole.
#[inline]
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    match **bytes {
        [byte, ref rest @ ..] if byte < 0x80 => {
            *bytes = rest;
            Some(u64::from(byte))
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *bytes = rest;
            Some(u64::from(first & 0x7f) << 7 | u64::from(second))
        }
        _ => take_long(bytes),
    }
}

fn take_long(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for at in 0..9 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if at == 8 {
            return Some(number << 8 | u64::from(*byte));
        }
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for number in edges.chain([u64::MAX, (-1_735_000_000_000_000_i64).cast_unsigned()]) {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            let mut rest = bytes.as_slice();
            assert_eq!(take(&mut rest), Some(number), "{bytes:x?}");
            assert!(rest.is_empty());
            assert_eq!(take(&mut &bytes[..bytes.len() - 1]), None, "{bytes:x?}");
        }
    }

    #[test]
    fn bytes_are_those_of_sqlite() {
        for (number, bytes) in [
            (0, &[0][..]),
            (0x7f, &[0x7f]),
            (0x80, &[0x81, 0]),
            (0x3fff, &[0xff, 0x7f]),
            (0x4000, &[0x81, 0x80, 0]),
            (u64::MAX, &[0xff; 9]),
        ] {
            let mut out = Vec::new();
            put(&mut out, number);
            assert_eq!(out, bytes);
        }
    }
}
