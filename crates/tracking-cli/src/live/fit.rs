//! Which rows of a tree are shown where not all of them fit.
//!
//! What runs, failed or is paused stays, with everything above it. What has ended goes first, then what is far off.

use std::ops::Range;

use tracking_facade::{Status, TreeRow};

/// Whether a row is shown, and how many rows below it are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fitted {
    pub(super) shown: bool,
    /// Hidden rows whose nearest shown row this is.
    pub(super) folded: usize,
}

/// How much a row matters; smaller is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It runs, failed or is paused, or has such a row below it.
    Busy,
    /// A top-level task.
    Top,
    /// It is about to begin: what it is part of is at work.
    Next,
    /// It has ended: what it is part of is at work.
    Done,
    /// Nothing of what it is part of has begun.
    FarOff,
    /// All of what it is part of has ended.
    Over,
}

impl Rank {
    const ALL: [Self; 6] = [
        Self::Busy,
        Self::Top,
        Self::Next,
        Self::Done,
        Self::FarOff,
        Self::Over,
    ];
}

/// Chooses at most `room` rows.
pub(super) fn fit(rows: &[TreeRow<'_>], room: usize) -> Vec<Fitted> {
    let shown = choose(rows, &ranks(rows), room);
    let mut fitted: Vec<Fitted> = shown
        .into_iter()
        .map(|shown| Fitted { shown, folded: 0 })
        .collect();
    fold(rows, &mut fitted);
    fitted
}

fn choose(rows: &[TreeRow<'_>], ranks: &[Rank], room: usize) -> Vec<bool> {
    let mut shown = vec![false; rows.len()];
    let mut room = room;
    for rank in Rank::ALL {
        let of_rank = |among: Range<usize>| among.filter(|row| ranks[*row] == rank).collect::<Vec<_>>();
        let all = of_rank(0..rows.len());
        let fits = all.len() <= room;
        // What is far off, or over, is shown as a whole below each top-level task or not at all.
        let parts = match rank {
            _ if fits => vec![all],
            Rank::Busy | Rank::Top | Rank::Next | Rank::Done => vec![all.into_iter().take(room).collect()],
            Rank::FarOff => subtrees(rows).into_iter().map(of_rank).collect(),
            Rank::Over => subtrees(rows).into_iter().rev().map(of_rank).collect(),
        };
        for part in parts {
            if part.len() > room {
                break;
            }
            room -= part.len();
            part.into_iter().for_each(|row| shown[row] = true);
        }
        if !fits {
            break;
        }
    }
    shown
}

/// The rows of each top-level task.
fn subtrees(rows: &[TreeRow<'_>]) -> Vec<Range<usize>> {
    let tops: Vec<usize> = (0..rows.len()).filter(|row| rows[*row].level == 0).collect();
    let ends = tops.iter().skip(1).copied().chain([rows.len()]);
    tops.iter()
        .copied()
        .zip(ends)
        .map(|(top, end)| top..end)
        .collect()
}

/// How many rows should be shown by all means.
pub(super) fn needed(rows: &[TreeRow<'_>]) -> usize {
    ranks(rows).into_iter().filter(|rank| *rank <= Rank::Top).count()
}

/// Counts what is hidden below what is shown.
fn fold(rows: &[TreeRow<'_>], fitted: &mut [Fitted]) {
    let mut above: Vec<usize> = Vec::new();
    for row in 0..rows.len() {
        above.truncate(rows[row].level);
        if !fitted[row].shown {
            let nearest = above.iter().rev().find(|above| fitted[**above].shown);
            if let Some(nearest) = nearest.copied() {
                fitted[nearest].folded += 1;
            }
        }
        above.push(row);
    }
}

fn ranks(rows: &[TreeRow<'_>]) -> Vec<Rank> {
    let mut ranks: Vec<Rank> = Vec::with_capacity(rows.len());
    let mut above: Vec<Status> = Vec::new();
    for row in rows {
        above.truncate(row.level);
        ranks.push(own_rank(row.status, above.last().copied()));
        above.push(row.status);
    }
    // From below: a row matters at least as much as what is part of it.
    let mut least: Vec<Rank> = Vec::new();
    for (row, rank) in rows.iter().zip(&mut ranks).rev() {
        least.resize(least.len().max(row.level + 2), Rank::Over);
        *rank = least[row.level + 1].min(*rank);
        least[row.level] = least[row.level].min(*rank);
        least[row.level + 1..].fill(Rank::Over);
    }
    ranks
}

const fn own_rank(status: Status, parent: Option<Status>) -> Rank {
    match (status, parent) {
        (Status::InProgress | Status::Failed | Status::Paused, _) => Rank::Busy,
        (_, None) => Rank::Top,
        (_, Some(Status::Completed | Status::Cancelled)) => Rank::Over,
        (_, Some(Status::NotStarted)) => Rank::FarOff,
        (Status::NotStarted, Some(_)) => Rank::Next,
        (Status::Completed | Status::Cancelled, Some(_)) => Rank::Done,
    }
}
