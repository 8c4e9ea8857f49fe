//! When an upgrade or a task will be complete, as far as anyone can say.
//!
//! A task's remaining time comes, in this order, from
//! 1. **history**: the last 20 completed runs of tasks of the same type and name in the data directory, at least 3. Of
//!    a task that runs, only those count that took longer than it has so far. One that has outrun them all is not
//!    estimated from them;
//! 2. its **children**, added up as below;
//! 3. its **rate**: what it did per second so far, from 5 % on. A rate says nothing about its spread, so the p90 is
//!    twice the p50;
//! 4. nothing: it is unknown.
//!
//! Children add up along the tree. Those that run at the moment are taken to run side by side, and the longest counts.
//! Those still to come, failed ones that await their retry among them, are taken to run one after the other, as the
//! steps of an upgrade do; where they will run side by side the estimate is too long. Their medians are added; their
//! spreads (p90 less p50) are taken as independent, so their squares are added. Unknown parts are filled in at the rate
//! of the whole, by their share of its percentage; if that rate is unknown, so is the sum.
//!
//! Estimates assume that work goes on now: while an upgrade is paused they move with the clock. They are never in the
//! past and p50 is never after p90, however the clock jumps.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};
use tracking_model::{Percent, Span, Status, TaskId, TaskProgress, Timestamp, UpgradeProgress};

use crate::history::History;
use crate::{ProgressError, ProgressTracker};

/// From how many percent on a rate is trusted.
const FEWEST_PERCENT: f64 = 5.0;
/// How many times the p50 the p90 is where only a rate is known.
const RATE_SPREAD: f64 = 2.0;

/// When something will be complete.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// It is as likely to be complete before as after; `None` if unknown.
    pub p50: Option<Timestamp>,
    /// Nine times in ten it is complete before; `None` if unknown.
    pub p90: Option<Timestamp>,
    /// What it is estimated from.
    pub basis: EstimateBasis,
}

/// What an estimate is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EstimateBasis {
    /// Earlier runs of all tasks that remain.
    History {
        /// How many there are of the task with the fewest.
        runs: usize,
    },
    /// The rate so far, at least for a part of what remains.
    Rate,
    /// There is nothing to estimate it from, or nothing left to do.
    Unknown,
}

impl EstimateBasis {
    /// The name in JSON: `history`, `rate`, `unknown`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::History { .. } => "history",
            Self::Rate => "rate",
            Self::Unknown => "unknown",
        }
    }
}

impl Estimate {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        p50: None,
        p90: None,
        basis: EstimateBasis::Unknown,
    };

    fn new(left: Option<Left>, now: Timestamp) -> Self {
        let Some(left) = left else { return Self::UNKNOWN };
        let at = |seconds: f64| Some(now + seconds_to_span(seconds));
        let basis = match left.runs {
            Some(runs) if runs < usize::MAX => EstimateBasis::History { runs },
            _ => EstimateBasis::Rate,
        };
        Self {
            p50: at(left.p50),
            p90: at(left.p90.max(left.p50)),
            basis,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a conversion of floats saturates")]
fn seconds_to_span(seconds: f64) -> Span {
    Span::from_micros((seconds.max(0.0) * 1e6) as i64)
}

/// As `{"p50": …, "p90": …, "basis": "history", "runs": 5}`; `runs` is null unless the basis is history.
impl Serialize for Estimate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let runs = match self.basis {
            EstimateBasis::History { runs } => Some(runs),
            EstimateBasis::Rate | EstimateBasis::Unknown => None,
        };
        let mut map = serializer.serialize_struct("Estimate", 4)?;
        map.serialize_field("p50", &self.p50)?;
        map.serialize_field("p90", &self.p90)?;
        map.serialize_field("basis", self.basis.as_str())?;
        map.serialize_field("runs", &runs)?;
        map.end()
    }
}

