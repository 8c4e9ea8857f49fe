//! How sinks are doing, from the cursors on disk or from a relay that runs.

use std::io;

use tracking_model::{StreamId, with_causes};

use super::source;
use crate::cursor::{Cursor, CursorError, CursorPlace, Found, sinks_of};
use crate::lease::{Lease, LeaseHolder};
use crate::place::Place;
use crate::sink::SinkName;
use crate::storage;
use crate::{Clock, DataDir, Head, SystemClock};

/// How one sink is doing with one stream.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SinkStatus {
    /// The stream.
    pub stream: StreamId,
    /// The sink.
    pub sink: SinkName,
    /// Who feeds it now.
    pub holder: Option<LeaseHolder>,
    /// How far it got, what is parked, what failed last and when it is tried again.
    pub cursor: Cursor,
    /// Where the journal ends; `None` if there is none or it cannot be read.
    pub head: Option<Head>,
    /// Records that are still to be delivered; those of skipped kinds are counted until they are passed.
    pub lag: u64,
    /// What keeps the relay itself from going on: a journal or cursor that cannot be read or written.
    pub problem: Option<String>,
}

/// What a request to send parked records again met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryRequest {
    /// Parked records that will be sent again.
    pub parked: usize,
    /// Who feeds the sink now and does it within a second or so; if nobody, the next relay does.
    pub holder: Option<LeaseHolder>,
}

/// The status of every sink that has a cursor in `dir`, by stream and sink. Reads only; also works while relays run.
///
/// # Errors
/// [`CursorError`] if the cursors cannot be listed. What is wrong with one sink is its `problem`.
pub fn sink_statuses(dir: &DataDir) -> Result<Vec<SinkStatus>, CursorError> {
    let path = dir.cursors_dir();
    let listing = |source| CursorError::Io {
        operation: "list",
        path: path.clone(),
        source,
    };
    let entries = match storage::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(listing(error)),
    };
    let mut statuses = Vec::new();
    for entry in entries {
        let name = entry.map_err(listing)?.file_name();
        let Some(stream) = name.to_str().and_then(|stem| StreamId::from_file_stem(stem).ok()) else {
            continue;
        };
        for sink in sinks_of(dir, &stream)? {
            statuses.push(sink_status(dir, &stream, &sink));
        }
    }
    statuses.sort_by(|a, b| (&a.stream, &a.sink).cmp(&(&b.stream, &b.sink)));
    Ok(statuses)
}

/// The status of one sink and stream, as the files say. Reads only; also works while a relay runs.
#[must_use]
pub fn sink_status(dir: &DataDir, stream: &StreamId, sink: &SinkName) -> SinkStatus {
    status_on(&Place::on_disk(dir, stream), &CursorPlace::new(dir, stream, sink))
}

/// The status of one sink, whose cursor is at `place`.
pub(crate) fn status_on(journal: &Place, place: &CursorPlace) -> SinkStatus {
    let (stream, sink) = (&place.stream, &place.sink);
    let mut problems = Vec::new();
    let mut cursor = Cursor::new(stream.clone(), sink.clone(), SystemClock.now());
    match place.load() {
        Ok(Found::Cursor(found)) => cursor = *found,
        Ok(Found::Nothing) => {}
        Ok(Found::Corrupt { reason }) => problems.push(format!("the cursor cannot be read: {reason}")),
        Err(error) => problems.push(with_causes(&error)),
    }
    let holder = Lease::holder(place).unwrap_or_else(|error| {
        problems.push(with_causes(&error));
        None
    });
    let head = source::head(journal).unwrap_or_else(|error| {
        problems.push(with_causes(&error));
        None
    });
    let fits = head.is_none()
        || source::has(journal, cursor.position()).unwrap_or_else(|error| {
            problems.push(with_causes(&error));
            false
        });
    if !fits {
        let Cursor { epoch, seq, .. } = cursor;
        problems.push(format!(
            "the cursor does not fit the journal, which has no record {seq} of epoch {epoch} where it stands; the \
             next delivery begins again at the first record"
        ));
    }
    let done = if fits { cursor.seq } else { 0 };
    let lag = head.map_or(0, |head| head.seq.saturating_sub(done));
    let problem = (!problems.is_empty()).then(|| problems.join("; "));
    SinkStatus {
        stream: stream.clone(),
        sink: sink.clone(),
        holder,
        cursor,
        head,
        lag,
        problem,
    }
}

/// Asks that the parked records of a sink be sent again, by the relay that runs or the next one that does.
///
/// # Errors
/// [`CursorError::NoSuchSink`] if the sink has no cursor for the stream; else as the system says.
pub fn request_retry(dir: &DataDir, stream: &StreamId, sink: &SinkName) -> Result<RetryRequest, CursorError> {
    let place = CursorPlace::new(dir, stream, sink);
    let parked = match place.load()? {
        Found::Cursor(cursor) => cursor.parked.len(),
        Found::Corrupt { .. } => 0,
        Found::Nothing => {
            return Err(CursorError::NoSuchSink {
                stream: stream.clone(),
                sink: sink.clone(),
            });
        }
    };
    if parked > 0 {
        place.request_retry()?;
    }
    Ok(RetryRequest {
        parked,
        holder: Lease::holder(&place)?,
    })
}
