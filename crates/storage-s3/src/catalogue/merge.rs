//! One order for the records of all writers of a stream, whatever came first.
//!
//! Records are ordered by `(at, id)`, and those of one journal never against its sequence: where its clock went back, a
//! record stands right after its predecessor. So each record has a *place*: the greatest `(at, id)` of its journal up to
//! it. Of several copies of one record, as a repaired journal has them, the one of the oldest journal counts.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use tracking_journal::Record;
use tracking_model::Timestamp;
use uuid::Uuid;

/// Where the records of one journal end in the merged order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tail {
    pub(crate) seq: u64,
    /// The greatest time, and the id with it.
    pub(crate) at: Timestamp,
    pub(crate) id: Uuid,
}

/// The end of each journal by its epoch.
pub(crate) type Tails = BTreeMap<Uuid, Tail>;

/// Records of one journal that follow each other in the merged order, from `seq` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) epoch: Uuid,
    pub(crate) seq: u64,
    pub(crate) count: u64,
}

/// Where a record stands among all others: time and id of its place, and what tells those apart that share it.
type Place = (Timestamp, Uuid, Uuid, u64, Uuid);

/// Records in the merged order, and what is to be remembered of them.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) records: Vec<Record>,
    pub(crate) tails: Tails,
    pub(crate) runs: Vec<Run>,
}

/// Brings records into order: all that there are of a stream, each as its own journal has it, in any order and as often
/// as they were seen.
pub(crate) fn merge(records: Vec<Record>) -> Merged {
    let mut tails = Tails::new();
    let placed = placed(records, &mut tails);
    Merged::new(placed, tails)
}

/// Brings new records into order, if all of them come after those that end with `tails`; gives them back if they do not,
/// or if some of them may be among those: again, or as copies in another journal, which is always younger.
pub(crate) fn follow(new: Vec<Record>, tails: &Tails) -> Result<Merged, Vec<Record>> {
    let youngest = tails.keys().next_back();
    let seen = |record: &Record| {
        let again = tails
            .get(&record.epoch)
            .is_some_and(|tail| record.seq <= tail.seq);
        again || Some(&record.epoch) < youngest
    };
    if new.iter().any(seen) {
        return Err(new);
    }
    let last = tails.iter().map(|(epoch, tail)| (tail.at, tail.id, *epoch)).max();
    let mut tails = tails.clone();
    let placed = placed(new, &mut tails);
    if let (Some(((at, id, epoch, ..), _)), Some(last)) = (placed.first(), last) {
        // The same time and id is a journal's own, whose clock went back, or else a copy of the last record.
        let after = (*at, *id) > (last.0, last.1) || (*at, *id, *epoch) == last;
        if !after {
            return Err(placed.into_iter().map(|(_, record)| record).collect());
        }
    }
    Ok(Merged::new(placed, tails))
}

impl Merged {
    fn new(placed: Vec<(Place, Record)>, tails: Tails) -> Self {
        let mut runs: Vec<Run> = Vec::new();
        let records = placed.into_iter().map(|(_, record)| record);
        let records: Vec<_> = records
            .inspect(|record| match runs.last_mut() {
                Some(run) if run.epoch == record.epoch && run.seq + run.count == record.seq => run.count += 1,
                _ => runs.push(Run {
                    epoch: record.epoch,
                    seq: record.seq,
                    count: 1,
                }),
            })
            .collect();
        Self { records, tails, runs }
    }
}

/// The records without copies, each with its place, in order; `tails` goes along.
fn placed(mut records: Vec<Record>, tails: &mut Tails) -> Vec<(Place, Record)> {
    records.sort_unstable_by_key(|record| (record.epoch, record.seq, record.id));
    let mut ids = HashSet::with_capacity(records.len());
    records.retain(|record| ids.insert(record.id));
    let place = |record: Record| {
        let tail = tails.entry(record.epoch).or_insert(Tail {
            seq: record.seq,
            at: record.at,
            id: record.id,
        });
        tail.seq = record.seq;
        (tail.at, tail.id) = (tail.at, tail.id).max((record.at, record.id));
        ((tail.at, tail.id, record.epoch, record.seq, record.id), record)
    };
    let mut placed: Vec<_> = records.into_iter().map(place).collect();
    placed.sort_unstable_by_key(|(place, _)| *place);
    placed
}

