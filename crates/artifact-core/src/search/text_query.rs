//! Search texts: words, beginnings of words, phrases, and exclusions.

use std::fmt;
use std::str::FromStr;

use tracking_model::Artifact;

use super::tokenizer::{Field, Words, words_of};

/// A text query that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the search text {text:?} at character {}: {reason}", at + 1)]
pub struct TextQueryError {
    /// The query.
    pub text: String,
    /// The character where reading stopped, from 0.
    pub at: usize,
    /// The mistake, and what to write instead.
    pub reason: &'static str,
}

/// One thing that must, or must not, be in a text: words next to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTerm {
    words: Vec<String>,
    prefix: bool,
    exclude: bool,
}

impl TextTerm {
    /// The words, in lower case; at least one.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// True if the last word is a prefix.
    #[must_use]
    pub const fn is_prefix(&self) -> bool {
        self.prefix
    }

    /// True if the text must not have the term.
    #[must_use]
    pub const fn is_excluded(&self) -> bool {
        self.exclude
    }

    /// True if the word at `index` of this term is `word`.
    #[must_use]
    pub fn is_word(&self, index: usize, word: &str) -> bool {
        let Some(wanted) = self.words.get(index) else {
            return false;
        };
        if self.prefix && index + 1 == self.words.len() {
            word.starts_with(wanted.as_str())
        } else {
            word == wanted
        }
    }

    fn is_in(&self, words: &Words) -> bool {
        let mut rest = words.iter();
        loop {
            let mut candidate = rest.clone();
            if (0..self.words.len())
                .all(|index| candidate.next().is_some_and(|word| self.is_word(index, word)))
            {
                return true;
            }
            if rest.next().is_none() {
                return false;
            }
        }
    }
}

/// A search text, for names, descriptions, tags and the texts of logs.
///
/// | written | finds artifacts with |
/// |---|---|
/// | `kubelet ready` | both words, anywhere |
/// | `kube*` | a word that begins so |
/// | `"not ready"` | these words next to each other |
/// | `-debug` | everything but those with this word; also `-"…"` and `-kube*` |
///
/// `AND` may stand between two of these; `OR` and `NOT` are refused with an explanation.
/// Words are runs of letters and digits, without regard to case; `node-7` is the phrase `"node 7"`.
///
/// ```
/// use artifact_core::TextQuery;
/// assert!(TextQuery::new("kube* -debug \"not ready\"").is_ok());
/// assert_eq!(TextQuery::new("not \"ready").unwrap_err().at, 4);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextQuery {
    text: String,
    terms: Vec<TextTerm>,
}

