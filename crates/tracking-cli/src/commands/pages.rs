//! All artifacts that a query matches, read and printed page by page.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Arc;

use serde::ser::{Error as _, SerializeSeq};
use serde::{Serialize, Serializer};
use tracking_facade::{Artifact, ArtifactQuery, TestArtifactsManager, Unreadable};

use super::runtime::block_on;
use crate::exit::{Failure, Kind};
use crate::failure::cannot;

/// Artifacts that are in memory at a time, and rows of a table under one head.
const PAGE: usize = 1000;

/// All artifacts that a query matches. Serialised, it is their list.
pub(super) struct Pages<'a> {
    manager: &'a TestArtifactsManager,
    query: ArtifactQuery,
    attempted: String,
    /// Why they could not be read to the end.
    failure: RefCell<Option<Failure>>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(manager: &'a TestArtifactsManager, query: ArtifactQuery, attempted: String) -> Self {
        Self {
            manager,
            query: query.with_limit(PAGE),
            attempted,
            failure: RefCell::new(None),
        }
    }

    /// Passes the artifacts to `each`, page by page; the first page may be empty. Returns the sessions that cannot be
    /// read.
    pub(super) fn each<E>(
        &self,
        failed: impl Fn(Failure) -> E,
        mut each: impl FnMut(&[Arc<Artifact>]) -> Result<(), E>,
    ) -> Result<Vec<Unreadable>, E> {
        let mut query = self.query.clone();
        let mut unreadable = None;
        loop {
            let page = block_on(self.manager.search_artifacts(query.clone()));
            let page = page.and_then(|page| page.map_err(cannot(|| self.attempted.clone())));
            let page = page.map_err(&failed)?;
            each(&page.artifacts)?;
            let unreadable = unreadable.get_or_insert(page.unreadable);
            match page.next {
                Some(next) => query = query.with_after(next),
                None => return Ok(std::mem::take(unreadable)),
            }
        }
    }
}

impl Serialize for Pages<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize_all(serializer).map(|(done, _)| done)
    }
}

impl Pages<'_> {
    /// Writes them as a list, and returns the sessions that cannot be read.
    pub(super) fn serialize_all<S: Serializer>(
        &self,
        serializer: S,
    ) -> Result<(S::Ok, Vec<Unreadable>), S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        let failed = |failure| {
            *self.failure.borrow_mut() = Some(failure);
            S::Error::custom("the artifacts cannot be read")
        };
        let unreadable = self.each(failed, |page| {
            page.iter()
                .try_for_each(|artifact| sequence.serialize_element(artifact))
        })?;
        Ok((sequence.end()?, unreadable))
    }

    /// Why they could not be read to the end, if that is so.
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.take()
    }
}

/// Writes a document that holds pages, whose failure `pages` tells.
pub(super) fn write_document(
    out: &mut impl Write,
    document: &impl Serialize,
    pages: impl FnOnce() -> Option<Failure>,
) -> Result<(), Failure> {
    let written = serde_json::to_writer(&mut *out, document);
    if let Some(failure) = pages() {
        return Err(failure);
    }
    written
        .map_err(|error| match error.io_error_kind() {
            Some(_) => Failure::output(&error.into()),
            None => Failure::of(Kind::Failed, "write the result as JSON", &error),
        })
        .and_then(|()| out.write_all(b"\n").map_err(|error| Failure::output(&error)))
}
