//! The file: opening it, telling whether it is ours, replacing it where it is of no use.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tracking_journal::storage;

use crate::error::Cause;
use crate::schema;

/// How long a process waits for another that writes the index; a batch takes about a second.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections for queries that are kept open.
const KEPT_READERS: usize = 4;
/// Prepared statements that are kept for each connection.
const KEPT_STATEMENTS: usize = 64;
/// Caches, in pages, for SQLite converts bytes by the size that pages have before it has read the file: so few connections
/// are open that memory stays small.
const WRITER_CACHE: i64 = 768;
const READER_CACHE: i64 = 512;
/// Bytes of a page in a new file: few large writes build it faster. Leaves of full-text search stay smaller than that, for
/// whole ones are read to go backwards.
const PAGE_SIZE: i64 = 16 << 10;

/// The log is copied into the file when it has so many pages.
const LOG_PAGES: i64 = 4000;

/// Suffixes of the index's files. SQLite would play back a rollback journal.
const FILES: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// The database file, open.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    /// Which file it is: another may take its place.
    identity: (u64, u64),
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    written: AtomicBool,
}

impl Database {
    /// Opens the file, creating it if there is none, and anew if it is damaged, foreign or of another version.
    pub(crate) fn open(path: &Path) -> Result<Self, Cause> {
        let _lock = lock(path)?;
        match Self::try_open(path) {
            Err(cause) if cause.is_corrupt() => {
                let error: &dyn std::error::Error = &cause;
                tracing::warn!(path = %path.display(), error, "the search index is of no use and is built anew");
                remove(path)?;
                Self::try_open(path)
            }
            opened => opened,
        }
    }

    fn try_open(path: &Path) -> Result<Self, Cause> {
        let io = |operation, source| Cause::Io {
            operation,
            path: path.to_owned(),
            source,
        };
        for suffix in FILES {
            require_file(&beside(path, suffix))?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = storage::open_with(path, &mut options).map_err(|source| io("open", source))?;
        let metadata = file.metadata().map_err(|source| io("look at", source))?;
        let identity = (metadata.dev(), metadata.ino());
        let writer = connect(path, WRITER_CACHE)?;
        prepare(&writer, metadata.len() == 0)?;
        Ok(Self {
            path: path.to_owned(),
            identity,
            writer: Mutex::new(writer),
            readers: Mutex::new(Vec::new()),
            written: AtomicBool::new(false),
        })
    }

    /// Works in one transaction, which no other process writes beside; nothing of it stays if it fails.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, Cause>,
    ) -> Result<T, Cause> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = writer.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        // Another file may not have the records that came before.
        if !self.is_in_place() {
            return Err(Cause::Foreign("another file took its place"));
        }
        let done = work(&transaction)?;
        transaction.commit()?;
        self.written.store(true, Ordering::Relaxed);
        Ok(done)
    }

    /// True if the file is still where it was opened.
    fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
    }

    /// Looks at one moment of the index.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Cause>) -> Result<T, Cause> {
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let reader = match kept {
            Some(reader) => reader,
            None => connect(&self.path, READER_CACHE)?,
        };
        let transaction = reader.unchecked_transaction()?;
        let done = work(&transaction)?;
        drop(transaction);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < KEPT_READERS {
            readers.push(reader);
        }
        Ok(done)
    }

    /// Removes the file, unless another one has taken its place already.
    pub(crate) fn discard(&self) -> Result<(), Cause> {
        let _lock = lock(&self.path)?;
        if self.is_in_place() {
            remove(&self.path)?;
        }
        Ok(())
    }
}

impl Drop for Database {
    /// Leaves a short log behind, so that the next command need not read a long one.
    fn drop(&mut self) {
        if !self.written.load(Ordering::Relaxed) {
            return;
        }
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        let emptied = writer
            .busy_timeout(Duration::ZERO)
            .and_then(|()| writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
        if let Err(error) = emptied {
            tracing::debug!(%error, "the log of the search index stays long");
        }
    }
}

/// One process at a time opens, creates and removes the file.
fn lock(path: &Path) -> Result<File, Cause> {
    let path = beside(path, ".lock");
    let io = |operation, source| Cause::Io {
        operation,
        path: path.clone(),
        source,
    };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = storage::open_with(&path, &mut options).map_err(|source| io("open", source))?;
    storage::lock(&file).map_err(|source| io("lock", source))?;
    Ok(file)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// SQLite follows symbolic links, and waits for the other end of a FIFO. Either is replaced, as a damaged index is; a
/// directory is left alone.
fn require_file(path: &Path) -> Result<(), Cause> {
    match storage::metadata(path) {
        Err(source) if path.symlink_metadata().is_ok_and(|found| found.is_dir()) => Err(Cause::Io {
            operation: "open",
            path: path.to_owned(),
            source,
        }),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(Cause::Foreign(
            "one of its files is a symbolic link, a FIFO or a device",
        )),
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), Cause> {
    for suffix in FILES {
        let path = beside(path, suffix);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(Cause::Io {
                    operation: "remove",
                    path,
                    source,
                });
            }
        }
    }
    Ok(())
}

fn connect(path: &Path, cache_pages: i64) -> Result<Connection, Cause> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(KEPT_STATEMENTS);
    // Nothing in the file may do more than hold data.
    for (config, on) in [
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        // Closing would remove the log by its name, and it may be the log of a file that took this one's place.
        (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
        // Else a statement is prepared again for each other value that is bound to it.
        (DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true),
    ] {
        connection.set_db_config(config, on)?;
    }
    connection.pragma_update(None, "cache_size", cache_pages)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// Makes the tables in a new file, and makes sure that an old one has them.
fn prepare(connection: &Connection, is_new: bool) -> Result<(), Cause> {
    // A process that died in between leaves a file without tables, which is as good as new.
    let is_new = is_new
        || connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
            row.get::<_, i64>(0)
        })? == 0;
    if !is_new {
        let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        if number("application_id")? != schema::APPLICATION {
            return Err(Cause::Foreign("it is a database of something else"));
        }
        if number("user_version")? != schema::VERSION {
            return Err(Cause::Foreign("it is of another version"));
        }
    }
    if is_new {
        connection.pragma_update(None, "page_size", PAGE_SIZE)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    if is_new {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; PRAGMA application_id = {}; PRAGMA user_version = {}; {} COMMIT;",
            schema::APPLICATION,
            schema::VERSION,
            schema::TABLES
        ))?;
    }
    Ok(())
}
