//! Cursors that are wrong: whatever they say, every record is delivered, or the relay says why not.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;

use super::testing::stream;
use super::{Cursor, CursorPlace, Found, RestartCause};
use crate::conformance::Notes;
use crate::io::{OpenMode, SimulatedDisk, read_full, write_full};
use crate::lease::Lease;
use crate::place::Place;
use crate::relay::status_on;
use crate::{
    CheckpointPolicy, DataDir, Delivery, Journal, JournalOptions, MemorySink, Relay, RelayOptions, SinkName,
};

const DELIVERED: u64 = 3;
const RECORDS: u64 = 5;

/// A stream of some records, the first of them delivered or parked; all on a simulated disk.
struct Fixture {
    _folder: TempDir,
    disk: SimulatedDisk,
    journal: Place,
    place: CursorPlace,
    cursor: Vec<u8>,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path()).unwrap();
        let disk = SimulatedDisk::default();
        let place = CursorPlace {
            io: Arc::new(disk.clone()),
            ..CursorPlace::new(&dir, &stream(), &SinkName::new("bus").unwrap())
        };
        let journal = Place::simulated(Arc::new(disk.clone()), &stream());
        let mut fixture = Self {
            _folder: folder,
            disk,
            journal,
            place,
            cursor: Vec::new(),
        };
        fixture.note(DELIVERED);
        let sink = MemorySink::new("bus");
        sink.answer_with(|record| match record.seq {
            2 => Delivery::park("no"),
            _ => Delivery::Delivered,
        });
        fixture.deliver(Arc::new(sink)).await.unwrap();
        fixture.cursor = fixture.content();
        fixture.note(RECORDS - DELIVERED);
        fixture
    }

    /// Writes `count` records, each a commit.
    fn note(&self, count: u64) {
        let options = JournalOptions::default().with_checkpoint(CheckpointPolicy::NEVER);
        let journal = Journal::<Notes>::open_simulated(&self.disk, stream(), options).unwrap();
        for _ in 0..count {
            journal.submit(vec!["x".to_owned()]).wait().unwrap();
        }
        journal.close_blocking();
    }

    /// Delivers what there is; the cursor afterwards, or why that could not be.
    async fn deliver(&self, sink: Arc<MemorySink>) -> Result<Cursor, String> {
        let options = RelayOptions::default().with_seed(Some(7));
        let relay = Relay::begin(self.journal.clone(), self.place.clone(), sink, options).await;
        let mut relay = relay.map_err(|error| error.to_string())?;
        let report = relay.drain(Duration::from_secs(5)).await;
        match report.map_err(|error| error.to_string())?.remaining {
            0 => Ok(relay.cursor().clone()),
            left => Err(format!("{left} records are left")),
        }
    }

    fn content(&self) -> Vec<u8> {
        let file = self
            .place
            .io
            .open(&self.place.cursor_path(), OpenMode::Read)
            .unwrap();
        let mut content = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
        read_full(&*file, &mut content, 0).unwrap();
        content
    }

    fn put(&self, content: &[u8]) {
        let path = self.place.cursor_path();
        let file = self.place.io.open(&path, OpenMode::Replace).unwrap();
        write_full(&*file, content, 0).unwrap();
    }

    fn problem(&self) -> Option<String> {
        status_on(&self.journal, &self.place).problem
    }
}

#[tokio::test(start_paused = true)]
async fn fault_06_no_flipped_bit_of_a_cursor_keeps_a_record_from_its_sink() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.problem(), None);
    let (mut silent, mut hidden, mut duplicates) = (0, 0, 0);
    for at in 0..fixture.cursor.len() {
        for bit in 0..8 {
            let mut flipped = fixture.cursor.clone();
            flipped[at] ^= 1 << bit;
            fixture.put(&flipped);
            hidden += u64::from(fixture.problem().is_none());
            let sink = Arc::new(MemorySink::new("bus"));
            let told = fixture.deliver(Arc::clone(&sink)).await;
            let received = sink.received();
            let has = |seq| received.iter().any(|record| record.seq == seq);
            silent += u64::from(told.is_ok() && !(DELIVERED + 1..=RECORDS).all(has));
            // The parked record is delivered now, or still parked.
            let parked = told.is_ok_and(|cursor| cursor.parked.iter().any(|parked| parked.seq == 2));
            silent += u64::from(!parked && !has(2));
            duplicates += u64::from(has(1));
        }
    }
    println!(
        "FAULT row=6 name=cursor_bit_flips flips={} undelivered={silent} hidden={hidden} restarts={duplicates}",
        fixture.cursor.len() * 8
    );
    assert_eq!((silent, hidden), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_the_journal_contradicts_begins_again_and_is_told() {
    let fixture = Fixture::new().await;
    fixture.put(&fixture.cursor);
    let Found::Cursor(cursor) = fixture.place.load().unwrap() else {
        panic!("no cursor")
    };
    let changes: [fn(&mut Cursor); 5] = [
        |cursor| cursor.epoch = Uuid::from_u128(cursor.epoch.as_u128() ^ 1),
        |cursor| cursor.seq += 1,
        |cursor| cursor.seq -= 1,
        |cursor| cursor.hash = cursor.hash.next(b""),
        |cursor| cursor.offset += 1,
    ];
    for change in changes {
        let mut wrong = (*cursor).clone();
        change(&mut wrong);
        // Its checksum is right.
        fixture.place.save(&wrong).unwrap();
        let problem = fixture.problem().unwrap();
        assert!(problem.contains("begins again at the first record"), "{problem}");
        assert_eq!(status_on(&fixture.journal, &fixture.place).lag, RECORDS);
        let sink = Arc::new(MemorySink::new("bus"));
        let after = fixture.deliver(Arc::clone(&sink)).await.unwrap();
        let received: Vec<u64> = sink.received().iter().map(|record| record.seq).collect();
        assert_eq!(received, (1..=RECORDS).collect::<Vec<_>>());
        assert!(matches!(
            after.restarted.unwrap().cause,
            RestartCause::Replaced { .. } | RestartCause::Diverged { .. }
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn fault_06_no_flipped_bit_of_a_lease_keeps_a_record_from_its_sink() {
    let fixture = Fixture::new().await;
    let path = fixture.place.lease_path();
    let lease = fixture.place.io.open(&path, OpenMode::Write).unwrap();
    let length = usize::try_from(lease.size().unwrap()).unwrap();
    let mut content = vec![0; length];
    read_full(&*lease, &mut content, 0).unwrap();
    let mut undelivered = 0;
    for bit in 0..length * 8 {
        let mut flipped = content.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        write_full(&*lease, &flipped, 0).unwrap();
        fixture.put(&fixture.cursor);
        assert!(Lease::holder(&fixture.place).unwrap().is_none());
        let sink = Arc::new(MemorySink::new("bus"));
        fixture.deliver(Arc::clone(&sink)).await.unwrap();
        undelivered += RECORDS - DELIVERED - sink.received().len() as u64;
    }
    println!(
        "FAULT row=6 name=lease_bit_flips flips={} undelivered={undelivered}",
        length * 8
    );
    assert_eq!(undelivered, 0);
}
