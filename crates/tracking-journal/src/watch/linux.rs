//! By inotify: one instance and one thread for the whole process, for the system lends a user few instances (128 unless
//! told otherwise) and files to watch by the ten thousand.
//!
//! What is watched is the file that had the name when it was asked for, whatever becomes of the name: several who watch
//! the same file share the system's watch, and a file that takes its place is another one.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};

/// Written; or unlinked, which is a change of attributes while somebody has the file open.
const CHANGES: WatchMask = WatchMask::MODIFY
    .union(WatchMask::ATTRIB)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF);
/// Some hundred notifications at a time.
const BUFFER_BYTES: usize = 4 << 10;

/// The one watcher of this process, from when it is first needed. It has no state of its own that a test or a caller
/// could see, and stays until the process ends.
static SHARED: Mutex<Option<Arc<Shared>>> = Mutex::new(None);

struct Shared {
    watches: Watches,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    files: HashMap<WatchDescriptor, HashMap<u64, Changed>>,
    next: u64,
    /// The thread has ended, so that nobody is told anything any more.
    ended: bool,
}

type Changed = Arc<dyn Fn() + Send + Sync>;

/// Ends the notification when dropped.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    file: WatchDescriptor,
    key: u64,
}

/// Calls `changed` whenever the file at `path` is written, until the result is dropped. It must not wait for anything.
pub(crate) fn watch(path: &Path, changed: impl Fn() + Send + Sync + 'static) -> io::Result<Watch> {
    crate::blocking::note("watch");
    let shared = shared()?;
    // Held while the system is asked, so that the last to leave a file and the first to come do not meet.
    let mut registry = shared.registry();
    if registry.ended {
        return Err(io::Error::other("the thread that is told of changes has ended"));
    }
    let file = shared.watches.clone().add(path, CHANGES)?;
    let key = registry.next;
    registry.next += 1;
    registry
        .files
        .entry(file.clone())
        .or_default()
        .insert(key, Arc::new(changed));
    drop(registry);
    Ok(Watch { shared, file, key })
}

fn shared() -> io::Result<Arc<Shared>> {
    let mut slot = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shared) = &*slot {
        return Ok(Arc::clone(shared));
    }
    let inotify = Inotify::init()?;
    let shared = Arc::new(Shared {
        watches: inotify.watches(),
        registry: Mutex::default(),
    });
    let told = Arc::clone(&shared);
    std::thread::Builder::new()
        .name("journal-watch".to_owned())
        .spawn(move || told.run(inotify))?;
    *slot = Some(Arc::clone(&shared));
    Ok(shared)
}

impl Shared {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all what happens, for as long as the process lives.
    fn run(&self, mut inotify: Inotify) {
        let mut buffer = [0; BUFFER_BYTES];
        let mut told = Vec::new();
        let error = loop {
            let events = match inotify.read_events_blocking(&mut buffer) {
                Ok(events) => events,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break error,
            };
            let mut registry = self.registry();
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    // Something was missed, and it is not known of which file.
                    told.extend(registry.all());
                } else if event.mask.contains(EventMask::IGNORED) {
                    registry.files.remove(&event.wd);
                } else if let Some(who) = registry.files.get(&event.wd) {
                    told.extend(who.values().cloned());
                }
            }
            drop(registry);
            for changed in told.drain(..) {
                changed();
            }
        };
        tracing::warn!(%error, "no notification of changes any more; looking every second");
        let mut registry = self.registry();
        registry.ended = true;
        registry.files.clear();
    }
}

impl Registry {
    fn all(&self) -> impl Iterator<Item = Changed> {
        self.files.values().flat_map(HashMap::values).cloned()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut registry = self.shared.registry();
        // It is gone already if the file is.
        let Some(who) = registry.files.get_mut(&self.file) else {
            return;
        };
        who.remove(&self.key);
        if who.is_empty() {
            registry.files.remove(&self.file);
            if let Err(error) = self.shared.watches.clone().remove(self.file.clone()) {
                tracing::trace!(%error, "a file was gone before it was no longer watched");
            }
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    /// Nothing here depends on how fast the machine is; what takes longer than this hangs.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn listen(path: &Path) -> (Watch, Receiver<()>) {
        let (sender, receiver) = channel();
        let watch = watch(path, move || sender.send(()).unwrap_or_default()).unwrap();
        (watch, receiver)
    }

    fn write(path: &Path) {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"x").unwrap();
    }

    /// inotify instances of this process.
    fn instances() -> usize {
        let open = fs::read_dir("/proc/self/fd").unwrap();
        open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().contains("inotify"))
            .count()
    }

    #[test]
    fn each_is_told_of_its_own_file_and_a_thousand_need_one_instance() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..1_000).map(|n| folder.path().join(n.to_string())).collect();
        let heard: Vec<_> = paths
            .iter()
            .map(|path| {
                fs::write(path, "").unwrap();
                listen(path)
            })
            .collect();
        assert_eq!(instances(), 1);
        for path in paths.iter().step_by(2) {
            write(path);
        }
        for (index, (_, heard)) in heard.iter().enumerate() {
            if index % 2 == 0 {
                heard.recv_timeout(PATIENCE).unwrap();
            }
        }
        // Notifications come in order, so by now the others would have been told, too.
        let told = heard.iter().skip(1).step_by(2);
        assert_eq!(told.filter(|(_, heard)| heard.try_recv().is_ok()).count(), 0);
    }

    #[test]
    fn those_who_share_a_file_leave_it_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let (first, first_heard) = listen(&path);
        let (_second, second_heard) = listen(&path);
        drop(first);
        write(&path);
        second_heard.recv_timeout(PATIENCE).unwrap();
        assert!(first_heard.recv().is_err(), "it was dropped with its watch");
    }

    #[test]
    fn a_file_that_takes_the_place_of_another_is_watched_when_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let (old, old_heard) = listen(&path);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        let (_new, new_heard) = listen(&path);
        old_heard.recv_timeout(PATIENCE).unwrap();
        drop(old);
        write(&path);
        new_heard.recv_timeout(PATIENCE).unwrap();
    }

    #[test]
    fn what_is_not_there_cannot_be_watched() {
        let folder = tempfile::tempdir().unwrap();
        let error = watch(&folder.path().join("file"), || {}).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
