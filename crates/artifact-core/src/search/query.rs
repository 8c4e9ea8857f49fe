//! Queries: one type for all indexes.

use std::fmt;
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};
use tracking_model::{
    Artifact, ArtifactStatus, ArtifactType, CollectionId, SessionId, TaskId, Timestamp, UpgradeId,
};

use super::tokenizer::{Words, folded};
use crate::{PageCursor, TextQuery};

/// Most artifacts that a query returns unless it says otherwise.
pub const DEFAULT_LIMIT: usize = 100;

/// Most matches that [`Sort::Rank`] ranks: the newest of them.
pub const MAX_RANKED: usize = 10_000;

/// A name pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the name pattern {pattern:?}: {reason}")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
    /// The mistake.
    pub reason: String,
}

/// A pattern for names, without regard to case: a glob over the whole name if it has one of `*?[{`, else any part of it.
#[derive(Clone)]
pub struct NamePattern {
    text: String,
    glob: Option<GlobMatcher>,
}

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] for a glob that has no meaning, such as `[a`.
    pub fn new(pattern: impl Into<String>) -> Result<Self, PatternError> {
        let pattern = pattern.into();
        let text = folded(&pattern);
        let glob = if pattern.contains(['*', '?', '[', '{']) {
            let glob = GlobBuilder::new(&text).build();
            let glob = glob.map_err(|error| PatternError {
                pattern: pattern.clone(),
                reason: error.kind().to_string(),
            })?;
            Some(glob.compile_matcher())
        } else {
            None
        };
        Ok(Self { text, glob })
    }

    /// The pattern, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True for a glob, false for a part of a name.
    #[must_use]
    pub const fn is_glob(&self) -> bool {
        self.glob.is_some()
    }

    /// True if the pattern matches `name`.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name = folded(name);
        match &self.glob {
            Some(glob) => glob.is_match(name),
            None => name.contains(&self.text),
        }
    }

    /// Texts that each name in lower case has in it that matches; none if there is nothing that all of them have.
    #[must_use]
    pub fn literals(&self) -> Vec<String> {
        if !self.is_glob() {
            return vec![self.text.clone()];
        }
        let mut literals = vec![String::new()];
        let mut chars = self.text.chars();
        // Brackets and braces hold alternatives.
        let mut depth = 0_usize;
        while let Some(c) = chars.next() {
            match c {
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                '*' | '?' => {}
                _ if depth > 0 => continue,
                '\\' => {}
                c => {
                    if let Some(literal) = literals.last_mut() {
                        literal.push(c);
                    }
                    continue;
                }
            }
            if c == '\\' {
                chars.next();
            }
            literals.push(String::new());
        }
        literals.retain(|literal| !literal.is_empty());
        literals
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamePattern").field(&self.text).finish()
    }
}

/// In which order artifacts are returned. Those that are equal in it come newest first, at last by their ids, so that the
/// order is the same each time.
///
/// An order that an index does not know must not compile, so this may be matched exhaustively.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// Those added last first.
    #[default]
    Newest,
    /// Those added first first.
    Oldest,
    /// Those first in which the words of the text stand in the name, then in tags, then in the description
    /// ([`TextQuery::score`]). Ranks the newest [`MAX_RANKED`] matches; older ones are not found.
    Rank,
    /// The largest first, those of unknown size last.
    Size,
    /// By name, without regard to case.
    Name,
}

/// A query. All given criteria must hold; without any, every artifact matches that is not deleted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ArtifactQuery {
    /// The search text, for the name, the description, the tags and the text of a log.
    pub text: Option<TextQuery>,
    /// The pattern that the name must match.
    pub name: Option<NamePattern>,
    /// The types of which it must be one; any if empty.
    pub types: Vec<ArtifactType>,
    /// The statuses of which it must have one; if empty any but `deleted`.
    pub statuses: Vec<ArtifactStatus>,
    /// Tags that it must all have.
    pub all_tags: Vec<Arc<str>>,
    /// Tags of which it must have one; any if empty.
    pub any_tags: Vec<Arc<str>>,
    /// Tags of which it may have none.
    pub no_tags: Vec<Arc<str>>,
    /// The task that produced it.
    pub task_id: Option<TaskId>,
    /// The step that produced it.
    pub step_id: Option<Arc<str>>,
    /// The session that it belongs to.
    pub session_id: Option<SessionId>,
    /// The collection that it belongs to.
    pub collection_id: Option<CollectionId>,
    /// The upgrade that produced it.
    pub upgrade_id: Option<UpgradeId>,
    /// The cluster of that upgrade.
    pub cluster_name: Option<Arc<str>>,
    /// The fewest bytes that it may have.
    pub min_size: Option<u64>,
    /// The most bytes that it may have.
    pub max_size: Option<u64>,
    /// It was added then or later.
    pub since: Option<Timestamp>,
    /// It was added before then.
    pub until: Option<Timestamp>,
    /// In which order.
    pub sort: Sort,
    /// At most so many.
    pub limit: usize,
    /// Only what comes after this place: [`Matches::next`](crate::Matches) of a query that was the same but for its
    /// limit.
    pub after: Option<PageCursor>,
    /// True if results are to show where their texts match: [`SearchResults::snippets`](crate::SearchResults).
    pub snippets: bool,
}

impl Default for ArtifactQuery {
    fn default() -> Self {
        Self {
            text: None,
            name: None,
            types: Vec::new(),
            statuses: Vec::new(),
            all_tags: Vec::new(),
            any_tags: Vec::new(),
            no_tags: Vec::new(),
            task_id: None,
            step_id: None,
            session_id: None,
            collection_id: None,
            upgrade_id: None,
            cluster_name: None,
            min_size: None,
            max_size: None,
            since: None,
            until: None,
            sort: Sort::default(),
            limit: DEFAULT_LIMIT,
            after: None,
            snippets: false,
        }
    }
}

