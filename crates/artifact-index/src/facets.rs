//! The word list of an artifact for full-text search: the words of its text, and its facets as words (`session is s1`,
//! `has the tag node`, `has "log" in its name`). One index so answers every combination of words and facets, newest first.
//!
//! Values are known by a hash and names by their parts: a search finds a superset, and compares each match with the query.

use std::fmt::Write;

use artifact_core::tokenizer::{Words, folded};
use artifact_core::{ArtifactQuery, NamePattern, TextQuery, TextTerm};
use tracking_model::{Artifact, ArtifactType};

/// Begins every facet; no word of a text has it.
const MARK: char = '.';
/// A word that every artifact has; no text has it.
const EVERY: &str = "\u{E001}";
/// Parts of a name that are looked for: each costs a list, and few of them leave few candidates.
const NAME_PARTS: usize = 4;
/// Where characters are moved to that the tokeniser would take for separators.
const SIGNS: std::ops::RangeInclusive<char> = '\u{E000}'..='\u{E07F}';

/// The kind of a facet: the letter that follows [`MARK`].
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Kind {
    Session = b's',
    Collection = b'c',
    Upgrade = b'u',
    Cluster = b'l',
    Task = b'k',
    Step = b'p',
    Tag = b'g',
    Type = b't',
    /// Three characters of its name in lower case.
    NamePart = b'n',
}

/// FNV-1a: the same in all versions, and a collision costs a comparison only.
pub(crate) fn hash(value: &str) -> u64 {
    value.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The word that stands for a value.
fn facet(kind: Kind, value: &str) -> String {
    format!("{MARK}{}{:x}", char::from(kind as u8), hash(value))
}

/// The word that stands for a type.
fn type_facet(artifact_type: ArtifactType) -> String {
    format!("{MARK}{}{}", char::from(Kind::Type as u8), artifact_type as u8)
}

/// All words of an artifact. Facets come first, for places in a list take fewer bytes the smaller they are.
pub(crate) fn word_list(artifact: &Artifact, cluster_name: &str, words: &Words) -> String {
    let mut list = String::with_capacity(words.as_str().len() + 512);
    let mut add = |word: &str| {
        list.push_str(word);
        list.push(' ');
    };
    for (kind, value) in [
        (Kind::Session, Some(artifact.session_id.as_str())),
        (Kind::Collection, Some(artifact.collection_id.as_str())),
        (Kind::Upgrade, Some(artifact.upgrade_id.as_str())),
        (Kind::Cluster, Some(cluster_name)),
        (Kind::Task, artifact.task_id.as_ref().map(|id| id.as_str())),
        (Kind::Step, artifact.step_id.as_deref()),
    ] {
        if let Some(value) = value {
            add(&facet(kind, value));
        }
    }
    for tag in &artifact.tags {
        add(&facet(Kind::Tag, tag));
    }
    add(&type_facet(artifact.artifact_type));
    name_parts(&folded(&artifact.name))
        .iter()
        .for_each(|part| add(part));
    add(EVERY);
    list.push_str(words.as_str());
    list
}

/// The parts of a name in lower case: all runs of three characters.
fn name_parts(name: &str) -> Vec<String> {
    let as_word_character = |c: char| {
        if c.is_ascii_alphanumeric() || !c.is_ascii() {
            c
        } else {
            char::from_u32(u32::from(*SIGNS.start()) + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
    };
    let chars: Vec<char> = name.chars().map(as_word_character).collect();
    let start = format!("{MARK}{}", char::from(Kind::NamePart as u8));
    let parts = chars.windows(3);
    parts
        .map(|part| start.chars().chain(part.iter().copied()).collect())
        .collect()
}

/// A query as an expression of FTS5; `None` if the query asks for nothing that words tell.
pub(crate) fn expression(query: &ArtifactQuery) -> Option<String> {
    let (mut wanted, mut unwanted) = (facets(query), Vec::new());
    for term in query.text.iter().flat_map(TextQuery::terms) {
        if term.is_excluded() {
            unwanted.push(term_expression(term));
        } else {
            wanted.push(term_expression(term));
        }
    }
    let tags = query.no_tags.iter();
    unwanted.extend(tags.map(|tag| quoted(&facet(Kind::Tag, tag))));
    if wanted.is_empty() && query.text.is_none() {
        // Few artifacts are left out, and all others need no list of words.
        return None;
    }
    if wanted.is_empty() {
        wanted.push(quoted(EVERY));
    }
    let mut expression = wanted.join(" AND ");
    if !unwanted.is_empty() {
        expression = format!("({expression}) NOT ({})", unwanted.join(" OR "));
    }
    Some(expression)
}

fn term_expression(term: &TextTerm) -> String {
    let phrase = quoted(&term.words().join(" "));
    if term.is_prefix() {
        format!("{phrase} *")
    } else {
        phrase
    }
}

/// Facets that a query asks for, as expressions of FTS5 of which each must hold.
fn facets(query: &ArtifactQuery) -> Vec<String> {
    let ids = [
        (Kind::Session, query.session_id.as_ref().map(|id| id.as_str())),
        (
            Kind::Collection,
            query.collection_id.as_ref().map(|id| id.as_str()),
        ),
        (Kind::Upgrade, query.upgrade_id.as_ref().map(|id| id.as_str())),
        (Kind::Cluster, query.cluster_name.as_deref()),
        (Kind::Task, query.task_id.as_ref().map(|id| id.as_str())),
        (Kind::Step, query.step_id.as_deref()),
    ];
    let ids = ids
        .into_iter()
        .filter_map(|(kind, value)| Some(facet(kind, value?)));
    let tags = query.all_tags.iter().map(|tag| facet(Kind::Tag, tag));
    let mut wanted: Vec<String> = ids.chain(tags).map(|word| quoted(&word)).collect();
    wanted.extend(any(query.types.iter().map(|one| type_facet(*one))));
    wanted.extend(any(query.any_tags.iter().map(|tag| facet(Kind::Tag, tag))));
    if let Some(name) = &query.name {
        wanted.extend(parts_of(name).iter().map(|part| quoted(part)));
    }
    wanted
}

/// Some of the parts that a name must have to match. Parts with digits are rarer than others, parts with signs are not,
/// and parts that do not overlap say more.
fn parts_of(pattern: &NamePattern) -> Vec<String> {
    let mut parts = Vec::new();
    for literal in pattern.literals() {
        for (at, part) in name_parts(&literal).into_iter().enumerate() {
            let digits = part.chars().filter(char::is_ascii_digit).count();
            let signs = part.chars().filter(|c| SIGNS.contains(c)).count();
            parts.push((std::cmp::Reverse(digits), signs, at % 3, part));
        }
    }
    parts.sort_unstable();
    parts.dedup();
    parts.truncate(NAME_PARTS);
    parts.into_iter().map(|(.., part)| part).collect()
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
fn quoted(word: &str) -> String {
    format!("\"{word}\"")
}
