//! What the commands of one commit come to, before anything is written.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use tracking_model::{Fold, RecordMeta, StreamId, Timestamp};

use crate::encode::{LineHead, LineWriter};
use crate::line::MAX_LINE_BYTES;
use crate::pending::Answer;
use crate::queue::Submission;
use crate::recovery::State;
use crate::{ChainHash, Committed, Head, JournalError};

/// A commit grows no further than this; what waits beyond it is the next commit.
const MAX_COMMIT_BYTES: usize = 4 << 20;

/// A commit that is checked and encoded, and not yet written.
pub(crate) struct Draft<F: Fold> {
    pub(crate) records: Vec<Committed<F::Event>>,
    pub(crate) answers: Vec<(Answer<F>, Verdict<F>)>,
    /// The stream's head after the records.
    pub(crate) head: Head,
}

/// What one command comes to, once the commit is durable.
pub(crate) enum Verdict<F: Fold> {
    Refused(F::Refusal),
    Failed(JournalError),
    /// Its records among those of the commit.
    Recorded(Range<usize>),
}

/// Checks and encodes commands, one commit after the other, reusing its buffer.
#[derive(Debug)]
pub(crate) struct Drafter {
    stream: StreamId,
    lines: Option<LineWriter>,
    /// The lines of the last draft.
    pub(crate) buffer: Vec<u8>,
}

impl Drafter {
    pub(crate) const fn new(stream: StreamId) -> Self {
        Self {
            stream,
            lines: None,
            buffer: Vec::new(),
        }
    }

    /// Takes one commit's worth of commands from `batch`, at least one, and checks each against the state that the
    /// ones before it leave.
    pub(crate) fn draft<F: Fold>(
        &mut self,
        working: &mut State<F>,
        now: Timestamp,
        batch: &mut VecDeque<Submission<F>>,
    ) -> Draft<F> {
        let mut head = working.chain.head;
        if head.is_empty() {
            head.epoch = tracking_model::new_uuid();
            head.hash = ChainHash::genesis(&self.stream, head.epoch);
        }
        // Another process may have begun, or repaired, the journal since the last draft.
        let lines = self.lines.take().filter(|lines| lines.epoch() == head.epoch);
        let mut lines = lines.unwrap_or_else(|| LineWriter::new(&self.stream, head.epoch));
        lines.begin(head.seq + 1, now);
        self.buffer.clear();
        let (records, answers) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let mut draft = Draft {
            records,
            answers,
            head,
        };
        while self.buffer.len() < MAX_COMMIT_BYTES
            && let Some(Submission {
                command,
                actor,
                answer,
            }) = batch.pop_front()
        {
            let verdict = match working.fold.check(command, now) {
                Err(refusal) => Verdict::Refused(refusal),
                Ok(events) => self.record(&mut lines, &mut draft, events, &actor, now),
            };
            if let Verdict::Recorded(range) = &verdict {
                for record in &draft.records[range.clone()] {
                    working.fold.apply(&record.meta, &record.event);
                }
            }
            draft.answers.push((answer, verdict));
        }
        self.lines = Some(lines);
        draft
    }

    /// Encodes the events of one command; all of them or, if one is too large, none.
    fn record<F: Fold>(
        &mut self,
        lines: &mut LineWriter,
        draft: &mut Draft<F>,
        events: Vec<F::Event>,
        actor: &Arc<str>,
        now: Timestamp,
    ) -> Verdict<F> {
        let (head, bytes, first) = (draft.head, self.buffer.len(), draft.records.len());
        let mut longest = 0;
        for event in events {
            let start = self.buffer.len();
            let seq = draft.head.seq + 1;
            let meta = RecordMeta {
                seq,
                id: lines.next_id(),
                at: now,
                actor: Arc::clone(actor),
            };
            let line = LineHead {
                seq,
                id: meta.id,
                actor,
            };
            draft.head.hash = lines.write(line, &event, &draft.head.hash, &mut self.buffer);
            draft.head.seq = seq;
            longest = longest.max(self.buffer.len() - start);
            draft.records.push(Committed { meta, event });
        }
        if longest <= MAX_LINE_BYTES {
            return Verdict::Recorded(first..draft.records.len());
        }
        draft.head = head;
        draft.records.truncate(first);
        self.buffer.truncate(bytes);
        Verdict::Failed(JournalError::RecordTooLarge {
            bytes: longest,
            limit: MAX_LINE_BYTES,
        })
    }
}
