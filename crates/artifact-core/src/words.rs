//! The words of an artifact, as every index knows them: what a text is cut into, in documents and in queries alike.

use tracking_model::Artifact;

/// Longest word in characters; longer runs, as of encoded bytes, are known by their beginning.
const MAX_WORD_CHARS: usize = 128;
/// Stands between two fields, so that no phrase reaches from one into the next. No word has this character.
pub const FIELD_BREAK: &str = "\u{E000}";

/// Passes each word of `text` to `each`: runs of letters and digits of any script, in lower case.
pub fn each_word(text: &str, mut each: impl FnMut(&str)) {
    let mut word = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(char::is_alphanumeric) {
        let (_, from) = rest.split_at(begin);
        let (run, after) = from.split_at(run_length(from));
        rest = after;
        if run.len() <= MAX_WORD_CHARS && run.bytes().all(is_plain) {
            each(run);
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
        each(&word);
    }
}

/// Whether a byte is a character of a word as it stands there.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// The bytes of letters and digits that a text begins with.
fn run_length(text: &str) -> usize {
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
    plain + rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len())
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
    /// What a word found here adds to the score of an artifact.
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
            ["größe", "äpfel", "日本語", "٣"]
        );
        assert!(words_of("\u{E000} .-\0").is_empty());
        assert_eq!(words_of(&"a".repeat(1000)), ["a".repeat(128)]);
    }

    /// The words, character by character.
    fn words_slowly(text: &str) -> Vec<String> {
        let (mut words, mut word, mut chars) = (Vec::new(), String::new(), 0);
        for c in text.chars().chain(std::iter::once(' ')) {
            if c.is_alphanumeric() {
                if chars < MAX_WORD_CHARS {
                    word.extend(c.to_lowercase());
                }
                chars += 1;
            } else if chars > 0 {
                words.push(std::mem::take(&mut word));
                chars = 0;
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
