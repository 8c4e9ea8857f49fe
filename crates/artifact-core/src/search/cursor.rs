//! The order of what is found, and how to go on after a page of it.

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::str::FromStr;

use tracking_model::{Artifact, ArtifactId, SessionId, Timestamp, percent_decode, percent_encode};

use super::tokenizer::folded;
use crate::{ArtifactQuery, Sort};

/// A text that is no page cursor, or one of another query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {reason}")]
pub struct PageCursorError {
    /// The text.
    pub text: String,
    /// The mistake, and what to give instead.
    pub reason: &'static str,
}

/// The first sort key of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Newest,
    Oldest,
    Rank(u32),
    Size(Option<u64>),
    Name(String),
}

/// The place of an artifact in the order of a query. As text it can be kept, and given to a query that is the same but
/// for its limit: what that finds comes after it, whatever was added or deleted meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageCursor {
    key: Key,
    created_at: Timestamp,
    artifact_id: ArtifactId,
    session_id: SessionId,
}

impl PageCursor {
    /// The place of an artifact among what `query` finds.
    #[must_use]
    pub fn of(query: &ArtifactQuery, artifact: &Artifact) -> Self {
        let key = match query.sort {
            Sort::Newest => Key::Newest,
            Sort::Oldest => Key::Oldest,
            Sort::Rank => Key::Rank(query.text.as_ref().map_or(0, |text| text.score(artifact))),
            Sort::Size => Key::Size(artifact.file_size),
            Sort::Name => Key::Name(folded(&artifact.name)),
        };
        Self {
            key,
            created_at: artifact.created_at,
            artifact_id: artifact.artifact_id.clone(),
            session_id: artifact.session_id.clone(),
        }
    }

    /// In which order it is a place.
    #[must_use]
    pub const fn sort(&self) -> Sort {
        match self.key {
            Key::Newest => Sort::Newest,
            Key::Oldest => Sort::Oldest,
            Key::Rank(_) => Sort::Rank,
            Key::Size(_) => Sort::Size,
            Key::Name(_) => Sort::Name,
        }
    }

    /// When the artifact was added.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// The score that it has, in the order of ranks.
    #[must_use]
    pub const fn score(&self) -> Option<u32> {
        match self.key {
            Key::Rank(score) => Some(score),
            _ => None,
        }
    }

    /// The size that it has, in the order of sizes.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        match self.key {
            Key::Size(size) => size,
            _ => None,
        }
    }

    /// The name in lower case that it has, in the order of names.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.key {
            Key::Name(name) => Some(name),
            _ => None,
        }
    }

    fn newest_first(&self, other: &Self) -> Ordering {
        let by = |cursor: &Self| {
            (
                cursor.created_at,
                cursor.artifact_id.clone(),
                cursor.session_id.clone(),
            )
        };
        other
            .created_at
            .cmp(&self.created_at)
            .then_with(|| by(other).cmp(&by(self)))
    }
}

/// A place that comes first is less.
impl Ord for PageCursor {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = match (&self.key, &other.key) {
            (Key::Oldest, Key::Oldest) => return other.newest_first(self),
            (Key::Rank(mine), Key::Rank(theirs)) => Reverse(mine).cmp(&Reverse(theirs)),
            (Key::Size(mine), Key::Size(theirs)) => Reverse(mine).cmp(&Reverse(theirs)),
            (Key::Name(mine), Key::Name(theirs)) => mine.cmp(theirs),
            // Places of different orders do not compare; a query refuses such a cursor.
            _ => Ordering::Equal,
        };
        by_key.then_with(|| self.newest_first(other))
    }
}

impl PartialOrd for PageCursor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Key::Newest => f.write_str("newest"),
            Key::Oldest => f.write_str("oldest"),
            Key::Rank(score) => write!(f, "rank~{score}"),
            Key::Size(None) => f.write_str("size~-"),
            Key::Size(Some(size)) => write!(f, "size~{size}"),
            // Such a text has no `~` of its own.
            Key::Name(name) => write!(f, "name~{}", percent_encode(name.as_bytes()).replace('~', "%7E")),
        }?;
        let Self {
            created_at,
            artifact_id,
            session_id,
            ..
        } = self;
        write!(f, "~{}~{artifact_id}~{session_id}", created_at.as_micros())
    }
}

impl FromStr for PageCursor {
    type Err = PageCursorError;
    fn from_str(text: &str) -> Result<Self, PageCursorError> {
        parse(text).ok_or_else(|| PageCursorError {
            text: text.to_owned(),
            reason: "is no page cursor; give `next` of the page before as it is",
        })
    }
}

fn parse(text: &str) -> Option<PageCursor> {
    let mut parts = text.split('~');
    let key = match parts.next()? {
        "newest" => Key::Newest,
        "oldest" => Key::Oldest,
        "rank" => Key::Rank(parts.next()?.parse().ok()?),
        "size" => match parts.next()? {
            "-" => Key::Size(None),
            size => Key::Size(Some(size.parse().ok()?)),
        },
        "name" => Key::Name(String::from_utf8(percent_decode(parts.next()?)?).ok()?),
        _ => return None,
    };
    let cursor = PageCursor {
        key,
        created_at: Timestamp::from_micros(parts.next()?.parse().ok()?),
        artifact_id: parts.next()?.parse().ok()?,
        session_id: parts.next()?.parse().ok()?,
    };
    parts.next().is_none().then_some(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_texts() {
        for text in [
            "newest~1738301101056236~a:1~s",
            "oldest~-5~a~s",
            "rank~9~1~a~s",
            "size~-~1~a~s",
            "size~17~1~a~s",
            "name~b%7Euild%2Flog%C3%A4~1~a~s",
        ] {
            assert_eq!(text.parse::<PageCursor>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "newest",
            "newest~1~a",
            "newest~1~a~s~",
            "size~x~1~a~s",
            "newest~1~../a~s",
        ] {
            assert!(text.parse::<PageCursor>().is_err(), "{text}");
        }
    }
}
