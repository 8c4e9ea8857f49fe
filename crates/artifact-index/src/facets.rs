//! What an artifact is, as words of a full-text index: `session is s1`, `has the tag node`, `has "log" in its name`.
//! They stand in the same index as the words of its text, which so answers every combination of criteria by intersecting
//! sorted lists, newest first, where an index for each column would be slower to build and could follow one column only.
//! Only its status, which changes when nothing else does, has an index of its own.
//!
//! Values are known by a hash, sizes by their order of magnitude, names by their parts: what is found is a superset,
//! and each match is compared with the query before it is returned.

use std::fmt::Write;

use artifact_core::words::each_word;
use artifact_core::{ArtifactQuery, NamePattern};
use tracking_model::{Artifact, ArtifactStatus, ArtifactType, UpgradeId};

/// Most parts of a name that are looked for.
const MOST_NAME_PARTS: usize = 4;
/// As many where a whole word is one of them, which is rare by itself.
const MOST_WITH_WORDS: usize = 2;
/// Longer words of names are not looked for; indexed are all to a greater length.
const MOST_WORD_BYTES: usize = 64;

/// Begins every facet; no word of a text has it.
const MARK: char = '.';

/// What kind of facet a word is: the letter that follows [`MARK`].
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
    /// Its upgrade and its type: what is asked together most.
    UpgradeType = b'y',
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

/// Adds the word that stands for a value to `out`.
fn add_hashed(out: &mut String, kind: Kind, value: &str) {
    add_plain(out, kind, "");
    write!(out, "{:x}", hash(value)).expect("writing to a string cannot fail");
}

/// Adds the word that stands for a short value of letters and digits to `out`.
fn add_plain(out: &mut String, kind: Kind, value: &str) {
    out.push(MARK);
    out.push(char::from(kind as u8));
    out.push_str(value);
}

/// The word that stands for a value.
pub(crate) fn hashed(kind: Kind, value: &str) -> String {
    let mut word = String::new();
    add_hashed(&mut word, kind, value);
    word
}

/// The number that stands for an upgrade.
pub(crate) fn upgrade_number(upgrade_id: &str) -> i64 {
    i64::from(hash(upgrade_id) as u32)
}

/// The word that stands for a short value of letters and digits.
pub(crate) fn plain(kind: Kind, value: &str) -> String {
    let mut word = String::new();
    add_plain(&mut word, kind, value);
    word
}

/// The word that stands for artifacts of a type that are of an upgrade.
fn upgrade_type(upgrade_id: &UpgradeId, artifact_type: ArtifactType) -> String {
    hashed(
        Kind::UpgradeType,
        &format!("{}/{upgrade_id}", artifact_type as u8),
    )
}

