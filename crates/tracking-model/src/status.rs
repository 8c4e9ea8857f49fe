//! Statuses of upgrades and tasks, and the one table of transitions between them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::TaskId;
use crate::named::named;

/// Where an upgrade or a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing happened yet.
    #[default]
    NotStarted,
    /// It runs.
    InProgress,
    /// It ended well. Final.
    Completed,
    /// It ended badly; a retry may start it again.
    Failed,
    /// Someone asked it to wait.
    Paused,
    /// Someone gave it up. Final.
    Cancelled,
}

impl Status {
    /// All statuses, in the order of their declaration.
    pub const ALL: [Self; 6] = [
        Self::NotStarted,
        Self::InProgress,
        Self::Completed,
        Self::Failed,
        Self::Paused,
        Self::Cancelled,
    ];

    /// The table of transitions: whether `self` may become `next`.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        match self {
            Self::NotStarted => matches!(
                next,
                Self::InProgress | Self::Completed | Self::Failed | Self::Cancelled
            ),
            Self::InProgress => matches!(
                next,
                Self::InProgress | Self::Completed | Self::Failed | Self::Paused | Self::Cancelled
            ),
            Self::Paused => matches!(next, Self::InProgress | Self::Failed | Self::Cancelled),
            Self::Failed => matches!(next, Self::InProgress | Self::Cancelled),
            Self::Completed | Self::Cancelled => false,
        }
    }

    /// Whether nothing can follow.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled)
    }

    /// The name in JSON: `in_progress`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "not_started",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
        }
    }

    /// The name in summaries: `IN_PROGRESS`.
    #[must_use]
    pub const fn as_upper_str(self) -> &'static str {
        match self {
            Self::NotStarted => "NOT_STARTED",
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Paused => "PAUSED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

named!(Status, "status");

/// What kind of work a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskType {
    /// The plan as a whole.
    UpgradePlan,
    /// A step of it.
    UpgradeStep,
    /// A check.
    Validation,
    /// The way back.
    Rollback,
    /// Removal of what is no longer needed.
    Cleanup,
}

impl TaskType {
    /// All types, in the order of their declaration.
    pub const ALL: [Self; 5] = [
        Self::UpgradePlan,
        Self::UpgradeStep,
        Self::Validation,
        Self::Rollback,
        Self::Cleanup,
    ];

    /// The name in JSON: `upgrade_step`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpgradePlan => "upgrade_plan",
            Self::UpgradeStep => "upgrade_step",
            Self::Validation => "validation",
            Self::Rollback => "rollback",
            Self::Cleanup => "cleanup",
        }
    }
}

named!(TaskType, "task type");

/// What a status belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The upgrade itself.
    Upgrade,
    /// One of its tasks.
    Task(TaskId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upgrade => f.write_str("the upgrade"),
            Self::Task(id) => write!(f, "task {id}"),
        }
    }
}

/// A transition that the table, or the command's own rule, does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{subject} is {from}{}", self.why())]
pub struct TransitionError {
    /// Whose transition it is.
    pub subject: Subject,
    /// The status it has.
    pub from: Status,
    /// The status it was to have.
    pub to: Status,
}

impl TransitionError {
    fn why(&self) -> String {
        let to = self.to;
        let advice = match self.from {
            Status::Completed | Status::Cancelled if to == self.from => {
                return " already, which is final".to_owned();
            }
            Status::Completed | Status::Cancelled => {
                return format!(", which is final: it cannot become {to}");
            }
            from if to == from => return " already".to_owned(),
            Status::InProgress => return format!(" and cannot become {to}"),
            Status::Paused => "resume it first",
            Status::Failed => "retry it first",
            Status::NotStarted => "start it first",
        };
        format!(" and cannot become {to} this way: {advice}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_contract() {
        let allowed: Vec<String> = Status::ALL
            .into_iter()
            .flat_map(|from| Status::ALL.into_iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.can_become(*to))
            .map(|(from, to)| format!("{from}>{to}"))
            .collect();
        assert_eq!(
            allowed.join(" "),
            "not_started>in_progress not_started>completed not_started>failed not_started>cancelled \
             in_progress>in_progress in_progress>completed in_progress>failed in_progress>paused in_progress>cancelled \
             failed>in_progress failed>cancelled paused>in_progress paused>failed paused>cancelled"
        );
    }

    #[test]
    fn names_are_those_of_the_reference() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
            assert_eq!(status.as_upper_str().parse::<Status>().unwrap(), status);
        }
        for kind in TaskType::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert!(
            "stopped"
                .parse::<Status>()
                .unwrap_err()
                .to_string()
                .contains("use one of not_started, in_progress")
        );
    }
}
