//! Retention plans: facts about sessions, the rules that select them, and the reasons that spare others.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tracking_model::{
    ArtifactStatus, ClockContradiction, Session, SessionId, SessionOutcome, Timestamp, UpgradeId,
};

use super::RetentionPolicy;

/// The facts about a session that a policy needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SessionMeta {
    /// The session.
    pub session_id: SessionId,
    /// Its display name.
    pub name: Arc<str>,
    /// The upgrade whose artifacts it holds.
    pub upgrade_id: Option<UpgradeId>,
    /// When it was completed.
    pub completed_at: Option<Timestamp>,
    /// Two of its times that contradict the order of its records: a clock was wrong, and its times prove nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_contradiction: Option<ClockContradiction>,
    /// How the upgrade ended, where that is known.
    pub outcome: Option<SessionOutcome>,
    /// True if retention must leave the session alone.
    pub pinned: bool,
    /// For how many days after its completion it is to be kept.
    pub retention_days: u32,
    /// Totals by status, without deleted artifacts.
    pub holds: Vec<StatusTotals>,
}

/// Artifacts of one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StatusTotals {
    /// The status.
    pub status: ArtifactStatus,
    /// Number of artifacts.
    pub artifacts: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

impl SessionMeta {
    /// The facts about `session` that a policy needs.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let counts = session.counts();
        let held = |status| StatusTotals {
            status,
            artifacts: counts.of_status(status),
            bytes: counts.bytes_of_status(status),
        };
        Self {
            session_id: session.session_id.clone(),
            name: Arc::clone(&session.name),
            upgrade_id: session.upgrade_id.clone(),
            completed_at: session.completed_at,
            clock_contradiction: session.clock_contradiction(),
            outcome: session.outcome,
            pinned: session.pinned,
            retention_days: session.retention_days,
            holds: ArtifactStatus::ALL
                .into_iter()
                .filter(|status| *status != ArtifactStatus::Deleted)
                .map(held)
                .filter(|held| held.artifacts > 0)
                .collect(),
        }
    }

    /// Number of its artifacts.
    #[must_use]
    pub fn artifacts(&self) -> u64 {
        self.holds.iter().map(|held| held.artifacts).sum()
    }

    /// Their size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.holds.iter().map(|held| held.bytes).sum()
    }
}

/// Why artifacts are deleted. As text it stands in the record of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum RetentionRule {
    /// Their session was kept for as long as it was to be.
    Age {
        /// For how many days after its completion.
        days: u32,
        /// How many times as long, because its upgrade failed.
        factor: u32,
    },
    /// All artifacts together had too many bytes, and theirs was the session to expire next.
    TotalSize {
        /// How many they may have.
        max_bytes: u64,
        /// Until when it would have been kept.
        until: Timestamp,
    },
}

impl fmt::Display for RetentionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age { days, factor: 1 } => write!(f, "kept for {days} days"),
            Self::Age { days, factor } => write!(f, "kept for {factor} times {days} days, for it failed"),
            Self::TotalSize { max_bytes, .. } => write!(f, "more than {max_bytes} bytes in all"),
        }
    }
}

/// Why a session is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum SpareReason {
    /// It is not completed.
    Open,
    /// It is pinned.
    Pinned,
    /// It is due, but was completed too recently for any rule.
    Young {
        /// When it will be old enough.
        until: Timestamp,
    },
    /// It is not due.
    NotDue {
        /// When it will be.
        until: Timestamp,
    },
    /// It would be due, had its upgrade not failed.
    FailedKeptLonger {
        /// When it will be due.
        until: Timestamp,
        /// How many times longer it is kept.
        factor: u32,
    },
    /// None of its artifacts has a status that may be deleted.
    Status,
    /// It says that it was completed in the future, so a clock is wrong.
    CompletedInFuture {
        /// When that was.
        completed_at: Timestamp,
    },
    /// Its times contradict the order of its records, so a clock was wrong and its age is not known.
    ClockContradiction {
        /// When something happened, as a record says.
        at: Timestamp,
        /// When something before it happened, as an earlier record says.
        after: Timestamp,
    },
}

