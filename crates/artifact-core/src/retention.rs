//! Retention: a policy makes a plan from the headers of sessions (pure), and `cleanup` carries it out.

mod cleanup;
mod deletion;
mod plan;

use serde::Serialize;
use tracking_model::{ArtifactStatus, ClockContradiction, SessionOutcome, Span, Timestamp};

pub use cleanup::{
    CleanupFailure, CleanupMode, CleanupOptions, CleanupProgress, CleanupReport, LeftBecause, OrphanFile,
    OrphanMode, SparedMeanwhile,
};
pub use deletion::{DeleteOptions, DeletedBytes, Deletion};
pub use plan::{
    PlannedSession, RetentionPlan, RetentionRule, SessionMeta, SpareReason, SparedSession, StatusTotals,
};

/// How many times longer failed sessions are kept unless told otherwise.
pub const DEFAULT_FAILED_FACTOR: u32 = 3;
const SECONDS_A_DAY: u64 = 86_400;

/// Which artifacts may go. Open and pinned sessions are always left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RetentionPolicy {
    /// For how many days after its completion a session is kept, in place of what each session says.
    pub retention_days: Option<u32>,
    /// How many times longer sessions of failed upgrades are kept; 0 means 1.
    pub failed_factor: u32,
    /// The statuses whose artifacts may be deleted: `[Uploaded]` spares what has no copy in S3.
    pub statuses: Vec<ArtifactStatus>,
    /// How many bytes artifacts may have in all. Where they have more, the sessions that would expire first go first.
    pub max_total_bytes: Option<u64>,
    /// Sessions that were completed more recently are spared by every rule.
    #[serde(serialize_with = "as_seconds")]
    pub min_age: Span,
}

fn as_seconds<S: serde::Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(span.as_micros() / 1_000_000)
}

impl Default for RetentionPolicy {
    /// Each session's own days, failed ones three times as long, any status that has bytes here, any size, nothing younger
    /// than a day.
    fn default() -> Self {
        Self {
            retention_days: None,
            failed_factor: DEFAULT_FAILED_FACTOR,
            statuses: vec![
                ArtifactStatus::Created,
                ArtifactStatus::Uploaded,
                ArtifactStatus::Failed,
            ],
            max_total_bytes: None,
            min_age: Span::from_secs(86_400),
        }
    }
}

impl RetentionPolicy {
    /// As [`Self::default`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps all sessions for so many days, whatever they say themselves.
    #[must_use]
    pub const fn with_retention_days(mut self, days: u32) -> Self {
        self.retention_days = Some(days);
        self
    }

    /// Keeps sessions of failed upgrades so many times longer.
    #[must_use]
    pub const fn with_failed_factor(mut self, factor: u32) -> Self {
        self.failed_factor = factor;
        self
    }

    /// Deletes only artifacts of these statuses.
    #[must_use]
    pub fn with_statuses(mut self, statuses: impl IntoIterator<Item = ArtifactStatus>) -> Self {
        self.statuses = statuses.into_iter().collect();
        self
    }

    /// Deletes until artifacts have no more than so many bytes.
    #[must_use]
    pub const fn with_max_total_bytes(mut self, bytes: u64) -> Self {
        self.max_total_bytes = Some(bytes);
        self
    }

    /// Deletes nothing that was completed more recently.
    #[must_use]
    pub const fn with_min_age(mut self, age: Span) -> Self {
        self.min_age = age;
        self
    }

    /// True if artifacts of this status may be deleted.
    #[must_use]
    pub fn may_delete(&self, status: ArtifactStatus) -> bool {
        status.can_become(ArtifactStatus::Deleted) && self.statuses.contains(&status)
    }

