//! The words of an artifact, as every index knows them: what a text is cut into, in documents and in queries alike.

use tracking_model::Artifact;
use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{UnicodeNormalization, is_nfkc};

/// Longest word in characters; longer runs, as of encoded bytes, are known by their beginning.
const MAX_WORD_CHARS: usize = 128;
/// Stands between two fields, so that no phrase reaches from one into the next. No word has this character.
pub const FIELD_BREAK: &str = "\u{E000}";

/// Passes each word of `text` to `each`: runs of letters and digits of any script, in lower case, in the normal form NFKC:
/// composed and decomposed letters are alike, and so are letters of full and half width.
///
/// Each character of Chinese and Japanese, which have no spaces, is a word. Of a date and time as ISO 8601 writes them
/// (`2026-11-30T20:01:02Z`) each number is a word.
pub fn each_word(text: &str, each: impl FnMut(&str)) {
    if text.is_ascii() || is_nfkc(text) {
        each_word_composed(text, each);
    } else {
        each_word_composed(&text.nfkc().collect::<String>(), each);
    }
}

fn each_word_composed(text: &str, mut each: impl FnMut(&str)) {
    let mut word = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(char::is_alphanumeric) {
        let (_, from) = rest.split_at(begin);
        let (run, after) = from.split_at(run_length(from));
        rest = after;
        if run.len() <= MAX_WORD_CHARS && run.bytes().all(is_plain) {
            each_number(run, &mut each);
            continue;
        }
        word.clear();
        for c in run.chars().take(MAX_WORD_CHARS) {
            if c.is_ascii() {
                word.push(c.to_ascii_lowercase());
            } else {
                word.extend(c.to_lowercase());
            }
        }
        each_number(&word, &mut each);
    }
}

/// The text as it is compared without regard to case: in lower case and in the normal form NFKC.
#[must_use]
pub fn folded(text: &str) -> String {
    if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.nfkc().collect::<String>().to_lowercase()
    }
}

/// Passes a word, or the numbers of a date and time: `30t20`, `02z`, `20261130t200102z`.
fn each_number(word: &str, each: &mut impl FnMut(&str)) {
    let is_number = |text: &str, lengths: &[usize]| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let (rest, zone) = match word.strip_suffix('z') {
        Some(rest) => (rest, true),
        None => (word, false),
    };
    let numbers = match rest.split_once('t') {
        Some((day, time)) if is_number(day, &[2, 8]) && is_number(time, &[2, 4, 6]) => [day, time],
        None if zone && is_number(rest, &[1, 2, 3, 4, 5, 6, 7, 8, 9]) => [rest, ""],
        _ => return each(word),
    };
    numbers
        .into_iter()
        .filter(|number| !number.is_empty())
        .for_each(&mut *each);
    if zone {
        each("z");
    }
}

/// True for a byte that is a character of a word without any change.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// True for a character that is a word by itself: Han, Hiragana and Katakana.
pub(crate) const fn is_alone(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{FF66}'..='\u{FF9F}' | '\u{20000}'..='\u{323AF}')
}

/// True for a character of a word that has begun: a letter, a digit, or a mark on the letter before.
pub(crate) fn continues_word(c: char) -> bool {
    c.is_alphanumeric() || (!c.is_ascii() && is_combining_mark(c))
}

/// The bytes of the word that a text begins with.
pub(crate) fn run_length(text: &str) -> usize {
    let plain = text
        .bytes()
        .position(|byte| !is_plain(byte))
        .unwrap_or(text.len());
    let rest = text.get(plain..).unwrap_or_default();
    // Most words are plain ones that something of ASCII ends.
    if rest
        .bytes()
        .next()
        .is_none_or(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric())
    {
        return plain;
    }
    let ends = |c: char| !continues_word(c) || is_alone(c);
    let mut chars = text.char_indices();
    match chars.next() {
        Some((_, first)) if is_alone(first) => {
            // Marks stay with their character.
            let end = chars.find(|(_, c)| !is_combining_mark(*c));
            end.map_or(text.len(), |(at, _)| at)
        }
        _ => plain + rest.find(ends).unwrap_or(rest.len()),
    }
}

/// The words of a text, in order.
#[must_use]
pub fn words_of(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    each_word(text, |word| words.push(word.to_owned()));
    words
}

/// The words of an artifact's name, tags, description and text, in this order: separated by spaces, with
/// [`FIELD_BREAK`] between two fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words(String);

impl Words {
    /// Those of an artifact and, where it has one that can be searched, of its text.
    #[must_use]
    pub fn of(artifact: &Artifact, text: Option<&str>) -> Self {
        let mut words = Self(String::with_capacity(text.map_or(128, |text| text.len() + 128)));
        words.add(&artifact.name);
        for tag in &artifact.tags {
            words.add(tag);
        }
        words.add(artifact.description.as_deref().unwrap_or_default());
        words.add(text.unwrap_or_default());
        words
    }