impl fmt::Display for SpareReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Pinned => f.write_str("pinned"),
            Self::Young { until } | Self::NotDue { until } => {
                write!(f, "kept until {}", until.to_rfc3339())
            }
            Self::FailedKeptLonger { until, factor } => {
                write!(
                    f,
                    "failed, kept {factor} times longer, until {}",
                    until.to_rfc3339()
                )
            }
            Self::Status => f.write_str("holds nothing of a status that may be deleted"),
            Self::CompletedInFuture { completed_at } => {
                write!(
                    f,
                    "completed in the future, at {}: a clock is wrong",
                    completed_at.to_rfc3339()
                )
            }
            Self::ClockContradiction { at, after } => {
                write!(
                    f,
                    "recorded at {} what came after {}: a clock was wrong, and its age is not known",
                    at.to_rfc3339(),
                    after.to_rfc3339()
                )
            }
        }
    }
}

/// A session whose artifacts are to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlannedSession {
    /// The session.
    pub session: SessionMeta,
    /// The rule that chose them.
    pub rule: RetentionRule,
    /// Number of artifacts to delete.
    pub artifacts: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// A session that is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SparedSession {
    /// The session.
    pub session: SessionMeta,
    /// Why.
    pub reason: SpareReason,
}

/// The sessions to delete and those to spare, each with the reason. Empty sessions are in neither list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RetentionPlan {
    /// When it was made.
    pub at: Timestamp,
    /// The policy that made it.
    pub policy: RetentionPolicy,
    /// The sessions to delete, in the order of their completion.
    pub delete: Vec<PlannedSession>,
    /// The spared sessions.
    pub spare: Vec<SparedSession>,
    /// How many bytes all artifacts have.
    pub total_bytes: u64,
    /// Number of artifacts to delete.
    pub deleted_artifacts: u64,
    /// Their size in bytes.
    pub deleted_bytes: u64,
    /// How many bytes stay above the most that the policy allows, because nothing more may be deleted.
    pub bytes_over: u64,
}

impl RetentionPlan {
    pub(super) fn empty(policy: &RetentionPolicy, at: Timestamp) -> Self {
        Self {
            at,
            policy: policy.clone(),
            delete: Vec::new(),
            spare: Vec::new(),
            total_bytes: 0,
            deleted_artifacts: 0,
            deleted_bytes: 0,
            bytes_over: 0,
        }
    }

    pub(super) fn delete(&mut self, policy: &RetentionPolicy, session: &SessionMeta, rule: RetentionRule) {
        let (artifacts, bytes) = policy.deletable(session);
        self.deleted_artifacts += artifacts;
        self.deleted_bytes += bytes;
        self.delete.push(PlannedSession {
            session: session.clone(),
            rule,
            artifacts,
            bytes,
        });
    }

    pub(super) fn spare(&mut self, session: &SessionMeta, reason: SpareReason) {
        self.spare.push(SparedSession {
            session: session.clone(),
            reason,
        });
    }

    pub(super) fn sort(&mut self) {
        self.delete
            .sort_by(|a, b| a.session.in_order().cmp(&b.session.in_order()));
        self.spare
            .sort_by(|a, b| a.session.session_id.cmp(&b.session.session_id));
    }
}

impl SessionMeta {
    fn in_order(&self) -> (Option<Timestamp>, &SessionId) {
        (self.completed_at, &self.session_id)
    }
}

/// One line a session: what is deleted, then what is left alone.
impl fmt::Display for RetentionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for planned in &self.delete {
            let PlannedSession {
                session,
                rule,
                artifacts,
                bytes,
            } = planned;
            writeln!(
                f,
                "delete {}: {artifacts} artifacts, {bytes} bytes: {rule}",
                session.session_id
            )?;
        }
        for spared in &self.spare {
            writeln!(f, "spare {}: {}", spared.session.session_id, spared.reason)?;
        }
        Ok(())
    }
}