    /// The plan at `now`. The same sessions in any order give the same plan.
    #[must_use]
    pub fn plan(&self, sessions: &[SessionMeta], now: Timestamp) -> RetentionPlan {
        let mut plan = RetentionPlan::empty(self, now);
        let mut may_make_room = Vec::new();
        let mut sessions: Vec<&SessionMeta> = sessions.iter().collect();
        sessions.sort_by_key(|session| &session.session_id);
        for session in sessions {
            plan.total_bytes += session.bytes();
            if session.artifacts() == 0 {
                continue;
            }
            match self.judge(session, now) {
                Verdict::Delete(rule) => plan.delete(self, session, rule),
                Verdict::Spare(reason) => plan.spare(session, reason),
                Verdict::Keep { until } => may_make_room.push((until, session)),
            }
        }
        self.make_room(&mut plan, may_make_room);
        plan.sort();
        plan
    }

    fn judge(&self, session: &SessionMeta, now: Timestamp) -> Verdict {
        let Some(completed_at) = session.completed_at else {
            return Verdict::Spare(SpareReason::Open);
        };
        if session.pinned {
            return Verdict::Spare(SpareReason::Pinned);
        }
        // Its clock or ours is wrong, and nobody knows how old it is.
        if completed_at > now {
            return Verdict::Spare(SpareReason::CompletedInFuture { completed_at });
        }
        if let Some(ClockContradiction { at, after }) = session.clock_contradiction {
            return Verdict::Spare(SpareReason::ClockContradiction { at, after });
        }
        if self.deletable(session).0 == 0 {
            return Verdict::Spare(SpareReason::Status);
        }
        let (days, factor) = self.days_of(session);
        let until = completed_at + days_times(days, factor);
        let old_enough = completed_at + self.min_age;
        match (now >= until, now >= old_enough) {
            (true, true) => Verdict::Delete(RetentionRule::Age { days, factor }),
            (true, false) => Verdict::Spare(SpareReason::Young { until: old_enough }),
            (false, true) => Verdict::Keep { until },
            (false, false) => Verdict::Spare(not_due(until, factor)),
        }
    }

    fn days_of(&self, session: &SessionMeta) -> (u32, u32) {
        let days = self.retention_days.unwrap_or(session.retention_days);
        let factor = match session.outcome {
            Some(SessionOutcome::Failed) => self.failed_factor.max(1),
            Some(SessionOutcome::Succeeded | SessionOutcome::Cancelled) | None => 1,
        };
        (days, factor)
    }

    /// How many artifacts of a session may be deleted, and how many bytes they have.
    fn deletable(&self, session: &SessionMeta) -> (u64, u64) {
        let may = session.holds.iter().filter(|held| self.may_delete(held.status));
        may.fold((0, 0), |(artifacts, bytes), held| {
            (artifacts + held.artifacts, bytes + held.bytes)
        })
    }

    /// Chooses sessions that are not due yet, those that would be first, until what stays is small enough.
    fn make_room(&self, plan: &mut RetentionPlan, mut candidates: Vec<(Timestamp, &SessionMeta)>) {
        candidates.sort_by_key(|(until, session)| (*until, &session.session_id));
        for (until, session) in candidates {
            let stays = plan.total_bytes - plan.deleted_bytes;
            match self.max_total_bytes {
                Some(max_bytes) if stays > max_bytes && self.deletable(session).1 > 0 => {
                    plan.delete(self, session, RetentionRule::TotalSize { max_bytes, until });
                }
                _ => {
                    let (_, factor) = self.days_of(session);
                    plan.spare(session, not_due(until, factor));
                }
            }
        }
        let stays = plan.total_bytes - plan.deleted_bytes;
        plan.bytes_over = self.max_total_bytes.map_or(0, |max| stays.saturating_sub(max));
    }
}

const fn not_due(until: Timestamp, factor: u32) -> SpareReason {
    if factor > 1 {
        SpareReason::FailedKeptLonger { until, factor }
    } else {
        SpareReason::NotDue { until }
    }
}

fn days_times(days: u32, factor: u32) -> Span {
    let seconds = u64::from(days) * SECONDS_A_DAY;
    let micros = u128::from(seconds) * u128::from(factor) * 1_000_000;
    Span::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

enum Verdict {
    Delete(RetentionRule),
    Spare(SpareReason),
    /// It is not due, and old enough to have to make room.
    Keep {
        until: Timestamp,
    },
}

#[cfg(test)]
mod tests;