/// Gives records of a merged copy back the place that they have in their own journals; whether `runs` is of them.
pub(crate) fn restore(records: &mut [Record], runs: &[Run]) -> bool {
    let mut rest = records.iter_mut();
    for run in runs {
        for n in 0..run.count {
            let Some(record) = rest.next() else { return false };
            record.epoch = run.epoch;
            record.seq = run.seq.saturating_add(n);
        }
    }
    rest.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tracking_journal::NewRecord;

    use super::*;

    /// Journals of one stream whose clocks go as they like, the last one a repaired copy of the first.
    fn journals() -> impl Strategy<Value = Vec<Vec<Record>>> {
        let times = prop::collection::vec(0_i64..20, 1..12);
        (prop::collection::vec(times, 1..4), any::<bool>()).prop_map(|(journals, repaired)| {
            let stream = "session:s".parse().unwrap();
            let write = |times: Vec<i64>| {
                let new = times.into_iter().map(|at| NewRecord {
                    id: tracking_model::new_uuid(),
                    at: Timestamp::from_micros(at),
                    actor: "a".into(),
                    kind: "k".to_owned(),
                    data: serde_json::value::RawValue::from_string("{}".to_owned()).unwrap(),
                });
                Record::begin(&stream, tracking_model::new_uuid(), new.collect())
            };
            let mut journals: Vec<_> = journals.into_iter().map(write).collect();
            if repaired {
                let new = journals[0].iter().skip(1).map(|record| NewRecord {
                    id: record.id,
                    at: record.at,
                    actor: record.actor.clone(),
                    kind: record.kind.clone(),
                    data: record.data.clone(),
                });
                journals.push(Record::begin(&stream, tracking_model::new_uuid(), new.collect()));
            }
            journals
        })
    }

    fn ids(records: &[Record]) -> Vec<Uuid> {
        records.iter().map(|record| record.id).collect()
    }

    /// As a cache takes records in: after those that are there if that can be, else all anew.
    fn take(cached: &mut Merged, new: Vec<Record>) -> bool {
        match follow(new, &cached.tails) {
            Ok(more) => {
                cached.records.extend(more.records);
                cached.runs.extend(more.runs);
                cached.tails = more.tails;
                true
            }
            Err(new) => {
                let mut all = std::mem::take(&mut cached.records);
                for record in &mut all {
                    record.epoch = Uuid::nil();
                    record.seq = 0;
                }
                assert!(restore(&mut all, &cached.runs));
                all.extend(new);
                *cached = merge(all);
                false
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_came_first_the_order_is_the_same(
            (journals, picks) in journals().prop_flat_map(|journals| {
                let count = journals.len();
                (Just(journals), prop::collection::vec((0..count, 1_usize..4, any::<bool>()), 0..40))
            })
        ) {
            let whole = merge(journals.concat());
            let mut cached = Merged::default();
            let mut sent = vec![0_usize; journals.len()];
            let rest = (0..journals.len()).map(|journal| (journal, usize::MAX, false));
            for (journal, most, repeated) in picks.into_iter().chain(rest) {
                let records = &journals[journal];
                // Records may be sent again after a crash.
                let from = if repeated { 0 } else { sent[journal] };
                let to = sent[journal].saturating_add(most).min(records.len());
                take(&mut cached, records[from..to].to_vec());
                sent[journal] = to;
            }
            prop_assert_eq!(ids(&cached.records), ids(&whole.records));
            prop_assert_eq!(&cached.tails, &whole.tails);
            for epoch in whole.tails.keys() {
                let of_one = whole.records.iter().filter(|record| record.epoch == *epoch);
                prop_assert!(of_one.map(|record| record.seq).is_sorted(), "never against its sequence");
            }
        }
    }

    #[test]
    fn records_of_good_clocks_are_in_the_order_of_time_and_id() {
        let stream = "session:s".parse().unwrap();
        let write = |times: &[i64]| {
            let new = times.iter().map(|at| NewRecord {
                id: tracking_model::new_uuid(),
                at: Timestamp::from_micros(*at),
                actor: "a".into(),
                kind: "k".to_owned(),
                data: serde_json::value::RawValue::from_string("{}".to_owned()).unwrap(),
            });
            Record::begin(&stream, tracking_model::new_uuid(), new.collect())
        };
        let (one, two) = (write(&[1, 3, 5, 5]), write(&[2, 5, 6]));
        let merged = merge([two.clone(), one.clone()].concat());
        let mut expected = [one.clone(), two].concat();
        expected.sort_by_key(|record| (record.at, record.id));
        assert_eq!(ids(&merged.records), ids(&expected));
        let mut cached = merge(one.clone());
        assert!(
            !take(&mut cached, one),
            "what is known is looked at, and nothing changes"
        );
        assert_eq!(cached.runs.len(), 1);
        assert!(
            take(&mut cached, write(&[7, 6, 9])),
            "a journal that begins later is appended"
        );
        let back: Vec<_> = cached
            .records
            .iter()
            .map(|record| record.at.as_micros())
            .collect();
        assert_eq!(
            back,
            [1, 3, 5, 5, 7, 6, 9],
            "a clock that goes back turns no order round"
        );
    }
}
