//! Ranking: the newest matches, scored by where the words are.

use std::cmp::Reverse;

use artifact_core::words::Field;
use artifact_core::{MAX_RANKED, Matches, Sort, TextQuery};

use crate::error::Cause;
use crate::expression::places;
use crate::facets::Kind;
use crate::find::{Page, Search, newest};
use crate::record::Stored;
use crate::stream::{Direction, Stream, Table};

/// Where a word can be found, but for texts, the least first.
const FIELDS: [(Kind, Field); 3] = [
    (Kind::InDescription, Field::Description),
    (Kind::InTags, Field::Tags),
    (Kind::InName, Field::Name),
];

pub(crate) fn ranked(search: &Search<'_>) -> Result<Matches, Cause> {
    let mut page = Page::new(search.query);
    match &search.query.text {
        Some(text) if search.is_exact() => by_lists(search, text, &mut page)?,
        // Each match has to be looked at to know whether it is one.
        _ => newest(search)?
            .into_iter()
            .for_each(|artifact| page.offer(artifact)),
    }
    Ok(page.into_matches())
}

/// Scores matches by the lists of rows that have a word in a field, and reads only those of the page.
fn by_lists(search: &Search<'_>, text: &TextQuery, page: &mut Page<'_>) -> Result<(), Cause> {
    let mut matches = Vec::new();
    search.candidates(Direction::Newest, |id| {
        matches.push(id);
        Ok(matches.len() < MAX_RANKED)
    })?;
    let (Some(newest), Some(oldest)) = (matches.first(), matches.last()) else {
        return Ok(());
    };
    let bounds = (*newest, *oldest);
    let mut scores = vec![0_u32; matches.len()];
    for facets in places(text, &FIELDS.map(|(kind, _)| kind)) {
        let mut best = vec![Field::Text; matches.len()];
        for (facet, (_, field)) in facets.into_iter().zip(FIELDS) {
            let mut at = 0;
            Stream::new(search.at, Table::Facets, facet).visit(bounds, Direction::Newest, |id| {
                at += matches
                    .get(at..)
                    .unwrap_or_default()
                    .partition_point(|one| *one < id);
                if let (Some(one), Some(best)) = (matches.get(at), best.get_mut(at))
                    && *one == id
                {
                    *best = field;
                }
                Ok(true)
            })?;
        }
        for (score, field) in scores.iter_mut().zip(best) {
            *score += field.weight();
        }
    }
    let mut order: Vec<(u32, i64)> = scores.into_iter().zip(matches).collect();
    order.sort_unstable_by_key(|(score, id)| (Reverse(*score), *id));
    let mut fetch = search
        .at
        .prepare_cached("SELECT id, session, record FROM artifact WHERE id = ?1")?;
    for (score, id) in order {
        let after = search.query.after.as_ref();
        // No two rows share a time here, so score and time tell all of the order.
        if after.is_some_and(|after| after.score().unwrap_or(0) < score) {
            continue;
        }
        if after.is_some_and(|after| after.score() == Some(score) && after.created_at().as_micros() <= -id) {
            continue;
        }
        let mut rows = fetch.query([id])?;
        if let Some(row) = rows.next()? {
            page.offer(Stored::read(row)?.artifact);
        }
        if page.is_full() {
            break;
        }
    }
    debug_assert_eq!(search.query.sort, Sort::Rank);
    Ok(())
}
