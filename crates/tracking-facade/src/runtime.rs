//! Runtimes for code that is not async. Where no more threads can be started that is an error, and no panic as of tokio.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// Threads for work that blocks are kept so long: tokio panics where it has none and can start none.
const KEPT: Duration = Duration::from_secs(3600);

/// A runtime on the caller's thread, with threads for what blocks.
///
/// # Errors
/// As the system says, also if it allows no more threads (`ulimit -u`).
pub fn on_this_thread() -> io::Result<Runtime> {
    can_start(1)?;
    Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(KEPT)
        .build()
}

/// A runtime with one thread of its own.
pub(crate) fn with_a_thread(name: &str) -> io::Result<Runtime> {
    can_start(2)?;
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .thread_keep_alive(KEPT)
        .build()
}

/// Starts so many threads, and ends them.
fn can_start(count: usize) -> io::Result<()> {
    let mut started = Vec::with_capacity(count);
    for _ in 0..count {
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::Builder::new().spawn(move || ended.recv().is_ok());
        let thread = thread.map_err(|error| {
            let why =
                format!("no thread can be started ({error}); raise the limit of processes, `ulimit -u`");
            io::Error::new(error.kind(), why)
        });
        started.push((end, thread?));
    }
    for (end, thread) in started {
        drop(end);
        thread.join().map_err(|_| io::ErrorKind::Other)?;
    }
    Ok(())
}
