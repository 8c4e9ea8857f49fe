//! What somebody else asked of the upgrade: to pause, to go on, to stop.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracking_model::{Status, UpgradeChange};

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
