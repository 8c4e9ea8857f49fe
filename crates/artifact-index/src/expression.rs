//! Queries as expressions of FTS5.

use artifact_core::{ArtifactQuery, TextQuery, TextTerm};
use rusqlite::{Connection, OptionalExtension};

use crate::error::Cause;
use crate::facets::{self, quoted};

/// Stands in the words of every artifact that is not deleted; no text has it.
pub(crate) const LIVE: &str = "\u{E001}";
/// Stands in the words of every artifact that is deleted.
pub(crate) const DELETED: &str = "\u{E002}";
/// Up to so many words with a common beginning are looked for one by one, newest first. The lists of more words are
/// merged by FTS5 before the first match is known.
const FEW_WORDS: usize = 48;

/// What a query asks of words and facets; `None` if nothing that they tell.
pub(crate) fn expression(at: &Connection, query: &ArtifactQuery) -> Result<Option<String>, Cause> {
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    for term in query.text.iter().flat_map(TextQuery::terms) {
        let list = if term.is_excluded() {
            &mut unwanted
        } else {
            &mut wanted
        };
        list.push(term_expression(at, term)?);
    }
    wanted.extend(facets::wanted(query));
    if wanted.is_empty() && query.text.is_none() {
        return Ok(None);
    }
    if wanted.is_empty() {
        wanted.push(format!("({} OR {})", quoted(LIVE), quoted(DELETED)));
    }
    unwanted.extend(facets::unwanted(query));
    if query.statuses.is_empty() {
        unwanted.push(quoted(DELETED));
    }
    let mut expression = wanted.join(" AND ");
    if !unwanted.is_empty() {
        expression = format!("({expression}) NOT ({})", unwanted.join(" OR "));
    }
    Ok(Some(expression))
}

fn term_expression(at: &Connection, term: &TextTerm) -> Result<String, Cause> {
    let phrase = quoted(&term.words().join(" "));
    match term.words() {
        _ if !term.is_prefix() => Ok(phrase),
        [beginning] => Ok(match words_with(at, beginning)? {
            Some(words) if words.is_empty() => phrase,
            Some(words) => format!(
                "({})",
                words
                    .iter()
                    .map(|word| quoted(word))
                    .collect::<Vec<_>>()
                    .join(" OR ")
            ),
            None => format!("{phrase} *"),
        }),
        _ => Ok(format!("{phrase} *")),
    }
}

/// The words that begin so; `None` if they are many.
fn words_with(at: &Connection, beginning: &str) -> Result<Option<Vec<String>>, Cause> {
    let mut next = at.prepare_cached("SELECT term FROM vocabulary WHERE term >= ?1 AND term < ?2 LIMIT 1")?;
    let end = format!("{beginning}\u{10FFFF}");
    let mut words: Vec<String> = Vec::new();
    let mut from = beginning.to_owned();
    while let Some(word) = next
        .query_row([&from, &end], |row| row.get::<_, String>(0))
        .optional()?
    {
        if words.len() == FEW_WORDS {
            return Ok(None);
        }
        // The least text that is greater than this word and not greater than any other.
        from = format!("{word}\u{1}");
        words.push(word);
    }
    Ok(Some(words))
}

/// The facets that tell in which field the words are that a text query looks for, best field first, for each word.
pub(crate) fn places(text: &TextQuery, kinds: &[crate::facets::Kind]) -> Vec<Vec<String>> {
    let wanted = text.wanted_words();
    wanted
        .map(|(term, index)| {
            let word = term.words().get(index).map_or("", String::as_str);
            let star = if term.is_prefix() && index + 1 == term.words().len() {
                " *"
            } else {
                ""
            };
            let facet =
                |kind: &crate::facets::Kind| format!("{}{star}", quoted(&crate::facets::plain(*kind, word)));
            kinds.iter().map(facet).collect()
        })
        .collect()
}