/// The word that stands for a status, in the index that has nothing else.
pub(crate) fn status(status: ArtifactStatus) -> String {
    (status as u8).to_string()
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

/// Where characters are moved to that the tokeniser would take for separators.
const SIGNS: std::ops::RangeInclusive<char> = '\u{E000}'..='\u{E07F}';

/// A character as it stands in a word.
fn as_word_character(c: char) -> char {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        c
    } else {
        char::from_u32(u32::from(*SIGNS.start()) + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

/// Passes each part of a name in lower case to `each`: all runs of three characters.
fn name_parts(name: &str, mut each: impl FnMut(&str)) {
    let chars: Vec<char> = name.chars().map(as_word_character).collect();
    let mut word = String::new();
    for part in chars.windows(3) {
        word.clear();
        add_plain(&mut word, Kind::NamePart, "");
        word.extend(part);
        each(&word);
    }
}

/// Adds the cluster of an artifact to `out`, with a space behind it.
pub(crate) fn add_cluster(out: &mut String, cluster_name: &str) {
    add_hashed(out, Kind::Cluster, cluster_name);
    out.push(' ');
}

/// Adds all other facets of an artifact to `out`, each with a space behind it.
pub(crate) fn add_facets(out: &mut String, artifact: &Artifact, name_key: &str) {
    let mut hashed = |kind, value| {
        add_hashed(out, kind, value);
        out.push(' ');
    };
    hashed(Kind::Session, artifact.session_id.as_str());
    hashed(Kind::Collection, artifact.collection_id.as_str());
    hashed(Kind::Upgrade, artifact.upgrade_id.as_str());
    if let Some(task_id) = &artifact.task_id {
        hashed(Kind::Task, task_id.as_str());
    }
    if let Some(step_id) = &artifact.step_id {
        hashed(Kind::Step, step_id);
    }
    for tag in &artifact.tags {
        hashed(Kind::Tag, tag);
    }
    let mut plain = |kind, value: &str| {
        add_plain(out, kind, value);
        out.push(' ');
    };
    plain(Kind::Type, &(artifact.artifact_type as u8).to_string());
    if let Some(size) = artifact.file_size {
        plain(Kind::Size, &magnitude(size).to_string());
    }
    for tag in &artifact.tags {
        each_word(tag, |word| plain(Kind::InTags, word));
    }
    each_word(&artifact.name, |word| plain(Kind::InName, word));
    each_word(artifact.description.as_deref().unwrap_or_default(), |word| {
        plain(Kind::InDescription, word);
    });
    let mut add = |word: &str| {
        out.push_str(word);
        out.push(' ');
    };
    add(&upgrade_type(&artifact.upgrade_id, artifact.artifact_type));
    name_parts(name_key, add);
}

/// What a query asks of facets, as expressions of FTS5 of which each must hold.
pub(crate) fn wanted(query: &ArtifactQuery) -> Vec<String> {
    let mut wanted: Vec<String> = Vec::new();
    let mut one = |kind: Kind, value: Option<&str>| {
        wanted.extend(value.map(|value| quoted(&hashed(kind, value))));
    };
    one(Kind::Session, query.session_id.as_ref().map(|id| id.as_str()));
    one(
        Kind::Collection,
        query.collection_id.as_ref().map(|id| id.as_str()),
    );
    one(Kind::Cluster, query.cluster_name.as_deref());
    one(Kind::Task, query.task_id.as_ref().map(|id| id.as_str()));
    one(Kind::Step, query.step_id.as_deref());
    for tag in &query.all_tags {
        one(Kind::Tag, Some(tag));
    }
    let types = query.types.iter();
    wanted.extend(match &query.upgrade_id {
        Some(id) if query.types.is_empty() => Some(quoted(&hashed(Kind::Upgrade, id.as_str()))),
        Some(id) => any(types.map(|one| upgrade_type(id, *one))),
        None => any(types.map(|one| plain(Kind::Type, &(*one as u8).to_string()))),
    });
    wanted.extend(any(query.any_tags.iter().map(|tag| hashed(Kind::Tag, tag))));
    wanted.extend(any(sizes(query)));
    if let Some(name) = &query.name {
        wanted.extend(parts_of(name).iter().map(|part| quoted(part)));
    }
    wanted
}

/// What a query asks not to be there.
pub(crate) fn unwanted(query: &ArtifactQuery) -> Vec<String> {
    let tags = query.no_tags.iter();
    tags.map(|tag| quoted(&hashed(Kind::Tag, tag))).collect()
}

/// The statuses that a query asks for, as an expression of FTS5; `None` if it names none, or all.
pub(crate) fn statuses(query: &ArtifactQuery) -> Option<String> {
    // All statuses are no criterion.
    if ArtifactStatus::ALL.iter().all(|one| query.statuses.contains(one)) {
        return None;
    }
    any(query.statuses.iter().map(|one| status(*one)))
}

/// The magnitudes that sizes in the wanted range have.
fn sizes(query: &ArtifactQuery) -> impl Iterator<Item = String> {
    let range = (query.min_size.is_some() || query.max_size.is_some())
        .then(|| magnitude(query.min_size.unwrap_or(0))..=magnitude(query.max_size.unwrap_or(u64::MAX)));
    let sizes = range.into_iter().flatten();
    sizes.map(|size| plain(Kind::Size, &size.to_string()))
}

/// Some of the parts that a name must have to match: each costs a list, and few of them leave few candidates. Whole words
/// are rarer than parts, those with digits are rarer than others, those with signs are not, for most names end alike, and
/// parts that do not overlap say more.
fn parts_of(pattern: &NamePattern) -> Vec<String> {
    let mut parts = Vec::new();
    let mut words = Vec::new();
    for literal in pattern.literals() {
        words.extend(whole_words(&literal).map(|word| plain(Kind::InName, word)));
        let mut at = 0;
        name_parts(&literal, |part| {
            let digits = part.chars().filter(char::is_ascii_digit).count();
            let signs = part.chars().filter(|c| SIGNS.contains(c)).count();
            parts.push((std::cmp::Reverse(digits), signs, at % 3, part.to_owned()));
            at += 1;
        });
    }
    parts.sort_unstable();
    parts.dedup();
    // What has none is in most names, beside what has some.
    let with_digits = parts.partition_point(|(digits, ..)| digits.0 > 0);
    if with_digits >= MOST_WITH_WORDS {
        parts.truncate(with_digits);
    }
    words.sort_unstable_by_key(|word| std::cmp::Reverse(word.len()));
    words.dedup();
    let most = if words.is_empty() {
        MOST_NAME_PARTS
    } else {
        MOST_WITH_WORDS
    };
    words.extend(parts.into_iter().map(|(.., part)| part));
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
