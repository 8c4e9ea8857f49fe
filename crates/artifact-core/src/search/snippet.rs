//! Snippets: the part of a text that matches a search.

use std::ops::Range;

use super::tokenizer::{each_word, run_length};
use crate::TextQuery;

/// Most characters of a snippet before and after its first match.
const BEFORE: usize = 30;
const LENGTH: usize = 120;

/// A part of an artifact's text with what was looked for, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The part of the text, with `…` where it goes on.
    pub text: String,
    /// The bytes of it that match, in order, without overlap.
    pub marks: Vec<Range<usize>>,
}

impl Snippet {
    /// The part of `text` around the first word that `query` looks for; `None` if it has none of them.
    #[must_use]
    pub fn of(query: &TextQuery, text: &str) -> Option<Self> {
        let is_wanted = |word: &str| {
            query
                .wanted_words()
                .any(|(term, index)| term.is_word(index, word))
        };
        let found = |range: &Range<usize>| {
            let mut wanted = false;
            each_word(text.get(range.clone()).unwrap_or_default(), |word| {
                wanted |= is_wanted(word)
            });
            wanted
        };
        let first = words(text).find(found)?;
        let mut before: Vec<usize> = text
            .get(..first.start)?
            .char_indices()
            .map(|(at, _)| at)
            .rev()
            .take(BEFORE)
            .collect();
        let start = before.pop().unwrap_or(first.start);
        // Nor does it begin within a word.
        let start = match text.get(start..first.start)?.find(char::is_whitespace) {
            Some(space) if start > 0 => start + space + 1,
            _ => start,
        };
        let rest = text.get(start..)?;
        let end = rest
            .char_indices()
            .nth(LENGTH)
            .map_or(text.len(), |(at, _)| start + at);
        // A word that the end cuts in two is shown whole, so that it is marked or not as it was found.
        let end = words(text.get(start..)?)
            .map(|word| start + word.start..start + word.end)
            .find(|word| word.start < end && word.end > end && word.end <= end + LENGTH)
            .map_or(end, |word| word.end);
        let mut snippet = Self {
            text: String::new(),
            marks: Vec::new(),
        };
        if start > 0 {
            snippet.text.push('…');
        }
        let shown = text.get(start..end)?;
        let mut at = 0;
        for word in words(shown) {
            snippet.push(shown.get(at..word.start)?);
            let marked = snippet.text.len();
            snippet.push(shown.get(word.clone())?);
            if found(&(start + word.start..start + word.end)) {
                snippet.marks.push(marked..snippet.text.len());
            }
            at = word.end;
        }
        snippet.push(shown.get(at..)?);
        if end < text.len() {
            snippet.text.push('…');
        }
        Some(snippet)
    }

    /// Adds text on one line; control characters, which could steer a terminal, become spaces.
    fn push(&mut self, text: &str) {
        let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        self.text.extend(clean);
    }
}

/// Where the words of a text are, in bytes.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = text.get(from..)?;
        let start = from + rest.find(char::is_alphanumeric)?;
        from = start + run_length(text.get(start..)?);
        Some(start..from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(query: &str, text: &str) -> Option<String> {
        let snippet = Snippet::of(&TextQuery::new(query).unwrap(), text)?;
        let mut shown = String::new();
        for (at, c) in snippet.text.char_indices() {
            if snippet.marks.iter().any(|mark| mark.start == at) {
                shown.push('[');
            }
            shown.push(c);
            if snippet.marks.iter().any(|mark| mark.end == at + c.len_utf8()) {
                shown.push(']');
            }
        }
        Some(shown)
    }

    #[test]
    fn what_was_found_is_marked() {
        assert_eq!(
            marked("not* READY -x", "node 7\nis Not\u{1b} ready").unwrap(),
            "node 7 is [Not]  [ready]"
        );
        assert_eq!(marked("absent", "node is ready"), None);
        let long = format!("{}needle{}", "äb ".repeat(50), " cd".repeat(100));
        let shown = marked("needle", &long).unwrap();
        assert!(
            shown.starts_with("…") && shown.ends_with('…') && shown.contains("[needle]"),
            "{shown}"
        );
    }
}
