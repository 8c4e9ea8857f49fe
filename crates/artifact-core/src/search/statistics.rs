//! Totals of artifacts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tracking_model::{Artifact, ArtifactStatus, ArtifactType, SessionId, Timestamp, UpgradeId};

/// How many of the largest artifacts statistics name.
pub const LARGEST: usize = 10;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A number of artifacts, and of their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// How many.
    pub artifacts: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

impl Amount {
    /// Adds another amount.
    pub fn add(&mut self, other: Self) {
        self.artifacts += other.artifacts;
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// A day in UTC; as text `2025-01-31`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

impl Day {
    /// The day of a moment.
    #[must_use]
    pub const fn of(at: Timestamp) -> Self {
        Self(at.as_micros().div_euclid(MICROS_PER_DAY))
    }

    /// The day so many days after 1970-01-01.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// How many days after 1970-01-01 it is.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }

    /// Its first moment.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        Timestamp::from_micros(self.0.saturating_mul(MICROS_PER_DAY))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.start().to_rfc3339();
        f.pad(text.split_once('T').map_or(&text, |(day, _)| day))
    }
}

/// The properties by which [`Statistics`] group artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their session.
    pub session_id: SessionId,
    /// Their upgrade.
    pub upgrade_id: UpgradeId,
    /// Their type.
    pub artifact_type: ArtifactType,
    /// Their status.
    pub status: ArtifactStatus,
    /// The day on which they were added.
    pub day: Day,
}

/// Numbers of artifacts and bytes, in all and by group.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// In all.
    pub total: Amount,
    /// By type.
    pub by_type: BTreeMap<ArtifactType, Amount>,
    /// By status.
    pub by_status: BTreeMap<ArtifactStatus, Amount>,
    /// By session.
    pub by_session: BTreeMap<SessionId, Amount>,
    /// By upgrade.
    pub by_upgrade: BTreeMap<UpgradeId, Amount>,
    /// By the day on which they were added.
    pub by_day: BTreeMap<Day, Amount>,
    /// The largest of them, at most [`LARGEST`], the largest first.
    pub largest: Vec<Arc<Artifact>>,
}

impl Statistics {
    /// Counts one more artifact; [`Self::largest`] is left alone.
    pub fn add(&mut self, artifact: &Artifact) {
        let group = Group {
            session_id: artifact.session_id.clone(),
            upgrade_id: artifact.upgrade_id.clone(),
            artifact_type: artifact.artifact_type,
            status: artifact.status,
            day: Day::of(artifact.created_at),
        };
        let amount = Amount {
            artifacts: 1,
            bytes: artifact.file_size.unwrap_or(0),
        };
        self.add_group(group, amount);
    }

    /// Counts some artifacts that are alike; [`Self::largest`] is left alone.
    pub fn add_group(&mut self, group: Group, amount: Amount) {
        self.total.add(amount);
        self.by_type.entry(group.artifact_type).or_default().add(amount);
        self.by_status.entry(group.status).or_default().add(amount);
        self.by_session.entry(group.session_id).or_default().add(amount);
        self.by_upgrade.entry(group.upgrade_id).or_default().add(amount);
        self.by_day.entry(group.day).or_default().add(amount);
    }

    /// The running totals of today's artifacts at the end of each day on which one was added.
    pub fn growth(&self) -> impl Iterator<Item = (Day, Amount)> {
        self.by_day.iter().scan(Amount::default(), |sum, (day, amount)| {
            sum.add(*amount);
            Some((*day, *sum))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_utc() {
        let day = |text: &str| Day::of(Timestamp::parse(text).unwrap()).to_string();
        assert_eq!(day("2025-01-31T23:59:59Z"), "2025-01-31");
        assert_eq!(day("1969-12-31T00:00:01Z"), "1969-12-31");
    }
}
