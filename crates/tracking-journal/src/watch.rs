//! Notification of changes by other processes.

use std::path::Path;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

/// Calls `changed` whenever the file at `path` is written, until the result is dropped.
pub(crate) fn watch(path: &Path, changed: impl Fn() + Send + 'static) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Opening and reading do not count; an error may mean that changes were missed.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            changed();
        }
    })?;
    watcher.watch(path, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
