//! From lines to events, verified.

use std::sync::Arc;

use tracking_model::{DecodeError, StreamEvent};

use crate::chain::{Chain, LinkError};
use crate::io::IoFile;
use crate::line::{ActorCache, Line};
use crate::lines::Lines;
use crate::place::Place;
use crate::{Committed, JournalError};

/// Reads the event of a verified line.
pub(crate) fn decode<E: StreamEvent>(
    place: &Place,
    line: &Line<'_>,
    actors: &mut ActorCache,
) -> Result<Committed<E>, JournalError> {
    let meta = line.meta(actors);
    let event = E::decode(&line.kind, line.data);
    let event = event.map_err(|source| undecodable(place, line.seq, source))?;
    Ok(Committed { meta, event })
}

pub(crate) fn undecodable(place: &Place, seq: u64, source: DecodeError) -> JournalError {
    JournalError::Undecodable {
        path: place.journal.clone(),
        seq,
        source: Arc::new(source),
    }
}

/// Passes the records between `chain` and `end` to `each`. Stops at the first line that is not the next record and
/// says why; `None` if there is no such line.
pub(crate) fn replay<E: StreamEvent>(
    place: &Place,
    file: &Arc<dyn IoFile>,
    chain: &mut Chain,
    end: u64,
    mut each: impl FnMut(Committed<E>),
) -> Result<Option<LinkError>, JournalError> {
    let mut lines = Lines::new(Arc::clone(file), chain.offset, end);
    let mut actors = ActorCache::default();
    loop {
        let line = lines
            .next_line()
            .map_err(|error| JournalError::io("read", &place.journal, error))?;
        let Some(line) = line else { return Ok(None) };
        match chain.follow(line, &place.stream) {
            Ok(line) => each(decode(place, &line, &mut actors)?),
            Err(error) => return Ok(Some(error)),
        }
    }
}
