//! Names under which files of any name can be stored: on every file system, in S3 keys, in a shell, without surprises.

/// Longest stored file name in bytes, which leaves room for a number or an id within the 255 of file systems.
pub const MAX_FILE_NAME_BYTES: usize = 200;

/// Names that some systems reserve, with any extension.
const RESERVED: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
    "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// The name under which a file called `name` is stored.
///
/// ASCII letters, digits, space and `._-+=@,` stay; every other byte is written `%XX`, and so are a first `.`, `-`, `~` or
/// space, a last `.` or space, and the first letter of reserved names. What is longer than [`MAX_FILE_NAME_BYTES`] loses the
/// end of its stem. Different names may share a stored name, so it tells where bytes are, never what they are called.
#[must_use]
pub fn stored_file_name(name: &[u8]) -> String {
    let last = name.len().saturating_sub(1);
    let stem = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    let reserved = RESERVED
        .iter()
        .any(|word| stem.eq_ignore_ascii_case(word.as_bytes()));
    let mut units = Vec::with_capacity(name.len());
    for (position, &byte) in name.iter().enumerate() {
        let plain = match byte {
            b'.' | b' ' => position != 0 && position != last,
            b'-' => position != 0,
            b'_' | b'+' | b'=' | b'@' | b',' => true,
            _ => byte.is_ascii_alphanumeric() && !(reserved && position == 0),
        };
        units.push(if plain {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        });
    }
    if units.is_empty() {
        return "unnamed".to_owned();
    }
    shorten(&units)
}

/// Joins `units`, leaving out the end of the stem if they are too long; a unit is never cut.
fn shorten(units: &[String]) -> String {
    let total: usize = units.iter().map(String::len).sum();
    if total <= MAX_FILE_NAME_BYTES {
        return units.concat();
    }
    const LONGEST_EXTENSION: usize = 24;
    let extension = units
        .iter()
        .rposition(|unit| unit == ".")
        .map(|dot| units.get(dot..).unwrap_or_default().concat())
        .filter(|extension| extension.len() <= LONGEST_EXTENSION)
        .unwrap_or_default();
    let room = MAX_FILE_NAME_BYTES - extension.len();
    let mut short = String::with_capacity(MAX_FILE_NAME_BYTES);
    for unit in units {
        if short.len() + unit.len() > room {
            break;
        }
        short.push_str(unit);
    }
    short + &extension
}

/// The `number`th of several stored files of one name: `log.txt`, `log-2.txt`, `log-3.txt`.
#[must_use]
pub fn numbered_file_name(file_name: &str, number: u64) -> String {
    if number < 2 {
        return file_name.to_owned();
    }
    match file_name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => format!("{stem}-{number}.{extension}"),
        _ => format!("{file_name}-{number}"),
    }
}

/// Whether `segment` can be one component of a relative path that was made from ids and stored file names.
#[must_use]
pub fn is_safe_segment(segment: &str) -> bool {
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'.' | b'_' | b'-' | b'+' | b'=' | b'@' | b',' | b' ' | b'%' | b'~'
            )
    };
    !segment.is_empty() && segment.len() <= 255 && !segment.starts_with('.') && segment.bytes().all(allowed)
}

/// Writes `bytes` with everything but unreserved ASCII as `%XX`: how a name that is not UTF-8 travels.
#[must_use]
pub fn percent_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Reads what [`percent_encode`] wrote; `None` where it could not have written it.
#[must_use]
pub fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: u8| {
                char::from(byte)
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
            };
            let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
            bytes.push(high * 16 + low);
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["log.txt", "node 1.log", "a+b=c@d,e.tar.gz", "junit_results-2.xml"] {
            assert_eq!(stored_file_name(name.as_bytes()), name);
        }
    }

    #[test]
    fn hostile_names_become_harmless() {
        for (name, stored) in [
            (&b".."[..], "%2E%2E"),
            (b".", "%2E"),
            (b".bashrc", "%2Ebashrc"),
            (b"../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
            (b"/etc/passwd", "%2Fetc%2Fpasswd"),
            (b"a\0b", "a%00b"),
            (b"a\nb", "a%0Ab"),
            (b"-rf", "%2Drf"),
            (b"~root", "%7Eroot"),
            (b"100%", "100%25"),
            (b"\xff\xfe.log", "%FF%FE.log"),
            ("🚀.txt".as_bytes(), "%F0%9F%9A%80.txt"),
            (b"NUL.txt", "%4EUL.txt"),
            (b"con", "%63on"),
            (b"trailing.", "trailing%2E"),
            (b"", "unnamed"),
        ] {
            assert_eq!(stored_file_name(name), stored);
            assert!(is_safe_segment(stored), "{stored}");
        }
        for segment in ["", ".", "..", "a/b", "a\0", ".hidden", "é"] {
            assert!(!is_safe_segment(segment), "{segment:?}");
        }
    }

    #[test]
    fn long_names_keep_their_extension() {
        let stored = stored_file_name(format!("{}.log", "x".repeat(251)).as_bytes());
        assert_eq!(
            (stored.len(), stored.ends_with(".log")),
            (MAX_FILE_NAME_BYTES, true)
        );
        let stored = stored_file_name("é".repeat(127).as_bytes());
        assert!(stored.len() <= MAX_FILE_NAME_BYTES && percent_decode(&stored).is_some());
    }

    #[test]
    fn numbers_stand_before_the_extension() {
        assert_eq!(numbered_file_name("log.txt", 1), "log.txt");
        assert_eq!(numbered_file_name("log.txt", 2), "log-2.txt");
        assert_eq!(numbered_file_name("log", 3), "log-3");
    }

    #[test]
    fn percent_encoding_round_trips_every_byte() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(percent_decode(&percent_encode(&bytes)).unwrap(), bytes);
        assert_eq!(percent_decode("%G0"), None);
        assert_eq!(percent_decode("%0"), None);
    }
}