/// When the upgrade will be complete if it goes on at `now`. Unknown before anything has started and once it has ended.
#[must_use]
pub fn estimate_upgrade(state: &UpgradeProgress, history: &History, now: Timestamp) -> Estimate {
    match state.status {
        Status::NotStarted | Status::InProgress | Status::Paused => {}
        Status::Completed | Status::Failed | Status::Cancelled => return Estimate::UNKNOWN,
    }
    let started_tasks = state.tasks().values().filter_map(|task| task.started_at);
    let Some(started_at) = state.started_at.or_else(|| started_tasks.min()) else {
        return Estimate::UNKNOWN;
    };
    let estimator = Estimator::new(state, history, now);
    let rate = Rate {
        elapsed: now.since(started_at),
        percentage: state.overall_percentage(),
    };
    let top = state
        .tasks()
        .values()
        .filter(|task| task.parent_task_id.is_none());
    Estimate::new(estimator.sum(top, rate), now)
}

/// When a task will be complete if work goes on at `now`. Of one that has not started: if it started now. Unknown once
/// it has ended for good, and of a task that the upgrade does not have.
#[must_use]
pub fn estimate_task(
    state: &UpgradeProgress,
    task_id: &TaskId,
    history: &History,
    now: Timestamp,
) -> Estimate {
    match state.task(task_id) {
        Some(task) if !state.task_status(task).is_final() => {
            Estimate::new(Estimator::new(state, history, now).task(task), now)
        }
        _ => Estimate::UNKNOWN,
    }
}

/// Seconds that are left.
#[derive(Debug, Clone, Copy)]
struct Left {
    p50: f64,
    p90: f64,
    /// Runs that it is learned from; `None` for a rate, `usize::MAX` where nothing is left.
    runs: Option<usize>,
}

impl Left {
    const NOTHING: Self = Self {
        p50: 0.0,
        p90: 0.0,
        runs: Some(usize::MAX),
    };

    fn by_rate(seconds: f64) -> Self {
        Self {
            p50: seconds,
            p90: seconds * RATE_SPREAD,
            runs: None,
        }
    }

    /// One after the other.
    fn then(self, next: Self) -> Self {
        let p50 = self.p50 + next.p50;
        let spread = (self.p90 - self.p50).hypot(next.p90 - next.p50);
        Self {
            p50,
            p90: p50 + spread,
            runs: fewest(self, next),
        }
    }

    /// Side by side.
    fn beside(self, other: Self) -> Self {
        Self {
            p50: self.p50.max(other.p50),
            p90: self.p90.max(other.p90),
            runs: fewest(self, other),
        }
    }
}

fn fewest(one: Left, other: Left) -> Option<usize> {
    Some(one.runs?.min(other.runs?))
}

/// What was done in which time.
#[derive(Debug, Clone, Copy)]
struct Rate {
    elapsed: Span,
    percentage: Percent,
}

impl Rate {
    /// What one percent takes, in seconds, where enough was done to say.
    fn seconds_per_percent(self) -> Option<f64> {
        let (done, seconds) = (self.percentage.value(), self.elapsed.as_secs_f64());
        (done >= FEWEST_PERCENT && seconds > 0.0).then(|| seconds / done)
    }
}

/// Estimates, by the tracker's clock and what other upgrades in the data directory teach.
impl ProgressTracker {
    /// When the upgrade will be complete, and from what that is estimated.
    ///
    /// The first call, and one after ten minutes, reads up to 20 other upgrades of the data directory: some
    /// milliseconds each.
    ///
    /// # Errors
    /// [`ProgressError::DataDir`] if the data directory cannot be listed.
    pub fn estimated_completion(&self) -> Result<Estimate, ProgressError> {
        let (history, now) = (self.history()?, self.now());
        Ok(self.read(|state| estimate_upgrade(state, &history, now)))
    }

