//! How long tasks took before: the completed runs of other upgrades in the data directory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tracking_journal::{DataDir, JournalError, load, storage};
use tracking_model::{Span, Status, StreamId, TaskProgress, TaskType, Timestamp, UpgradeId, UpgradeProgress};

use crate::ProgressError;

/// How many upgrades are learned from: those that were written last.
const UPGRADES: usize = 20;
/// How many runs of a task count: those that ended last.
const RUNS: usize = 20;
/// Fewer runs than this say nothing.
const FEWEST_RUNS: usize = 3;

/// Completed runs of tasks, by type and name.
#[derive(Debug, Clone, Default)]
pub struct History {
    runs: HashMap<TaskType, HashMap<Arc<str>, Vec<Run>>>,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    ended: Timestamp,
    took: Span,
}

impl History {
    /// Learns from the upgrades of `dir` that were written last, at most 20, except `except`. What cannot be read is
    /// passed over: an estimate is no place to fail for another upgrade's damage.
    ///
    /// # Errors
    /// [`ProgressError::DataDir`] if the directory cannot be listed.
    pub fn learn(dir: &DataDir, except: &UpgradeId) -> Result<Self, ProgressError> {
        let mut newest = Vec::new();
        for stream in dir.streams()? {
            let StreamId::Upgrade(id) = &stream else { continue };
            // A journal that has just been removed has nothing to teach.
            if id != except
                && let Ok(written) =
                    storage::metadata(&dir.journal_path(&stream)).and_then(|file| file.modified())
            {
                newest.push((written, stream));
            }
        }
        newest.sort_by(|one, other| other.cmp(one));
        let mut history = Self::default();
        for (_, stream) in newest.into_iter().take(UPGRADES) {
            match load::<UpgradeProgress>(dir, &stream) {
                Ok(loaded) => history.add(&loaded.state),
                Err(JournalError::NoSuchStream { .. }) => {}
                Err(error) => {
                    tracing::warn!(%stream, %error, "estimates do without an upgrade that cannot be read")
                }
            }
        }
        Ok(history)
    }

    /// Adds the completed runs of an upgrade.
    pub fn add(&mut self, state: &UpgradeProgress) {
        for task in state.tasks_by_status(Status::Completed) {
            // Without a start nobody knows how long it took; and the reference's files hold negative times.
            if let (Some(ended), Some(took)) = (task.completed_at, task.duration)
                && task.started_at.is_some()
                && took >= Span::ZERO
            {
                let names = self.runs.entry(task.task_type).or_default();
                let runs = names.entry(Arc::clone(&task.task_name)).or_default();
                runs.push(Run { ended, took });
                // Of a thousand tasks of one name the last are enough.
                if runs.len() >= 2 * RUNS {
                    keep_last(runs);
                }
            }
        }
    }

    /// Whether nothing was learned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    fn of(&self, task: &TaskProgress) -> &[Run] {
        let names = self.runs.get(&task.task_type);
        names
            .and_then(|names| names.get(&task.task_name))
            .map_or(&[], Vec::as_slice)
    }

    /// How long the last runs of a task of this type and name took, shortest first: those known here and those in
    /// `more`. Empty if there are fewer than three.
    pub(crate) fn durations(&self, more: &Self, task: &TaskProgress) -> Vec<Span> {
        let mut runs = [self.of(task), more.of(task)].concat();
        if runs.len() < FEWEST_RUNS {
            return Vec::new();
        }
        keep_last(&mut runs);
        let mut durations: Vec<Span> = runs.into_iter().map(|run| run.took).collect();
        durations.sort_unstable();
        durations
    }
}

/// The runs of tasks of one type and name, the last first.
#[derive(Debug, Serialize, Deserialize)]
struct Runs {
    task_type: TaskType,
    task_name: Arc<str>,
    durations: Vec<Span>,
}

/// As `[{"task_type": …, "task_name": …, "durations": …}]`, with durations as Python's `str(timedelta)`, the last run first.
impl Serialize for History {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = Vec::new();
        for (task_type, names) in &self.runs {
            for (task_name, runs) in names {
                let mut runs = runs.clone();
                keep_last(&mut runs);
                all.push(Runs {
                    task_type: *task_type,
                    task_name: Arc::clone(task_name),
                    durations: runs.into_iter().map(|run| run.took).collect(),
                });
            }
        }
        all.sort_by(|one, other| (&one.task_name, one.task_type).cmp(&(&other.task_name, other.task_type)));
        all.serialize(serializer)
    }
}

/// When the runs ended is not told: they count as older than any that is added.
impl<'de> Deserialize<'de> for History {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut history = Self::default();
        for runs in Vec::<Runs>::deserialize(deserializer)? {
            let ended = (0..).map(|index| Timestamp::from_micros(-index));
            let read = runs.durations.into_iter().filter(|took| *took >= Span::ZERO);
            let read = read
                .take(RUNS)
                .zip(ended)
                .map(|(took, ended)| Run { ended, took });
            let names = history.runs.entry(runs.task_type).or_default();
            names.insert(runs.task_name, read.collect());
        }
        Ok(history)
    }
}

fn keep_last(runs: &mut Vec<Run>) {
    runs.sort_by_key(|run| std::cmp::Reverse(run.ended));
    runs.truncate(RUNS);
}

/// For how long what was learned is good.
const GOOD_FOR: Span = Span::from_secs(600);

/// What was learned last.
#[derive(Debug, Default)]
pub(crate) struct LearnedHistory {
    learned: Mutex<Option<(Timestamp, Arc<History>)>>,
}

impl LearnedHistory {
    /// What other upgrades of `dir` teach, learned again after ten minutes.
    pub(crate) fn get(
        &self,
        dir: &DataDir,
        except: &UpgradeId,
        now: Timestamp,
    ) -> Result<Arc<History>, ProgressError> {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        match &*learned {
            // A clock that went back makes it as old as one that went on.
            Some((at, history)) if now.since(*at).max(at.since(now)) <= GOOD_FOR => Ok(Arc::clone(history)),
            _ => {
                let history = Arc::new(History::learn(dir, except)?);
                *learned = Some((now, Arc::clone(&history)));
                Ok(history)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_told_to_others() {
        let text = r#"[{"task_type":"upgrade_step","task_name":"Drain","durations":["0:00:03","0:00:01","0:00:02"]}]"#;
        let history: History = serde_json::from_str(text).unwrap();
        assert!(!history.is_empty());
        assert_eq!(
            serde_json::to_string(&history).unwrap(),
            text,
            "in the same order"
        );
        assert_eq!(serde_json::to_string(&History::default()).unwrap(), "[]");
    }
}
