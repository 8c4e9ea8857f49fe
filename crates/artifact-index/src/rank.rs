//! Ranking: the newest matches, scored by where the words are.

use std::cmp::Reverse;

use artifact_core::words::Field;
use artifact_core::{MAX_RANKED, Matches, PageCursor, Sort, TextQuery};

use crate::error::Cause;
use crate::expression::places;
use crate::facets::Kind;
use crate::find::{Search, newest};
use crate::page::Page;
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

/// Scores matches by the lists of rows that have a word in a field, and reads only those of the page. All others have the
/// words in their texts only, and come after these, the newest first.
fn by_lists(search: &Search<'_>, text: &TextQuery, page: &mut Page<'_>) -> Result<(), Cause> {
    let places = places(text, &FIELDS.map(|(kind, _)| kind));
    let oldest = search.nth(MAX_RANKED)?.unwrap_or(i64::MAX);
    let mut promising = Vec::new();
    search.with_any(places.iter().flatten(), |id| {
        if id <= oldest {
            promising.push(id);
        }
        Ok(id < oldest)
    })?;
    let scores = scores(search, &promising, &places)?;
    let mut order: Vec<(u32, i64)> = scores.into_iter().zip(promising.iter().copied()).collect();
    order.sort_unstable_by_key(|(score, id)| (Reverse(*score), *id));
    let mut fetch = search
        .at
        .prepare_cached("SELECT id, session, record FROM artifact WHERE id = ?1")?;
    let mut offer = |score: u32, id: i64| -> Result<bool, Cause> {
        // No two rows share a time here, so score and time tell all of the order.
        let is_before = |after: &PageCursor| {
            let at = after.score().unwrap_or(0);
            at < score || (at == score && after.created_at().as_micros() <= -id)
        };
        if !search.query.after.as_ref().is_some_and(is_before) {
            let mut rows = fetch.query([id])?;
            if let Some(row) = rows.next()? {
                page.offer(Stored::read(row)?.artifact);
            }
        }
        Ok(!page.is_full())
    };
    for (score, id) in order {
        if !offer(score, id)? {
            return Ok(());
        }
    }
    let least = u32::try_from(places.len()).unwrap_or(u32::MAX) * Field::Text.weight();
    search.candidates(Direction::Newest, |id| {
        let is_scored = promising.binary_search(&id).is_ok();
        Ok((is_scored || offer(least, id)?) && id < oldest)
    })?;
    debug_assert_eq!(search.query.sort, Sort::Rank);
    Ok(())
}

/// The scores of rows, which are in order.
fn scores(search: &Search<'_>, rows: &[i64], places: &[Vec<String>]) -> Result<Vec<u32>, Cause> {
    let mut scores = vec![0_u32; rows.len()];
    let (Some(newest), Some(oldest)) = (rows.first(), rows.last()) else {
        return Ok(scores);
    };
    let bounds = (*newest, *oldest);
    for facets in places {
        let mut best = vec![Field::Text; rows.len()];
        for (facet, (_, field)) in facets.iter().zip(FIELDS) {
            let mut at = 0;
            Stream::new(search.at, Table::Words, facet.clone()).visit(bounds, Direction::Newest, |id| {
                at += rows
                    .get(at..)
                    .unwrap_or_default()
                    .partition_point(|one| *one < id);
                if let (Some(one), Some(best)) = (rows.get(at), best.get_mut(at))
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
    Ok(scores)
}
