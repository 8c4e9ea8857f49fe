//! One call of a sink, kept from doing harm, and work on files kept off the runtime's threads.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::window::{Fault, Outcome};
use crate::Record;
use crate::cursor::FailureCause;
use crate::sink::{Delivery, EventSink};

/// How long a relay goes on.
#[derive(Debug)]
pub(super) enum Until<'a> {
    /// Until it is told to stop; a call in flight then has some time left.
    Cancelled {
        cancel: &'a CancellationToken,
        grace: Duration,
    },
    /// Until a moment, at which a call in flight is dropped.
    Deadline(Instant),
}

impl Until<'_> {
    pub(super) fn reached(&self) -> bool {
        match self {
            Self::Cancelled { cancel, .. } => cancel.is_cancelled(),
            Self::Deadline(at) => Instant::now() >= *at,
        }
    }

    /// Returns when nothing new is to be begun.
    pub(super) async fn stop(&self) {
        match self {
            Self::Cancelled { cancel, .. } => cancel.cancelled().await,
            Self::Deadline(at) => sleep_until(*at).await,
        }
    }

    /// Returns when a call in flight is to be dropped.
    async fn give_up(&self) {
        self.stop().await;
        if let Self::Cancelled { grace, .. } = self {
            sleep(*grace).await;
        }
    }
}

/// Hands `batch` over, and returns an answer for each record or why there is none; nothing at all if the relay had to
/// stop before.
pub(super) async fn publish(
    sink: &dyn EventSink,
    first: &Record,
    batch: &[Record],
    limit: Duration,
    until: &Until<'_>,
) -> Option<Outcome> {
    tokio::select! {
        biased;
        answer = timeout(limit, guarded(sink, first, batch)) => Some(answer.unwrap_or_else(|_| {
            Err(Fault { cause: FailureCause::TimedOut, reason: format!("no answer within {limit:?}") })
        })),
        () = until.give_up() => None,
    }
}

async fn guarded(sink: &dyn EventSink, first: &Record, batch: &[Record]) -> Outcome {
    let mut call = Box::pin(async { sink.publish(first, batch).await });
    let answer: Result<Vec<Delivery>, String> =
        poll_fn(
            |context| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => Poll::Ready(Err(panic_text(&*panic))),
            },
        )
        .await;
    match answer {
        Ok(deliveries) if deliveries.len() == batch.len() => Ok(deliveries),
        Ok(deliveries) => Err(Fault {
            cause: FailureCause::WrongCount,
            reason: format!(
                "the sink answered for {} records of {}",
                deliveries.len(),
                batch.len()
            ),
        }),
        Err(text) => Err(Fault {
            cause: FailureCause::Panicked,
            reason: format!("the sink panicked: {text}"),
        }),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
        .to_owned()
}

/// Runs `work` on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down, and this task with it.
            Err(_) => pending().await,
        },
    }
}
