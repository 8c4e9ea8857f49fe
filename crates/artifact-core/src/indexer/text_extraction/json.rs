//! Escapes in strings of JSON, as logs have them: `\\n` before a word is a line feed, not the letter `n`.

/// The text with the escapes of its JSON resolved; line breaks and tabs become spaces.
pub(super) fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (plain, json) = line.split_at(json_start(line).unwrap_or(line.len()));
        out.push_str(plain);
        push_unescaped(&mut out, json);
    }
    out
}

/// Where JSON begins in a line of a log or of a document.
fn json_start(line: &str) -> Option<usize> {
    let indented = line.len() - line.trim_start().len();
    if line.trim_start().starts_with('"') {
        return Some(indented);
    }
    // The last is a quoted value of a line of `key="value"` pairs, whose escapes are the same.
    let starts = [line.find("{\""), line.find("[\""), line.find("=\"")];
    starts.into_iter().flatten().min()
}

fn push_unescaped(out: &mut String, json: &str) {
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (c, length) = character(escape).unwrap_or(('\\', 1));
        out.push(c);
        rest = escape.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
}

/// The character of the escape that a text begins with, and the bytes of the escape.
fn character(escape: &str) -> Option<(char, usize)> {
    Some(match escape.as_bytes().get(1)? {
        b'n' | b'r' | b't' | b'b' | b'f' => (' ', 2),
        c @ (b'"' | b'\\' | b'/') => (char::from(*c), 2),
        b'u' => {
            let first = unit(escape)?;
            let second = escape.get(6..).and_then(unit);
            let mut units = char::decode_utf16([first].into_iter().chain(second));
            let c = units.next()?.ok()?;
            (c, 6 * c.len_utf16())
        }
        _ => return None,
    })
}

/// The number of `\\uXXXX`.
fn unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}
