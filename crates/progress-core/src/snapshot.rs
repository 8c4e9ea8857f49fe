//! Snapshots: the upgrade's state as one JSON file, for people and for tools that read the reference's.
//!
//! A thread of its own writes them, off the path of commits and callers. A snapshot is written at the latest
//! `max(1 s, 20 × what the last one took)` after the first change that it lacks, so that writing takes a twentieth of
//! the time at most, and once more at shutdown. Files are replaced whole: a reader sees the old one or the new one, and
//! a failure leaves the old one as it was and is counted in [`SnapshotInfo`].

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Serialize;
use tracking_journal::storage;

/// Shortest time from a change to the snapshot that shows it, unless the tracker is closed earlier.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// How many times as long as writing took is waited before writing again.
const PAUSE_FACTOR: u32 = 20;

/// How long a change may wait for its snapshot where the last one took `took`.
const fn pause_after(took: Duration) -> Duration {
    let pause = took.saturating_mul(PAUSE_FACTOR);
    if pause.as_nanos() > SHORTEST_PAUSE.as_nanos() {
        pause
    } else {
        SHORTEST_PAUSE
    }
}

/// How the snapshots fare.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Snapshots written since the tracker was opened.
    pub written: u64,
    /// Attempts that failed; each left the file before it in place.
    pub failed: u64,
    /// Why the last attempt failed, until one succeeds.
    pub last_error: Option<String>,
    /// What the last one took, in microseconds.
    pub last_micros: u64,
    /// Its size in bytes.
    pub last_bytes: u64,
}

/// Where snapshots come from: called off the path of commits, one call at a time.
pub(crate) type Render = Box<dyn Fn() -> Option<Vec<u8>> + Send + Sync>;

/// How a file is replaced; a parameter so that tests can let it fail.
pub(crate) trait ReplaceFile: fmt::Debug + Send + Sync + 'static {
    /// Replaces `path` by `content`, durably and as a whole: after an error it is as it was before.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;
}

/// Replaces files of the file system: temporary file beside it, sync, rename, sync of the directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileSystem;

impl ReplaceFile for FileSystem {
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let temporary = Temporary::create(path)?;
        temporary.fill(content)?;
        temporary.rename(path)
    }
}

/// A temporary file that is removed unless it is renamed. It is locked while its writer lives, by which
/// [`remove_leftovers`] tells those of writers that died.
struct Temporary {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl Temporary {
    fn create(target: &Path) -> io::Result<Self> {
        let name = target
            .file_name()
            .ok_or(io::ErrorKind::InvalidInput)?
            .to_string_lossy();
        let unique = tracking_model::new_uuid().simple();
        let path = target.with_file_name(format!(".{name}.{unique}.tmp"));
        let file = storage::create_anew(&path)?;
        let temporary = Self {
            path,
            file,
            renamed: false,
        };
        storage::lock(&temporary.file)?;
        Ok(temporary)
    }

    fn fill(&self, content: &[u8]) -> io::Result<()> {
        (&self.file).write_all(content)?;
        self.file.sync_all()
    }

    fn rename(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.renamed = true;
        let directory = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
        storage::sync_directory(directory)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a temporary file");
        }
    }
}

/// Removes the temporary files that writers of `target` left behind when they were killed.
pub(crate) fn remove_leftovers(target: &Path) -> io::Result<()> {
    let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
        return Ok(());
    };
    let prefix = format!(".{}.", name.to_string_lossy());
    for entry in storage::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name
            .to_str()
            .is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".tmp"));
        if !ours || !entry.file_type()?.is_file() {
            continue;
        }
        let abandoned = match storage::open(&entry.path()) {
            Ok(file) => file.try_lock().is_ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if abandoned {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
    }
    Ok(())
}

