//! What an artifact is, as words of a full-text index: `session is s1`, `has the tag node`, `has "log" in its name`.
//! One such index answers every combination of criteria by intersecting sorted lists, newest first, where an index for
//! each column would be slower to build and could follow one column only.
//!
//! Values are known by a hash, sizes by their order of magnitude, names by their parts: what is found is a superset,
//! and each match is compared with the query before it is returned.

use std::fmt::Write;

use artifact_core::words::each_word;
use artifact_core::{ArtifactQuery, NamePattern};
use tracking_model::{Artifact, ArtifactStatus};

/// Most parts of a name that are looked for.
const MOST_NAME_PARTS: usize = 4;
/// As many where a whole word is one of them, which is rare by itself.
const MOST_WITH_WORDS: usize = 2;
/// Longer words of names are not looked for; indexed are all to a greater length.
const MOST_WORD_BYTES: usize = 64;

/// What kind of facet a word is: its first letter.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Kind {
    Session = b's',
    Collection = b'c',
    Upgrade = b'u',
    Cluster = b'l',
    Task = b'k',
    Step = b'p',
    Tag = b'g',
    Type = b't',
    Status = b'a',
    /// The number of binary digits of its size.
    Size = b'z',
    /// Three characters of its name in lower case.
    NamePart = b'n',
    /// A word of its name, of its tags, of its description: where words were found, for ranking.
    InName = b'w',
    InTags = b'v',
    InDescription = b'd',
}

