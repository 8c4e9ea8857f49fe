//! The runtime of commands that need one: no threads but those that work.

use tracking_facade::runtime;

use crate::exit::{Failure, Kind};

/// Drives `work` to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = runtime::on_this_thread()
        .map_err(|error| Failure::of(Kind::Unavailable, "start a runtime", &error))?;
    let done = runtime.block_on(work);
    // What hangs on a dead disk must not keep us.
    runtime.shutdown_background();
    Ok(done)
}