/// Writes snapshots of one upgrade.
pub(crate) struct SnapshotWriter {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotWriter")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

struct Shared {
    path: PathBuf,
    files: Box<dyn ReplaceFile>,
    render: Render,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// When the oldest change came that the file lacks.
    dirty_since: Option<Instant>,
    closing: bool,
    info: SnapshotInfo,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // What is guarded is replaced field by field and valid at any moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a snapshot is due; `false` once the writer closes.
    fn wait_until_due(&self) -> bool {
        let mut state = self.lock();
        loop {
            if state.closing {
                return false;
            }
            let pause = pause_after(Duration::from_micros(state.info.last_micros));
            state = match state
                .dirty_since
                .map(|since| pause.saturating_sub(since.elapsed()))
            {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return true,
                Some(left) => {
                    self.wake
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    fn write(&self) -> io::Result<()> {
        // Changes from here on may or may not be in this snapshot: they ask for another.
        let dirty_since = self.lock().dirty_since.take();
        let begun = Instant::now();
        let Some(content) = (self.render)() else {
            return Ok(());
        };
        let outcome = self.replace(&content, begun);
        if outcome.is_err() && dirty_since.is_some() {
            // Try again after the pause, even if nothing else happens.
            self.lock().dirty_since.get_or_insert_with(Instant::now);
        }
        outcome
    }

    fn replace(&self, content: &[u8], begun: Instant) -> io::Result<()> {
        let outcome = self.files.replace(&self.path, content);
        let took = begun.elapsed();
        let mut state = self.lock();
        state.info.last_micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        match outcome {
            Ok(()) => {
                state.info.written += 1;
                state.info.last_error = None;
                state.info.last_bytes = content.len() as u64;
                Ok(())
            }
            Err(error) => {
                state.info.failed += 1;
                let reason = format!("cannot replace {}: {error}", self.path.display());
                tracing::warn!(
                    reason,
                    "a snapshot failed; the one before it stays, the journal has everything"
                );
                state.info.last_error = Some(reason);
                Err(error)
            }
        }
    }
}

impl SnapshotWriter {
    /// Starts the thread that writes what `render` gives to `path`.
    pub(crate) fn start(path: PathBuf, files: Box<dyn ReplaceFile>, render: Render) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            path,
            files,
            render,
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        let worker = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("progress-snapshot".to_owned())
            .spawn(move || {
                while worker.wait_until_due() {
                    // A failure is counted, logged and tried again; nobody waits for it here.
                    if worker.write().is_err() {
                        continue;
                    }
                }
            })?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Tells that the state has changed.
    pub(crate) fn mark_dirty(&self) {
        let mut state = self.shared.lock();
        if state.dirty_since.is_none() {
            state.dirty_since = Some(Instant::now());
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    pub(crate) fn info(&self) -> SnapshotInfo {
        self.shared.lock().info.clone()
    }

    /// Ends the thread and writes a last snapshot if the file lacks anything.
    pub(crate) fn close(&self) -> io::Result<()> {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes snapshots panicked");
        }
        let dirty = self.shared.lock().dirty_since.is_some();
        if dirty { self.shared.write() } else { Ok(()) }
    }

    /// Replaces the snapshot by `content`, after [`Self::close`].
    pub(crate) fn replace(&self, content: &[u8]) -> io::Result<()> {
        self.shared.replace(content, Instant::now())
    }

    /// Where the snapshots are.
    pub(crate) fn path(&self) -> &Path {
        &self.shared.path
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Fails as a full disk does, half way through the temporary file, while `full` is set.
    #[derive(Debug, Clone, Default)]
    struct FullDisk {
        full: Arc<AtomicBool>,
    }

    impl ReplaceFile for FullDisk {
        fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
            if !self.full.load(Ordering::SeqCst) {
                return FileSystem.replace(path, content);
            }
            let temporary = Temporary::create(path)?;
            temporary.fill(content.split_at(content.len() / 2).0)?;
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn pauses_are_twenty_times_the_effort_and_a_second_at_least() {
        assert_eq!(pause_after(Duration::ZERO), Duration::from_secs(1));
        assert_eq!(pause_after(Duration::from_millis(49)), Duration::from_secs(1));
        assert_eq!(pause_after(Duration::from_millis(100)), Duration::from_secs(2));
        assert_eq!(pause_after(Duration::MAX), Duration::MAX);
    }

    #[test]
    fn fault_11_a_full_disk_leaves_the_old_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("upgrade_a.json");
        let disk = FullDisk::default();
        let content = Arc::new(Mutex::new("{\"n\":0}".to_owned()));
        let rendered = Arc::clone(&content);
        let render: Render = Box::new(move || Some(rendered.lock().unwrap().clone().into_bytes()));
        let writer = SnapshotWriter::start(path.clone(), Box::new(disk.clone()), render).unwrap();
        writer.shared.write().unwrap();
        let mut kept = 0;
        disk.full.store(true, Ordering::SeqCst);
        for n in 1..=100 {
            *content.lock().unwrap() = format!("{{\"n\":{n}}}");
            writer.mark_dirty();
            assert_eq!(
                writer.shared.write().unwrap_err().kind(),
                io::ErrorKind::StorageFull
            );
            kept += u32::from(fs::read_to_string(&path).unwrap() == "{\"n\":0}");
            assert!(writer.info().last_error.unwrap().contains("upgrade_a.json"));
        }
        let failed = writer.info().failed;
        disk.full.store(false, Ordering::SeqCst);
        writer.close().unwrap();
        assert_eq!((failed, kept), (100, 100));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"n\":100}");
        assert_eq!(writer.info().last_error, None);
        assert_eq!(names(dir.path()), ["upgrade_a.json"]);
        println!("FAULT row=11 name=disk_full_at_snapshot snapshots={failed} old_valid={kept} leftovers=0");
    }

    #[test]
    fn a_snapshot_is_private_and_leftovers_of_the_dead_are_removed() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("upgrade_a.json");
        FileSystem.replace(&path, b"{}").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(dir.path().join(".upgrade_a.json.0192.tmp"), "half").unwrap();
        fs::write(dir.path().join(".upgrade_b.json.0192.tmp"), "another's").unwrap();
        let alive = Temporary::create(&path).unwrap();
        remove_leftovers(&path).unwrap();
        assert!(alive.path.exists());
        drop(alive);
        let mut left = names(dir.path());
        left.sort();
        assert_eq!(left, [".upgrade_b.json.0192.tmp", "upgrade_a.json"]);
    }

    /// Tells of each replacement.
    #[derive(Debug)]
    struct Tells(std::sync::mpsc::Sender<Vec<u8>>);

    impl ReplaceFile for Tells {
        fn replace(&self, _: &Path, content: &[u8]) -> io::Result<()> {
            self.0.send(content.to_vec()).map_err(io::Error::other)
        }
    }

    #[test]
    fn a_change_is_written_after_the_pause_and_many_at_once() {
        let (sender, written) = std::sync::mpsc::channel();
        let render: Render = Box::new(|| Some(b"{}".to_vec()));
        let writer = SnapshotWriter::start("s.json".into(), Box::new(Tells(sender)), render).unwrap();
        let begun = Instant::now();
        for _ in 0..1000 {
            writer.mark_dirty();
        }
        assert_eq!(written.recv().unwrap(), b"{}");
        assert!(begun.elapsed() >= SHORTEST_PAUSE);
        writer.close().unwrap();
        assert_eq!(writer.info().written, 1);
    }

    #[test]
    fn closing_writes_what_is_missing_and_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("upgrade_a.json");
        let render: Render = Box::new(|| Some(b"{}".to_vec()));
        let writer = SnapshotWriter::start(path.clone(), Box::new(FileSystem), render).unwrap();
        writer.close().unwrap();
        assert!(!path.exists());
        writer.mark_dirty();
        writer.close().unwrap();
        assert!(path.exists());
        assert_eq!(writer.info().written, 1);
    }
}