/// FNV-1a: the same in all versions, and a collision costs a comparison only.
fn hash(value: &str) -> u64 {
    value.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The word that stands for a value.
pub(crate) fn hashed(kind: Kind, value: &str) -> String {
    format!("{}{:x}", char::from(kind as u8), hash(value))
}

/// The number that stands for an upgrade.
pub(crate) fn upgrade_number(upgrade_id: &str) -> i64 {
    i64::from(hash(upgrade_id) as u32)
}

/// The word that stands for a short value of letters and digits.
pub(crate) fn plain(kind: Kind, value: &str) -> String {
    format!("{}{value}", char::from(kind as u8))
}

pub(crate) const fn magnitude(size: u64) -> u32 {
    u64::BITS - size.leading_zeros()
}

/// The sizes of a magnitude, the least and the largest.
pub(crate) fn sizes_of(magnitude: u32) -> (u64, u64) {
    let below = |digits: u32| u64::MAX.checked_shr(u64::BITS - digits).unwrap_or(0);
    let least = magnitude.checked_sub(1).map_or(0, |digits| below(digits) + 1);
    (least, below(magnitude))
}

/// Characters that the tokeniser would take for separators are moved to where it does not.
fn as_word_character(c: char) -> char {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        c
    } else {
        char::from_u32(0xE000 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

/// Passes each part of a name in lower case to `each`: all runs of three characters.
fn name_parts(name: &str, mut each: impl FnMut(&str)) {
    let chars: Vec<char> = name.chars().map(as_word_character).collect();
    for part in chars.windows(3) {
        let mut word = String::from(char::from(Kind::NamePart as u8));
        word.extend(part);
        each(&word);
    }
}

/// All facets of an artifact, separated by spaces.
pub(crate) fn facets_of(artifact: &Artifact, cluster_name: &str, name_key: &str) -> String {
    let mut out = String::with_capacity(512);
    let mut add = |word: &str| {
        out.push_str(word);
        out.push(' ');
    };
    add(&hashed(Kind::Session, artifact.session_id.as_str()));
    add(&hashed(Kind::Collection, artifact.collection_id.as_str()));
    add(&hashed(Kind::Upgrade, artifact.upgrade_id.as_str()));
    add(&hashed(Kind::Cluster, cluster_name));
    if let Some(task_id) = &artifact.task_id {
        add(&hashed(Kind::Task, task_id.as_str()));
    }
    if let Some(step_id) = &artifact.step_id {
        add(&hashed(Kind::Step, step_id));
    }
    add(&plain(Kind::Type, &(artifact.artifact_type as u8).to_string()));
    add(&plain(Kind::Status, &(artifact.status as u8).to_string()));
    if let Some(size) = artifact.file_size {
        add(&plain(Kind::Size, &magnitude(size).to_string()));
    }
    for tag in &artifact.tags {
        add(&hashed(Kind::Tag, tag));
        each_word(tag, |word| add(&plain(Kind::InTags, word)));
    }
    name_parts(name_key, &mut add);
    each_word(&artifact.name, |word| add(&plain(Kind::InName, word)));
    each_word(artifact.description.as_deref().unwrap_or_default(), |word| {
        add(&plain(Kind::InDescription, word));
    });
    out
}

/// What a query asks of facets, as an expression of FTS5; `None` if nothing that facets tell.
pub(crate) fn expression(query: &ArtifactQuery) -> Option<String> {
    let mut needed: Vec<String> = Vec::new();
    let mut one = |kind: Kind, value: Option<&str>| {
        needed.extend(value.map(|value| quoted(&hashed(kind, value))));
    };
    one(Kind::Session, query.session_id.as_ref().map(|id| id.as_str()));
    one(
        Kind::Collection,
        query.collection_id.as_ref().map(|id| id.as_str()),
    );
    one(Kind::Upgrade, query.upgrade_id.as_ref().map(|id| id.as_str()));
    one(Kind::Cluster, query.cluster_name.as_deref());
    one(Kind::Task, query.task_id.as_ref().map(|id| id.as_str()));
    one(Kind::Step, query.step_id.as_deref());
    for tag in &query.all_tags {
        one(Kind::Tag, Some(tag));
    }
    let types = query
        .types
        .iter()
        .map(|one| plain(Kind::Type, &(*one as u8).to_string()));
    needed.extend(any(types));
    needed.extend(any(query.any_tags.iter().map(|tag| hashed(Kind::Tag, tag))));
    needed.extend(any(sizes(query)));
    let live_ones = query.statuses.is_empty();
    let statuses = query
        .statuses
        .iter()
        .map(|one| plain(Kind::Status, &(*one as u8).to_string()));
    // All statuses are no criterion.
    if query.statuses.len() < ArtifactStatus::ALL.len() {
        needed.extend(any(statuses));
    }
    if let Some(name) = &query.name {
        needed.extend(parts_of(name).iter().map(|part| quoted(part)));
    }
    if needed.is_empty() {
        return None;
    }
    let mut unwanted: Vec<String> = query.no_tags.iter().map(|tag| hashed(Kind::Tag, tag)).collect();
    if live_ones {
        unwanted.push(plain(Kind::Status, &(ArtifactStatus::Deleted as u8).to_string()));
    }
    let mut expression = needed.join(" AND ");
    if let Some(unwanted) = any(unwanted.into_iter()) {
        expression = format!("({expression}) NOT {unwanted}");
    }
    Some(expression)
}

/// The magnitudes that sizes in the wanted range have.
fn sizes(query: &ArtifactQuery) -> impl Iterator<Item = String> {
    let range = (query.min_size.is_some() || query.max_size.is_some())
        .then(|| magnitude(query.min_size.unwrap_or(0))..=magnitude(query.max_size.unwrap_or(u64::MAX)));
    let sizes = range.into_iter().flatten();
    sizes.map(|size| plain(Kind::Size, &size.to_string()))
}

/// Some of the parts that a name must have to match: each costs a list, and few of them leave few candidates. Whole words
/// are rarer than parts, those with digits are rarer than others (signs are not: most names end alike), and parts that do
/// not overlap say more.
fn parts_of(pattern: &NamePattern) -> Vec<String> {
    let mut parts = Vec::new();
    let mut words = Vec::new();
    for literal in pattern.literals() {
        words.extend(whole_words(&literal).map(|word| plain(Kind::InName, word)));
        let mut at = 0;
        name_parts(&literal, |part| {
            let digits = part.chars().filter(char::is_ascii_digit).count();
            parts.push((std::cmp::Reverse(digits), at % 3, part.to_owned()));
            at += 1;
        });
    }
    parts.sort_unstable();
    parts.dedup();
    words.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
    words.dedup();
    let most = if words.is_empty() {
        MOST_NAME_PARTS
    } else {
        MOST_WITH_WORDS
    };
    words.extend(parts.into_iter().map(|(_, _, part)| part));
    words.truncate(most);
    words
}

/// The words of a literal that are words of each name that it is a part of: those that end within it, before and after.
/// Where other letters than those of ASCII stand beside them, lower case may have moved the end of a word.
fn whole_words(literal: &str) -> impl Iterator<Item = &str> {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii() && !c.is_ascii_alphanumeric());
    let words = literal.split(|c: char| !c.is_ascii_alphanumeric());
    let mut at = 0;
    words.filter(move |word| {
        let (before, after) = (literal.get(..at), literal.get(at + word.len()..));
        at += word.len();
        at += literal
            .get(at..)
            .and_then(|rest| rest.chars().next())
            .map_or(0, char::len_utf8);
        (2..=MOST_WORD_BYTES).contains(&word.len())
            && is_end(before.and_then(|before| before.chars().next_back()))
            && is_end(after.and_then(|after| after.chars().next()))
    })
}

/// An expression for one of several words; `None` if there are none.
fn any(words: impl Iterator<Item = String>) -> Option<String> {
    let mut expression = String::new();
    for word in words {
        let or = if expression.is_empty() { "(" } else { " OR " };
        write!(expression, "{or}{}", quoted(&word)).expect("writing to a string cannot fail");
    }
    (!expression.is_empty()).then(|| expression + ")")
}

/// A word as FTS5 takes it; no word has a quote.
pub(crate) fn quoted(word: &str) -> String {
    format!("\"{word}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_of_its_magnitude() {
        for size in [0, 1, 2, 3, 4, 7, 8, 1 << 62, u64::MAX >> 1, 1 << 63, u64::MAX] {
            let (least, most) = sizes_of(magnitude(size));
            assert!((least..=most).contains(&size), "{size}");
            assert_eq!(
                (magnitude(least), magnitude(most)),
                (magnitude(size), magnitude(size))
            );
        }
    }

    #[test]
    fn whole_words_end_within_the_literal() {
        let words = |literal: &'static str| whole_words(literal).collect::<Vec<_>>();
        assert_eq!(words("node-1234-"), ["1234"]);
        assert_eq!(words(".node.12.log"), ["node", "12"]);
        assert!(words("node").is_empty());
        assert!(words("-i\u{307}- ä.xy").is_empty());
        assert_eq!(words("äb-cd.ef"), ["cd"]);
    }
}
