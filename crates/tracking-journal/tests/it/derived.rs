//! Derived files that are wrong: whatever they say, no acknowledged record is lost and no journal is refused.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tracking_journal::{
    ChainHash, CheckpointPolicy, Journal, JournalError, JournalOptions, Liveness, MemorySink, Relay,
    RelayOptions, SimulatedDisk, load, sink_statuses, verify,
};

use crate::counter::{Command, Counter};
use crate::faults::add;
use crate::setup::{Setup, stream};

/// Records of the journal that the tests begin with, one a commit.
const BEFORE: u64 = 3;
/// Records that are appended to it.
const APPENDED: u64 = 3;

fn options(checkpoint: CheckpointPolicy) -> JournalOptions {
    JournalOptions::default().with_checkpoint(checkpoint)
}

fn open(disk: &SimulatedDisk) -> Result<Journal<Counter>, JournalError> {
    Journal::open_simulated(disk, stream(), options(CheckpointPolicy::NEVER))
}

/// A journal with a checkpoint and a sidecar: the contents of `.jsonl`, `.checkpoint` and `.lock`.
fn files() -> [Vec<u8>; 3] {
    let disk = SimulatedDisk::default();
    let policy = CheckpointPolicy {
        records_at_close: BEFORE,
        ..CheckpointPolicy::NEVER
    };
    let journal = Journal::<Counter>::open_simulated(&disk, stream(), options(policy)).unwrap();
    for value in 1..=BEFORE {
        add(&journal, value).unwrap();
    }
    journal.close_blocking();
    [".jsonl", ".checkpoint", ".lock"].map(|suffix| disk.content(suffix).unwrap())
}

/// Results of appending to journals beside which one file is wrong.
#[derive(Debug, Default)]
struct Outcome {
    lost: u64,
    /// Journals that could not be opened or appended to.
    refused: u64,
    /// Journals that a reader of the whole chain finds damaged afterwards.
    damaged: u64,
}

impl Outcome {
    /// Appends records to the journal, removes everything beside it, and looks for them.
    fn of_appending(&mut self, files: &[(&str, &[u8])]) {
        let disk = SimulatedDisk::with_files(&stream(), files);
        let acked = match open(&disk) {
            Ok(journal) => {
                let added = (1..=APPENDED).take_while(|more| add(&journal, BEFORE + more).is_ok());
                let added = added.count() as u64;
                journal.close_blocking();
                self.refused += u64::from(added < APPENDED);
                BEFORE + added
            }
            Err(_) => {
                self.refused += 1;
                BEFORE
            }
        };
        let disk = SimulatedDisk::with_journal(&stream(), &disk.content(".jsonl").unwrap());
        match open(&disk) {
            Ok(journal) => {
                // A writer cuts at its first commit.
                add(&journal, acked + 1).unwrap();
                self.lost += acked.saturating_sub(journal.head().seq - 1);
                assert_eq!(journal.read(|state, _| state.records), journal.head().seq);
            }
            Err(_) => self.damaged += 1,
        }
    }
}