    /// When a task will be complete, and from what that is estimated.
    ///
    /// # Errors
    /// [`ProgressError::UnknownTask`], an invalid id, or as [`Self::estimated_completion`].
    pub fn estimated_task_completion(&self, task_id: impl AsRef<str>) -> Result<Estimate, ProgressError> {
        let task_id = TaskId::new(task_id)?;
        let (history, now) = (self.history()?, self.now());
        self.read(|state| {
            state
                .task(&task_id)
                .map(|_| estimate_task(state, &task_id, &history, now))
        })
        .ok_or_else(|| ProgressError::UnknownTask {
            upgrade_id: self.upgrade_id().clone(),
            task_id,
        })
    }

    fn history(&self) -> Result<Arc<History>, ProgressError> {
        match self.data_dir() {
            Some(dir) => self.inner.history.get(dir, self.upgrade_id(), self.now()),
            None => Ok(Arc::default()),
        }
    }
}

struct Estimator<'a> {
    state: &'a UpgradeProgress,
    history: &'a History,
    /// What the upgrade itself has completed: the fourth of five equal nodes is learned from the three before.
    own: History,
    now: Timestamp,
}

impl<'a> Estimator<'a> {
    fn new(state: &'a UpgradeProgress, history: &'a History, now: Timestamp) -> Self {
        let mut own = History::default();
        own.add(state);
        Self {
            state,
            history,
            own,
            now,
        }
    }

    /// What is left of one task, `None` if unknown.
    fn task(&self, task: &TaskProgress) -> Option<Left> {
        if self.state.task_status(task).is_final() {
            return Some(Left::NOTHING);
        }
        let elapsed = self.elapsed(task);
        let rate = Rate {
            elapsed,
            percentage: self.state.task_percentage(task),
        };
        self.by_history(task, elapsed).or_else(|| {
            if task.children.is_empty() {
                let left = 100.0 - rate.percentage.value();
                Some(Left::by_rate(rate.seconds_per_percent()? * left))
            } else {
                self.sum(
                    task.children.iter().filter_map(|child| self.state.task(child)),
                    rate,
                )
            }
        })
    }

    /// How long a task has run; nothing unless it runs or is paused.
    fn elapsed(&self, task: &TaskProgress) -> Span {
        match (task.status, task.started_at) {
            (Status::InProgress | Status::Paused, Some(started_at)) => self.now.since(started_at),
            _ => Span::ZERO,
        }
    }

    fn by_history(&self, task: &TaskProgress, elapsed: Span) -> Option<Left> {
        let durations = self.history.durations(&self.own, task);
        // Where it has not begun, runs that took no time at all count as well.
        let shorter = match elapsed {
            Span::ZERO => 0,
            elapsed => durations.partition_point(|took| *took <= elapsed),
        };
        let longer = durations.get(shorter..)?;
        let left = |percent| quantile(longer, percent).map(|took| took.as_secs_f64() - elapsed.as_secs_f64());
        Some(Left {
            p50: left(50)?,
            p90: left(90)?,
            runs: Some(durations.len()),
        })
    }

    /// What is left of the parts of a whole that has `rate`.
    fn sum<'t>(&self, parts: impl Iterator<Item = &'t TaskProgress>, rate: Rate) -> Option<Left> {
        let (mut running, mut to_come) = (Left::NOTHING, Left::NOTHING);
        let (mut weights, mut unknown, mut any) = (0.0, 0.0, false);
        for task in parts {
            let status = self.state.task_status(task);
            if status == Status::Cancelled {
                continue;
            }
            any = true;
            weights += task.weight;
            match (self.task(task), status) {
                (Some(left), Status::InProgress | Status::Paused) => running = running.beside(left),
                (Some(left), _) => to_come = to_come.then(left),
                (None, _) => unknown += task.weight * (100.0 - self.state.task_percentage(task).value()),
            }
        }
        if !any {
            return None;
        }
        let known = running.then(to_come);
        if unknown > 0.0 {
            Some(known.then(Left::by_rate(rate.seconds_per_percent()? * unknown / weights)))
        } else {
            Some(known)
        }
    }
}

/// The smallest value that `percent` of the values do not exceed; `None` if there are none.
fn quantile(sorted: &[Span], percent: usize) -> Option<Span> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests;
