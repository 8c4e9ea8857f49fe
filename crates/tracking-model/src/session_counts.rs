//! How many artifacts a session or collection holds, kept up to date with every event.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Artifact, ArtifactChange, ArtifactId, ArtifactStatus, ArtifactType};

/// How many artifacts there are, and of which kinds.
///
/// Numbers are kept with a sign: where records of several machines are merged, what takes away may come before what it
/// takes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactCounts {
    artifacts: i64,
    bytes: i64,
    by_type: [i64; ArtifactType::ALL.len()],
    by_status: [i64; ArtifactStatus::ALL.len()],
    bytes_by_status: [i64; ArtifactStatus::ALL.len()],
}

impl ArtifactCounts {
    /// How many there are, without those that were deleted.
    #[must_use]
    pub const fn artifacts(&self) -> u64 {
        count(self.artifacts)
    }

    /// How many bytes these have.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        count(self.bytes)
    }

    /// How many of this type there are, without those that were deleted.
    #[must_use]
    pub const fn of_type(&self, artifact_type: ArtifactType) -> u64 {
        count(self.by_type[artifact_type as usize])
    }

    /// How many have this status. These sum up to [`Self::artifacts`], deleted ones aside.
    ///
    /// Where two machines changed one artifact and neither knew of the other's record yet, one artifact may be counted under
    /// another status than its own: which one it had is not kept here. What an index counts is exact.
    #[must_use]
    pub fn of_status(&self, status: ArtifactStatus) -> u64 {
        settled(self.by_status)[status as usize]
    }

    /// How many bytes those have that have this status, with the same reservation. Of deleted ones: how many they had.
    #[must_use]
    pub fn bytes_of_status(&self, status: ArtifactStatus) -> u64 {
        settled(self.bytes_by_status)[status as usize]
    }

    /// Adds what `other` counts.
    pub(crate) fn merge(&mut self, other: &Self) {
        let add = |mine: &mut i64, theirs: i64| *mine = mine.saturating_add(theirs);
        add(&mut self.artifacts, other.artifacts);
        add(&mut self.bytes, other.bytes);
        let mine = self.by_type.iter_mut().chain(&mut self.by_status);
        let mine = mine.chain(&mut self.bytes_by_status);
        let theirs = other.by_type.iter().chain(&other.by_status);
        let theirs = theirs.chain(&other.bytes_by_status);
        mine.zip(theirs).for_each(|(mine, theirs)| add(mine, *theirs));
    }

    /// Counts an artifact once more, or once less.
    fn shift(&mut self, what: Counted, status: ArtifactStatus, by: i64) {
        let bytes = by.saturating_mul(i64::try_from(what.bytes).unwrap_or(i64::MAX));
        self.by_status[status as usize] += by;
        let of_status = &mut self.bytes_by_status[status as usize];
        *of_status = of_status.saturating_add(bytes);
        if status != ArtifactStatus::Deleted {
            self.artifacts += by;
            self.bytes = self.bytes.saturating_add(bytes);
            self.by_type[what.artifact_type as usize] += by;
        }
    }
}

const fn count(signed: i64) -> u64 {
    if signed > 0 { signed.unsigned_abs() } else { 0 }
}

/// What was taken too often from one status is taken from the others, the later ones first, for it had become one of them.
fn settled(mut signed: [i64; ArtifactStatus::ALL.len()]) -> [u64; ArtifactStatus::ALL.len()] {
    let live = ArtifactStatus::ALL.map(|status| status != ArtifactStatus::Deleted);
    let mut short: i64 = 0;
    for (one, _) in signed.iter_mut().zip(live).filter(|(_, live)| *live) {
        short = short.saturating_add((*one).min(0));
        *one = (*one).max(0);
    }
    for (one, _) in signed.iter_mut().zip(live).rev().filter(|(_, live)| *live) {
        let taken = (*one).min(short.saturating_neg());
        *one -= taken;
        short += taken;
    }
    signed.map(count)
}

/// What is counted of an artifact.
#[derive(Debug, Clone, Copy)]
struct Counted {
    artifact_type: ArtifactType,
    bytes: u64,
}

/// The artifacts of a session that were archived or deleted, by a number for each id: of these it counts what they became,
/// and not what others say that did not know yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Fates(BTreeMap<u64, Fate>);

/// What became of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fate {
    /// It is archived: another machine may archive it once more, or delete it, that knew only that it was uploaded.
    Archived,
    /// A tombstone of another machine may come before other records of its artifact, also before the one with which it
    /// was added, and takes it from this status, which its writer knew. The first other record that comes after it tells
    /// which status that really was; `None` where nothing is to be put right any more.
    Deleted(Option<ArtifactStatus>),
}

impl Fates {
    pub(crate) fn add(&mut self, counts: &mut ArtifactCounts, artifact: &Artifact) {
        let what = Counted {
            artifact_type: artifact.artifact_type,
            bytes: artifact.file_size.unwrap_or(0),
        };
        let number = number(&artifact.artifact_id);
        // It had not been counted when it was deleted.
        if let Some(Fate::Deleted(taken)) = self.0.get_mut(&number) {
            if let Some(status) = taken.take() {
                counts.shift(what, status, 1);
            }
            return;
        }
        counts.shift(what, artifact.status, 1);
        match artifact.status {
            ArtifactStatus::Deleted => self.0.insert(number, Fate::Deleted(None)),
            ArtifactStatus::Archived => self.0.insert(number, Fate::Archived),
            ArtifactStatus::Created | ArtifactStatus::Uploaded | ArtifactStatus::Failed => None,
        };
    }

    pub(crate) fn change(&mut self, counts: &mut ArtifactCounts, change: &ArtifactChange) {
        let what = Counted {
            artifact_type: change.artifact_type,
            bytes: change.file_size.unwrap_or(0),
        };
        let number = number(&change.artifact_id);
        let deletes = change.status == ArtifactStatus::Deleted;
        match self.0.get_mut(&number) {
            Some(Fate::Deleted(_)) if deletes => {}
            Some(Fate::Deleted(taken)) => {
                if let Some(status) = taken.take() {
                    counts.shift(what, status, 1);
                    counts.shift(what, change.from, -1);
                }
            }
            Some(fate @ Fate::Archived) => {
                if deletes {
                    counts.shift(what, ArtifactStatus::Archived, -1);
                    counts.shift(what, ArtifactStatus::Deleted, 1);
                    *fate = Fate::Deleted(None);
                }
            }
            None => {
                counts.shift(what, change.from, -1);
                counts.shift(what, change.status, 1);
                if deletes {
                    self.0.insert(number, Fate::Deleted(Some(change.from)));
                } else if change.status == ArtifactStatus::Archived {
                    self.0.insert(number, Fate::Archived);
                }
            }
        }
    }
}

/// FNV-1a, the same in every version, for it is in checkpoints. Two ids of one number would be a count that is off by
/// one.
fn number(id: &ArtifactId) -> u64 {
    id.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
