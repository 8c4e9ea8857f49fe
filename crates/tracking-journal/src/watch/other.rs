//! By whatever the system has, one watcher for each who wants to know.

use std::io;
use std::path::Path;

use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

/// Ends the notification when dropped.
#[derive(Debug)]
pub(crate) struct Watch(#[expect(dead_code, reason = "it is kept for its drop")] RecommendedWatcher);

/// Calls `changed` whenever the file at `path` is written, until the result is dropped. It must not wait for anything.
pub(crate) fn watch(path: &Path, changed: impl Fn() + Send + Sync + 'static) -> io::Result<Watch> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Opening and reading do not count; an error may mean that changes were missed.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            changed();
        }
    })
    .map_err(io::Error::other)?;
    watcher
        .watch(path, RecursiveMode::NonRecursive)
        .map_err(io::Error::other)?;
    Ok(Watch(watcher))
}