impl TextQuery {
    /// Reads a query.
    ///
    /// # Errors
    /// [`TextQueryError`] with the place of what has no meaning: a quote that is not closed, a star that does not end a
    /// word, something without a letter or digit.
    pub fn new(text: impl Into<String>) -> Result<Self, TextQueryError> {
        let text = text.into();
        let terms = Parser::new(&text).terms();
        match terms {
            Ok(terms) => Ok(Self { text, terms }),
            Err((at, reason)) => Err(TextQueryError { text, at, reason }),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The terms; at least one.
    #[must_use]
    pub fn terms(&self) -> &[TextTerm] {
        &self.terms
    }

    /// True if an artifact with these words matches.
    #[must_use]
    pub fn matches(&self, words: &Words) -> bool {
        self.terms.iter().all(|term| term.is_in(words) != term.exclude)
    }

    /// How well an artifact that matches fits: the sum over all words that are looked for of what the best field is
    /// worth in which each is.
    #[must_use]
    pub fn score(&self, artifact: &Artifact) -> u32 {
        let words = self.wanted_words();
        let best = |(term, index): (&TextTerm, usize)| {
            Field::best(artifact, |word| term.is_word(index, word)).weight()
        };
        words.map(best).sum()
    }

    /// The words that are looked for, each as its term and its place in it.
    pub fn wanted_words(&self) -> impl Iterator<Item = (&TextTerm, usize)> {
        let wanted = self.terms.iter().filter(|term| !term.exclude);
        wanted.flat_map(|term| (0..term.words.len()).map(move |index| (term, index)))
    }
}

impl FromStr for TextQuery {
    type Err = TextQueryError;
    fn from_str(text: &str) -> Result<Self, TextQueryError> {
        Self::new(text)
    }
}

impl fmt::Display for TextQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
}

type Misread = (usize, &'static str);

impl Parser {
    fn new(text: &str) -> Self {
        Self {
            chars: text.chars().collect(),
            at: 0,
        }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take_while(&mut self, goes_on: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&goes_on) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn terms(mut self) -> Result<Vec<TextTerm>, Misread> {
        let mut terms = Vec::new();
        loop {
            self.take_while(char::is_whitespace);
            if self.peek().is_none() {
                break;
            }
            if !self.takes_and(!terms.is_empty())? {
                terms.push(self.term()?);
            }
        }
        if terms.is_empty() {
            return Err((0, "there is no word in it; give at least one"));
        }
        Ok(terms)
    }

    /// Passes over `AND`, which stands between any two terms anyway. Other operators of search engines are refused.
    fn takes_and(&mut self, is_between: bool) -> Result<bool, Misread> {
        let start = self.at;
        let word = self.take_while(|c| !c.is_whitespace());
        match word.as_str() {
            "AND" if is_between => Ok(true),
            "AND" => Err((
                start,
                "AND stands between two words; quote it, or write it in lower case, to look for the word",
            )),
            "OR" => Err((
                start,
                "OR is not supported: search for one word after the other; quote it, or write it in lower case, to look for the word",
            )),
            "NOT" => Err((
                start,
                "NOT is written as -word; quote it, or write it in lower case, to look for the word",
            )),
            _ => {
                self.at = start;
                Ok(false)
            }
        }
    }

    fn term(&mut self) -> Result<TextTerm, Misread> {
        let start = self.at;
        let exclude = self.peek() == Some('-');
        if exclude {
            self.at += 1;
        }
        let (text, prefix) = if self.peek() == Some('"') {
            (self.quoted()?, false)
        } else {
            self.plain()?
        };
        let words = words_of(&text);
        if words.is_empty() {
            return Err((start, "nothing to look for here; words have letters or digits"));
        }
        Ok(TextTerm {
            words,
            prefix,
            exclude,
        })
    }

    fn quoted(&mut self) -> Result<String, Misread> {
        let start = self.at;
        self.at += 1;
        let text = self.take_while(|c| c != '"');
        if self.peek().is_none() {
            return Err((start, "this quote is not closed; end the phrase with another"));
        }
        if let Some(star) = text.chars().position(|c| c == '*') {
            return Err((
                start + 1 + star,
                "a star has no meaning within quotes; take it away",
            ));
        }
        self.at += 1;
        if self.peek().is_some_and(|c| !c.is_whitespace()) {
            return Err((self.at, "a space must follow a phrase"));
        }
        Ok(text)
    }

    fn plain(&mut self) -> Result<(String, bool), Misread> {
        let start = self.at;
        let mut text = self.take_while(|c| !c.is_whitespace() && c != '"');
        if self.peek() == Some('"') {
            return Err((self.at, "a quote must follow a space; put one before it"));
        }
        let prefix = text.ends_with('*');
        if prefix {
            text.pop();
        }
        if let Some(star) = text.chars().position(|c| c == '*') {
            return Err((
                start + star,
                "a star is for the end of a word; for parts of names use a name pattern",
            ));
        }
        if prefix && !text.ends_with(char::is_alphanumeric) {
            return Err((self.at - 1, "a star must follow a letter or digit"));
        }
        Ok((text, prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let shown = |text: &str| -> Vec<String> {
            let query = TextQuery::new(text).unwrap();
            query
                .terms()
                .iter()
                .map(|term| {
                    let sign = if term.exclude { "-" } else { "" };
                    let star = if term.prefix { "*" } else { "" };
                    format!("{sign}{}{star}", term.words.join("+"))
                })
                .collect()
        };
        assert_eq!(shown("Kubelet  ready"), ["kubelet", "ready"]);
        assert_eq!(shown("Kubelet AND ready"), ["kubelet", "ready"]);
        assert_eq!(shown("and or \"OR\""), ["and", "or", "or"]);
        assert_eq!(shown("2026-11-30T20:01"), ["2026+11+30+20+01"]);
        assert_eq!(
            shown("kube-prox* -\"not  ready\" -x*"),
            ["kube+prox*", "-not+ready", "-x*"]
        );
    }

    #[test]
    fn errors_tell_the_place() {
        let place = |text: &str| TextQuery::new(text).unwrap_err().at;
        assert_eq!(place(""), 0);
        assert_eq!(place("ä \"b"), 2);
        assert_eq!(place("a && b"), 2);
        assert_eq!(place("a -"), 2);
        assert_eq!(place("a*b"), 1);
        assert_eq!(place("a.*"), 2);
        assert_eq!(place("\"a *\""), 3);
        assert_eq!(place("\"a\"b"), 3);
        assert_eq!(place("a\"b\""), 1);
        assert_eq!(place("a OR b"), 2);
        assert_eq!(place("NOT b"), 0);
        assert_eq!(place("AND b"), 0);
        assert_eq!(
            TextQuery::new("a \"b").unwrap_err().to_string(),
            "cannot read the search text \"a \\\"b\" at character 3: this quote is not closed; end the phrase with another"
        );
    }
}
