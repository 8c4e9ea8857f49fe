//! Work that blocks, kept off the threads that run async tasks.

use tokio::task::{JoinError, spawn_blocking};

/// Runs `work` on a thread that may block and waits for it. Work that has begun goes on when the future is dropped.
///
/// # Panics
/// As `work` does. If the runtime is shut down under it there is nothing left that could be told.
pub(crate) async fn off_executor<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => resume(error),
    }
}

fn resume(error: JoinError) -> ! {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // Blocking work is only cancelled when the runtime ends, and then nothing polls this future again.
        Err(error) => panic!("the runtime ended while a file operation was waited for: {error}"),
    }
}

/// Runs `work` on a thread that may block. It must end by itself when nobody wants its result.
pub(crate) fn detach(work: impl FnOnce() + Send + 'static) {
    drop(spawn_blocking(work));
}
