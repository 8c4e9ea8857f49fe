//! The encodings of logs: UTF-8, UTF-16 and Latin-1.

/// One of so many characters may be invalid in what still counts as text.
const MOST_INVALID: usize = 20;
/// Bytes that are looked at to recognise UTF-16 without a byte order mark, and zeros that must be among them.
const SAMPLE: usize = 512;
const FEWEST_ZEROS: usize = 4;

/// The text, without a byte order mark; `None` if the bytes are no text.
pub(super) fn decoded(bytes: Vec<u8>) -> Option<String> {
    if let Some(to_unit) = utf16_order(&bytes) {
        return utf16(&bytes, to_unit);
    }
    if bytes.contains(&0) {
        return None;
    }
    let error = match String::from_utf8(bytes) {
        Ok(text) => return Some(text),
        Err(error) => error,
    };
    let only_its_end_is_cut = error.utf8_error().error_len().is_none();
    let bytes = error.into_bytes();
    let (mut invalid, mut is_ascii) = (0, true);
    for chunk in bytes.utf8_chunks() {
        invalid += usize::from(!chunk.invalid().is_empty());
        is_ascii &= chunk.valid().is_ascii();
    }
    // Other letters than those of ASCII are valid UTF-8 only in UTF-8.
    if only_its_end_is_cut || (!is_ascii && invalid <= bytes.len() / MOST_INVALID + 1) {
        return Some(String::from_utf8_lossy(&bytes).into_owned());
    }
    is_latin1(&bytes).then(|| bytes.iter().copied().map(char::from).collect())
}

/// Most of a text in Latin-1 is ASCII, and few of it are control characters.
fn is_latin1(bytes: &[u8]) -> bool {
    let ascii = bytes.iter().filter(|byte| (0x20..0x7f).contains(*byte)).count();
    let control = bytes.iter().filter(|byte| {
        (byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b))
            || (0x80..0xa0).contains(*byte)
    });
    ascii * 5 >= bytes.len() * 3 && control.count() <= bytes.len() / MOST_INVALID
}

type ToUnit = fn([u8; 2]) -> u16;

/// The byte order of UTF-16, by its mark, or by the zero bytes that letters of ASCII have.
fn utf16_order(bytes: &[u8]) -> Option<ToUnit> {
    match bytes {
        [0xff, 0xfe, ..] => return Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => return Some(u16::from_be_bytes),
        _ => {}
    }
    let (pairs, _) = bytes.get(..SAMPLE.min(bytes.len()))?.as_chunks::<2>();
    let zeros = |at: usize| pairs.iter().filter(|pair| pair.get(at) == Some(&0)).count();
    let (first, second) = (zeros(0), zeros(1));
    let is_most = |zeros: usize| zeros >= FEWEST_ZEROS && zeros * 4 >= pairs.len() * 3;
    match (first, second) {
        (0, zeros) if is_most(zeros) => Some(u16::from_le_bytes),
        (zeros, 0) if is_most(zeros) => Some(u16::from_be_bytes),
        _ => None,
    }
}

fn utf16(bytes: &[u8], to_unit: ToUnit) -> Option<String> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| to_unit(*pair));
    let (mut text, mut characters, mut invalid) = (String::new(), 0, 0);
    for decoded in char::decode_utf16(units) {
        characters += 1;
        match decoded {
            Ok('\0') => return None,
            Ok('\u{feff}') => {}
            Ok(c) => text.push(c),
            Err(_) => {
                invalid += 1;
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }
    (invalid <= characters / MOST_INVALID + 1).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_other_bytes() {
        assert_eq!(decoded(b"ready".to_vec()).unwrap(), "ready");
        assert_eq!(
            decoded("läuft \u{e4}".as_bytes().split_last().unwrap().1.to_vec()).unwrap(),
            "läuft \u{FFFD}"
        );
        assert_eq!(decoded(b"a\0b".to_vec()), None);
        assert_eq!(decoded(vec![0xff; 100]), None);
        assert_eq!(decoded(vec![0; 100]), None);
        assert_eq!(decoded(Vec::new()).unwrap(), "");
    }

    #[test]
    fn logs_of_other_systems_are_text() {
        assert_eq!(decoded(b"gr\xf6\xdfe: 5 \xb5s".to_vec()).unwrap(), "größe: 5 µs");
        assert_eq!(
            decoded(b"l\xc3\xa4uft \xff ab".to_vec()).unwrap(),
            "läuft \u{FFFD} ab"
        );
        for mark in ["\u{feff}", ""] {
            let text = format!("{mark}node not ready: größe\r\n");
            let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            for bytes in [le, be] {
                assert_eq!(decoded(bytes).unwrap(), "node not ready: größe\r\n");
            }
        }
    }
}