/// Every version of `content` with one bit flipped.
fn flips(content: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..content.len() * 8).map(|bit| {
        let mut flipped = content.to_owned();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

#[test]
fn fault_06_no_flipped_bit_of_a_checkpoint_or_sidecar_costs_a_record() {
    let [journal, checkpoint, sidecar] = files();
    for (name, suffix, content, others) in [
        (
            "checkpoint",
            ".checkpoint",
            &checkpoint,
            [(".lock", sidecar.as_slice())],
        ),
        (
            "sidecar",
            ".lock",
            &sidecar,
            [(".checkpoint", checkpoint.as_slice())],
        ),
    ] {
        let mut outcome = Outcome::default();
        for flipped in flips(content) {
            outcome.of_appending(&[(".jsonl", &journal), (suffix, &flipped), others[0]]);
        }
        println!(
            "FAULT row=6 name={name}_bit_flips flips={} lost={} refused={} damaged={}",
            content.len() * 8,
            outcome.lost,
            outcome.refused,
            outcome.damaged
        );
        assert_eq!(
            (outcome.lost, outcome.refused, outcome.damaged),
            (0, 0, 0),
            "{name}"
        );
    }
}

/// A record to follow the last one of `journal`, which says otherwise of itself than it should.
fn record_after(journal: &str, change: impl Fn(&str) -> String) -> String {
    let last = journal.lines().last().unwrap();
    let (body, hash) = last.split_once(",\"hash\":\"").unwrap();
    let before: ChainHash = hash.trim_end_matches("\"}").parse().unwrap();
    let body = change(body);
    format!("{body},\"hash\":\"{}\"}}\n", before.next(body.as_bytes()))
}

/// Records that a writer acknowledged whose state was wrong are no rest of an unfinished commit.
#[test]
fn fault_07_a_record_that_no_unfinished_commit_can_have_is_never_cut_off() {
    let setup = Setup::new();
    setup.fill(BEFORE, 1);
    let journal = String::from_utf8(setup.content()).unwrap();
    let (_, after) = journal.split_once("\"epoch\":\"").unwrap();
    let epoch = after.split('"').next().unwrap();
    let other = epoch.replace(|digit: char| digit.is_ascii_digit(), "0");
    let numbers = |seq: u64, batch: u64| {
        move |body: &str| {
            body.replace(
                "\"seq\":3,\"batch\":3",
                &format!("\"seq\":{seq},\"batch\":{batch}"),
            )
        }
    };
    let strays = [
        record_after(&journal, |body| numbers(4, 4)(body).replace(epoch, &other)),
        record_after(&journal, |body| {
            numbers(4, 4)(body).replace("upgrade:u-1", "upgrade:u-2")
        }),
        record_after(&journal, numbers(3, 3)),
        record_after(&journal, numbers(5, 5)),
        record_after(&journal, numbers(2, 2)),
        record_after(&journal, numbers(4, 2)),
    ];
    for stray in &strays {
        let content = format!("{journal}{stray}");
        setup.put(content.as_bytes());
        let opened = setup.try_open();
        let refused = matches!(&opened, Err(JournalError::Damaged(damage)) if damage.line == 4);
        assert!(refused, "{stray}: {opened:?}");
        assert_eq!(setup.content(), content.as_bytes());
    }
    // The same record, with a hash that does not fit, may be what is left of a commit.
    let torn = record_after(&journal, numbers(4, 4)).replace("\"actor\":\"t", "\"actor\":\"T");
    setup.put(format!("{journal}{torn}").as_bytes());
    let journal = setup.open();
    assert_eq!(journal.recovery().torn_bytes, torn.len() as u64);
    journal.submit(Command::Add(4)).wait().unwrap();
    println!(
        "FAULT row=7 name=stray_records strays={0} errors={0} untouched={0}",
        strays.len()
    );
}

#[test]
fn fault_06_no_flipped_bit_of_a_marker_hides_that_a_writer_died_or_lives() {
    let setup = Setup::new();
    let options = JournalOptions::default().with_long_lived(true);
    let journal = setup.open_with(options).unwrap();
    let marker = setup.dir.agent_path(&stream());
    let content = fs::read(&marker).unwrap();
    let mut wrong = 0;
    let mut count = |expected| {
        for flipped in flips(&content) {
            fs::write(&marker, flipped).unwrap();
            wrong += u64::from(Liveness::of(&setup.dir, &stream()).unwrap() != expected);
        }
    };
    count(Liveness::Live);
    journal.close_blocking();
    // As a writer that was killed leaves it.
    count(Liveness::Gone);
    println!(
        "FAULT row=6 name=marker_bit_flips flips={} wrong={wrong}",
        content.len() * 8 * 2
    );
    assert_eq!(wrong, 0);
}

/// Puts a FIFO, then a link to a file outside, in the place of `path`, and has `check` look at what comes of each.
fn with_strangers(setup: &Setup, path: &Path, check: impl Fn()) {
    let outside = setup.dir.path().join("outside");
    for fifo in [true, false] {
        if path.exists() {
            fs::remove_file(path).unwrap();
        }
        if fifo {
            mknodat(CWD, path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
        } else {
            fs::write(&outside, "outside").unwrap();
            symlink(&outside, path).unwrap();
        }
        check();
        assert!(fifo || fs::read_to_string(&outside).unwrap() == "outside");
        fs::remove_file(path).ok();
    }
}

/// None of this waits for the other end of a FIFO.
#[test]
fn links_and_fifos_in_the_place_of_derived_files_are_neither_followed_nor_waited_for() {
    let setup = Setup::new();
    setup.fill(BEFORE, 1);
    let sink = Arc::new(MemorySink::new("bus"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let deliver = || {
        runtime.block_on(async {
            let sink = Arc::clone(&sink) as _;
            let mut relay = Relay::open(&setup.dir, stream(), sink, RelayOptions::default()).await?;
            relay.drain(Duration::from_secs(60)).await
        })
    };
    deliver().unwrap();
    let policy = CheckpointPolicy {
        records_at_close: 1,
        ..CheckpointPolicy::NEVER
    };
    let append = || {
        let journal = setup.open_with(options(policy))?;
        let added = add(&journal, 1);
        journal.close_blocking();
        added
    };
    let checkpoint = setup.dir.checkpoint_path(&stream());
    for path in [checkpoint.with_extension("checkpoint.new"), checkpoint] {
        with_strangers(&setup, &path, || {
            append().unwrap();
            load::<Counter>(&setup.dir, &stream()).unwrap();
            verify(&setup.dir, &stream(), None).unwrap();
        });
    }
    let records = load::<Counter>(&setup.dir, &stream()).unwrap().state.records;
    assert_eq!(records, BEFORE + 4);
    // Without the sidecar nobody takes turns, so a writer refuses.
    with_strangers(&setup, &setup.dir.sidecar_path(&stream()), || {
        assert!(matches!(append(), Err(JournalError::Io { .. })));
    });
    with_strangers(&setup, &setup.dir.agent_path(&stream()), || {
        assert!(Liveness::of(&setup.dir, &stream()).is_err());
    });
    let cursors = setup.dir.cursors_dir().join(stream().file_stem());
    for name in ["bus.json", "bus.lease"] {
        with_strangers(&setup, &cursors.join(name), || {
            let problem = sink_statuses(&setup.dir).unwrap().pop().unwrap().problem;
            assert!(problem.unwrap().contains("a regular file is needed"));
            deliver().unwrap_err();
        });
        if name == "bus.json" {
            fs::write(cursors.join(name), "{}").unwrap();
        }
    }
}