impl ArtifactQuery {
    /// A query that everything matches but what was deleted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for words in names, descriptions, tags and the texts of logs.
    #[must_use]
    pub fn with_text(mut self, text: TextQuery) -> Self {
        self.text = Some(text);
        self
    }

    /// Looks for names that match.
    #[must_use]
    pub fn with_name(mut self, pattern: NamePattern) -> Self {
        self.name = Some(pattern);
        self
    }

    /// Looks for this type, or one of several if called again.
    #[must_use]
    pub fn with_type(mut self, artifact_type: ArtifactType) -> Self {
        self.types.push(artifact_type);
        self
    }

    /// Looks for this status, or one of several if called again.
    #[must_use]
    pub fn with_status(mut self, status: ArtifactStatus) -> Self {
        self.statuses.push(status);
        self
    }

    /// Looks for this tag, or for all of several if called again.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<Arc<str>>) -> Self {
        self.all_tags.push(tag.into());
        self
    }

    /// Looks in one session.
    #[must_use]
    pub fn in_session(mut self, session_id: SessionId) -> Self {
        self.session_id = Some(session_id);
        self
    }

    /// Looks in one collection.
    #[must_use]
    pub fn in_collection(mut self, collection_id: CollectionId) -> Self {
        self.collection_id = Some(collection_id);
        self
    }

    /// Looks for what one upgrade produced.
    #[must_use]
    pub fn of_upgrade(mut self, upgrade_id: UpgradeId) -> Self {
        self.upgrade_id = Some(upgrade_id);
        self
    }

    /// Looks for what one task produced.
    #[must_use]
    pub fn of_task(mut self, task_id: TaskId) -> Self {
        self.task_id = Some(task_id);
        self
    }

    /// Looks for what was added since.
    #[must_use]
    pub const fn with_since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
        self
    }

    /// Sets the order.
    #[must_use]
    pub const fn with_sort(mut self, sort: Sort) -> Self {
        self.sort = sort;
        self
    }

    /// Returns at most so many.
    #[must_use]
    pub const fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Goes on after a page.
    #[must_use]
    pub fn with_after(mut self, after: PageCursor) -> Self {
        self.after = Some(after);
        self
    }

    /// Shows where texts match.
    #[must_use]
    pub const fn with_snippets(mut self) -> Self {
        self.snippets = true;
        self
    }

    /// True if an artifact of an upgrade of this cluster, with these words, matches.
    #[must_use]
    pub fn matches(&self, artifact: &Artifact, cluster_name: &str, words: &Words) -> bool {
        self.matches_record(artifact, cluster_name)
            && self.text.as_ref().is_none_or(|text| text.matches(words))
    }

    /// True if its record matches, whatever its text.
    #[must_use]
    pub fn matches_record(&self, artifact: &Artifact, cluster_name: &str) -> bool {
        self.matches_place(artifact, cluster_name)
            && self.matches_kind(artifact)
            && self.matches_range(artifact)
            && self.name.as_ref().is_none_or(|name| name.matches(&artifact.name))
    }

    fn matches_place(&self, artifact: &Artifact, cluster_name: &str) -> bool {
        is_or_any(self.session_id.as_ref(), &artifact.session_id)
            && is_or_any(self.collection_id.as_ref(), &artifact.collection_id)
            && is_or_any(self.upgrade_id.as_ref(), &artifact.upgrade_id)
            && self
                .cluster_name
                .as_deref()
                .is_none_or(|name| name == cluster_name)
            && (self.task_id.is_none() || self.task_id == artifact.task_id)
            && (self.step_id.is_none() || self.step_id == artifact.step_id)
    }

    fn matches_kind(&self, artifact: &Artifact) -> bool {
        let has = |tag: &Arc<str>| artifact.tags.contains(tag);
        let status = match self.statuses.as_slice() {
            [] => artifact.status != ArtifactStatus::Deleted,
            statuses => statuses.contains(&artifact.status),
        };
        status
            && (self.types.is_empty() || self.types.contains(&artifact.artifact_type))
            && self.all_tags.iter().all(has)
            && (self.any_tags.is_empty() || self.any_tags.iter().any(has))
            && !self.no_tags.iter().any(has)
    }

    fn matches_range(&self, artifact: &Artifact) -> bool {
        let large_enough = |min| artifact.file_size.is_some_and(|size| size >= min);
        let small_enough = |max| artifact.file_size.is_some_and(|size| size <= max);
        self.min_size.is_none_or(large_enough)
            && self.max_size.is_none_or(small_enough)
            && self.since.is_none_or(|since| artifact.created_at >= since)
            && self.until.is_none_or(|until| artifact.created_at < until)
    }
}

fn is_or_any<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_parts_or_globs() {
        let matches = |pattern: &str, name: &str| NamePattern::new(pattern).unwrap().matches(name);
        assert!(matches("LOG", "build.log"));
        assert!(matches("*.log", "Build.LOG"));
        assert!(!matches("*.log", "build.log.gz"));
        assert!(matches("node-[12].*", "node-2.yaml"));
        let literals = |pattern: &str| NamePattern::new(pattern).unwrap().literals().join("|");
        assert_eq!(literals("Node*7?b[ab]c{d,e{f,g}}h\\*i"), "node|7|b|c|h|i");
        assert_eq!(literals("Ä.log"), "ä.log");
        let error = NamePattern::new("[a").unwrap_err();
        assert!(error.to_string().contains("\"[a\""), "{error}");
    }
}
