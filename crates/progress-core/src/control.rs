//! What somebody else asked of the upgrade: to pause, to go on, to stop.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracking_model::{Status, UpgradeChange, UpgradeProgress};

use crate::{ProgressError, ProgressTracker};

/// Tells those who wait that the upgrade's status may have changed. What it is they read from the state.
#[derive(Debug)]
pub(crate) struct Control {
    cancelled: CancellationToken,
    life: watch::Sender<Life>,
}

/// Whether further changes can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    Closed,
}

impl Control {
    pub(crate) fn new(status: Status) -> Self {
        let control = Self {
            cancelled: CancellationToken::new(),
            life: watch::Sender::new(Life::Open),
        };
        control.status_is(status);
        control
    }

    /// A token that is cancelled when the upgrade is; cancelling the token itself cancels nothing else.
    pub(crate) fn cancellation_token(&self) -> CancellationToken {
        self.cancelled.child_token()
    }

    /// Sees changes from now on.
    pub(crate) fn watch(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    pub(crate) fn changed(&self, change: &UpgradeChange) {
        self.status_is(change.status);
    }

    pub(crate) fn status_is(&self, status: Status) {
        if status == Status::Cancelled {
            self.cancelled.cancel();
        }
        self.life.send_modify(|_| ());
    }

    pub(crate) fn close(&self) {
        self.life.send_replace(Life::Closed);
    }
}

/// Control.
impl ProgressTracker {
    /// A token that is cancelled when the upgrade is, by this process or another.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.inner.control.cancellation_token()
    }

    /// Returns when the upgrade is not paused: at once if it is not. For an agent to call between two steps.
    ///
    /// # Errors
    /// [`ProgressError::Cancelled`] or [`ProgressError::Failed`] if there is nothing to go on with,
    /// [`ProgressError::Closed`] if the tracker is closed while it is paused.
    ///
    /// # Cancellation
    /// Nothing is lost when the future is dropped.
    pub async fn wait_while_paused(&self) -> Result<(), ProgressError> {
        let mut changes = self.inner.control.watch();
        loop {
            let life = *changes.borrow_and_update();
            if let Some(outcome) = self.read(may_go_on) {
                return outcome;
            }
            if life == Life::Closed || changes.changed().await.is_err() {
                return Err(ProgressError::Closed {
                    upgrade_id: self.inner.upgrade_id.clone(),
                });
            }
        }
    }
}

/// Whether work may go on; `None` while it is paused.
fn may_go_on(state: &UpgradeProgress) -> Option<Result<(), ProgressError>> {
    let upgrade_id = state.upgrade_id.clone();
    match state.status {
        Status::Paused => None,
        Status::NotStarted | Status::InProgress | Status::Completed => Some(Ok(())),
        Status::Cancelled => Some(Err(ProgressError::Cancelled {
            upgrade_id,
            reason: state.reason.clone(),
        })),
        Status::Failed => Some(Err(ProgressError::Failed {
            upgrade_id,
            reason: state.error_message.clone(),
        })),
    }
}
