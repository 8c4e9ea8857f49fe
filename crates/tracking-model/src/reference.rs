//! The reference's JSON, in and out.

use crate::{Fold, StreamId, UpgradeImported, UpgradeProgress};

pub(crate) fn progress_from_reference(imported: &UpgradeImported) -> UpgradeProgress {
    UpgradeProgress::empty(&StreamId::Upgrade(imported.upgrade_id.clone()))
}
