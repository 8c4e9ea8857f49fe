//! Which rows of a tree are shown where not all of them fit.
//!
//! What runs, failed or is paused stays, with everything above it. What has ended goes first, then what is far off.

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

/// Chooses at most `room` rows.
pub(super) fn fit(rows: &[TreeRow<'_>], room: usize) -> Vec<Fitted> {
    let ranks = ranks(rows);
    let mut order: Vec<(Rank, usize)> = ranks.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let hidden = order.split_off(room.min(order.len()));
    // What is far off, or over, is shown as a whole or not at all.
    let whole = hidden
        .first()
        .map(|(rank, _)| *rank)
        .filter(|rank| *rank >= Rank::FarOff);
    let mut fitted: Vec<Fitted> = ranks
        .iter()
        .map(|rank| Fitted {
            shown: Some(*rank) != whole,
            folded: 0,
        })
        .collect();
    for (_, row) in hidden {
        fitted[row].shown = false;
    }
    fold(rows, &mut fitted);
    fitted
}

/// How many rows must be shown.
pub(super) fn busy(rows: &[TreeRow<'_>]) -> usize {
    ranks(rows).into_iter().filter(|rank| *rank == Rank::Busy).count()
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
        ranks.push(own_rank(row.task.status, above.last().copied()));
        above.push(row.task.status);
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