    fn add(&mut self, field: &str) {
        if !self.0.is_empty() {
            self.0.push_str(FIELD_BREAK);
            self.0.push(' ');
        }
        each_word(field, |word| {
            self.0.push_str(word);
            self.0.push(' ');
        });
    }

    /// All of them, as one text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One after the other, breaks between fields included.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.split_ascii_whitespace()
    }
}

/// Where a word was found: what it is worth when matches are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Nowhere else: in the text.
    Text,
    /// In the description.
    Description,
    /// In a tag.
    Tags,
    /// In the name.
    Name,
}

impl Field {
    /// The value that a word found here adds to the score of an artifact.
    #[must_use]
    pub const fn weight(self) -> u32 {
        match self {
            Self::Text => 1,
            Self::Description => 2,
            Self::Tags => 4,
            Self::Name => 8,
        }
    }

    /// The best field of an artifact that has a word for which `is_it` is true.
    #[must_use]
    pub fn best(artifact: &Artifact, is_it: impl Fn(&str) -> bool) -> Self {
        let has = |text: &str| {
            let mut found = false;
            each_word(text, |word| found |= is_it(word));
            found
        };
        if has(&artifact.name) {
            Self::Name
        } else if artifact.tags.iter().any(|tag| has(tag)) {
            Self::Tags
        } else if artifact.description.as_deref().is_some_and(has) {
            Self::Description
        } else {
            Self::Text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        assert_eq!(words_of("Node-7.log: OK"), ["node", "7", "log", "ok"]);
        assert_eq!(
            words_of("Größe ÄPFEL 日本語 ٣"),
            ["größe", "äpfel", "日", "本", "語", "٣"]
        );
        assert!(words_of("\u{E000} .-\0").is_empty());
        assert_eq!(words_of(&"a".repeat(1000)), ["a".repeat(128)]);
    }

    #[test]
    fn dates_and_times_are_numbers() {
        assert_eq!(
            words_of("2026-11-30T20:01:02Z 20261130T200102Z 20:01:02.123Z"),
            [
                "2026", "11", "30", "20", "01", "02", "z", "20261130", "200102", "z", "20", "01", "02",
                "123", "z"
            ]
        );
        assert_eq!(
            words_of("3t20 t20 30t zz abz"),
            ["3t20", "t20", "30t", "zz", "abz"]
        );
    }

    #[test]
    fn composed_and_decomposed_letters_are_alike() {
        assert_eq!(words_of("Cafe\u{301} gro\u{308}ße"), words_of("Café größe"));
        assert_eq!(words_of("Café größe"), ["café", "größe"]);
        assert_eq!(folded("Cafe\u{301}.LOG"), "café.log");
        assert_eq!(words_of("ＥＫＳ ﾃﾞ"), ["eks", "デ"]);
        // A mark that no composed letter has stays in its word.
        assert_eq!(words_of("q\u{303}x y"), ["q\u{303}x", "y"]);
    }

    #[test]
    fn characters_of_scripts_without_spaces_are_words() {
        assert_eq!(
            words_of("ノード7は失敗log"),
            ["ノ", "ー", "ド", "7", "は", "失", "敗", "log"]
        );
    }

    /// The words, character by character.
    fn words_slowly(text: &str) -> Vec<String> {
        let (mut words, mut word, mut chars) = (Vec::new(), String::new(), 0);
        let text: String = text.nfkc().collect();
        let mut alone = false;
        for c in text.chars().chain(std::iter::once(' ')) {
            let goes_on = chars > 0 && continues_word(c) && !is_alone(c) && (!alone || is_combining_mark(c));
            if !goes_on && chars > 0 {
                each_number(&word, &mut |number| words.push(number.to_owned()));
                word.clear();
                chars = 0;
            }
            if goes_on || c.is_alphanumeric() {
                alone = if chars == 0 { is_alone(c) } else { alone };
                if chars < MAX_WORD_CHARS {
                    word.extend(c.to_lowercase());
                }
                chars += 1;
            }
        }
        words
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, cases: 2000, ..Default::default() })]

        #[test]
        fn words_are_the_same_whatever_is_skipped_over(
            parts in proptest::collection::vec(
                proptest::prop_oneof![
                    proptest::prelude::any::<String>(),
                    "[a-z0-9]{0,12}",
                    "[a-zA-Z0-9 .–\u{130}\u{212A}ẞ\u{E000}éÉ日٣²\u{345}]{0,20}",
                    "[a-z]{120,140}",
                    "[a-zİÉ]{120,140}",
                ],
                0..12,
            ),
        ) {
            let text = parts.concat();
            proptest::prop_assert_eq!(words_of(&text), words_slowly(&text));
        }
    }
}
