//! Work that blocks, kept off the threads that run async tasks; for implementations of
//! [`ArtifactStore`](crate::ArtifactStore) elsewhere too.

use tokio::task::{JoinError, spawn_blocking};

/// Runs `work` on a thread that may block and waits for it. Work that has begun goes on when the future is dropped.
///
/// # Panics
/// As [`joined`].
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    joined(spawn_blocking(work).await)
}

/// The result of a task that was waited for.
///
/// # Panics
/// As the task did. If the runtime is shut down under it there is nothing left that could be told.
pub fn joined<T>(ended: Result<T, JoinError>) -> T {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // Tasks that nobody aborts are only cancelled when the runtime ends, and then nothing polls who waits again.
        Err(Err(error)) => panic!("the runtime ended while work was waited for: {error}"),
    }
}

/// Runs `work` on a thread that may block. It must end by itself when nobody wants its result.
pub(crate) fn detach(work: impl FnOnce() + Send + 'static) {
    drop(spawn_blocking(work));
}
