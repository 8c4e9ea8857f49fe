//! The one thread that sees every commit, own and foreign, and passes on what follows from it: control, snapshots
//! and callbacks. It holds no lock while it does and calls no foreign code, so it keeps up with any writer.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tracking_journal::{Commit, Journal, Subscription, SubscriptionError};
use tracking_model::{UpgradeEvent, UpgradeProgress};

use crate::callbacks::{Callbacks, TaskNotice};
use crate::control::Control;
use crate::snapshot::SnapshotWriter;

/// Commits that may wait for the observer: some seconds of the fastest writer.
const CAPACITY: usize = 1 << 14;

/// Those who are told.
#[derive(Debug)]
pub(crate) struct Observer {
    pub(crate) journal: Journal<UpgradeProgress>,
    pub(crate) control: Arc<Control>,
    pub(crate) callbacks: Arc<Callbacks>,
    pub(crate) snapshots: Option<Arc<SnapshotWriter>>,
}

impl Observer {
    /// Starts the thread. It ends when the journal is closed.
    pub(crate) fn start(self) -> io::Result<JoinHandle<()>> {
        let commits = self.journal.subscribe(CAPACITY);
        thread::Builder::new()
            .name("progress-observer".to_owned())
            .spawn(move || self.run(commits))
    }

    fn run(self, mut commits: Subscription<UpgradeEvent>) {
        loop {
            match commits.next_blocking() {
                Ok(commit) => self.pass_on(&commit),
                Err(SubscriptionError::Lagged { missed }) => {
                    self.callbacks.missed(missed);
                    self.look_anew();
                }
                Err(SubscriptionError::Closed) => break,
                Err(_) => self.look_anew(),
            }
        }
        self.control.close();
    }

    fn pass_on(&self, commit: &Commit<UpgradeEvent>) {
        if let Some(snapshots) = &self.snapshots {
            snapshots.mark_dirty();
        }
        let notify = !self.callbacks.is_empty();
        for record in &commit.records {
            match &record.event {
                UpgradeEvent::Upgrade(_, change) => self.control.changed(change),
                UpgradeEvent::Task(kind, change) if notify => {
                    self.callbacks
                        .notify(TaskNotice::new(&record.meta, *kind, change));
                }
                _ => {}
            }
        }
    }

    /// Catches up with the state where the commits that led to it are not known.
    fn look_anew(&self) {
        self.control.status_is(self.journal.read(|state, _| state.status));
        if let Some(snapshots) = &self.snapshots {
            snapshots.mark_dirty();
        }
    }
}
