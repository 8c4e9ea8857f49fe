//! Several writers and readers of one stream, as they would be in several processes: locks belong to open files, so
//! two journals in one process contend like two processes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracking_journal::{
    DataDir, DataDirError, Follower, JournalError, JournalOptions, JournalReader, Liveness, SubmitError,
    SubscriptionError, SystemClock, load, repair, verify,
};
use tracking_model::StreamId;

use crate::counter::{Command, Counter};
use crate::setup::{Setup, stream};

#[test]
fn a_lock_that_is_not_freed_names_its_holder() {
    let setup = Setup::new();
    setup.fill(1, 1);
    let holder = File::open(setup.journal_file()).unwrap();
    holder.lock().unwrap();
    let options = JournalOptions::default().with_lock_timeout(Duration::from_millis(50));
    let journal = setup.open_with(options).unwrap();
    let error = journal.submit(Command::Add(1)).wait().unwrap_err();
    let SubmitError::Journal(JournalError::Locked {
        holder: pid, waited, ..
    }) = error
    else {
        panic!("{error}")
    };
    assert_eq!(pid, Some(std::process::id()));
    assert_eq!(waited, Duration::from_millis(50));
    drop(holder);
    assert_eq!(
        journal.submit(Command::Add(1)).wait().unwrap().first_seq(),
        Some(2)
    );
}

#[tokio::test]
async fn an_idle_writer_hears_of_others_at_once() {
    let setup = Setup::new();
    setup.fill(1, 1);
    let idle = setup
        .open_with(JournalOptions::default().with_long_lived(true))
        .unwrap();
    let mut heard = idle.subscribe(16);
    let other = setup.open();
    for value in 1..=20 {
        let start = Instant::now();
        other.submit(Command::Add(value)).await.unwrap();
        let commit = heard.next().await.unwrap();
        assert_eq!(commit.records[0].event.value, value);
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "heard after {:?}",
            start.elapsed()
        );
    }
    assert_eq!(idle.read(|state, _| state.sum), 210);
    idle.close().await;
    assert_eq!(heard.next().await.unwrap_err(), SubscriptionError::Closed);
}

#[tokio::test]
async fn a_follower_waits_for_what_is_written() {
    let setup = Setup::new();
    setup.fill(1, 1);
    let mut follower = Follower::<Counter>::open(&setup.dir, &stream()).unwrap();
    let journal = setup.open();
    let writer = async {
        for value in 0..50 {
            journal.submit(Command::Add(value)).await.unwrap();
        }
    };
    let reader = async {
        while follower.head().seq < 51 {
            follower.next().await.unwrap();
        }
        follower.state().sum
    };
    assert_eq!(tokio::join!(writer, reader).1, (0..50).sum::<u64>());
}

#[test]
fn the_marker_tells_the_living_from_the_dead() {
    let setup = Setup::new();
    let liveness = || Liveness::of(&setup.dir, &stream()).unwrap();
    assert_eq!(liveness(), Liveness::Unmarked);
    let long = JournalOptions::default().with_long_lived(true);
    let one = setup.open_with(long.clone()).unwrap();
    let two = setup.open_with(long).unwrap();
    assert_eq!(liveness(), Liveness::Live);
    one.close_blocking();
    assert_eq!(liveness(), Liveness::Live);
    two.close_blocking();
    assert_eq!(liveness(), Liveness::Unmarked);
    // What a writer leaves that was killed: a marker that nobody holds.
    fs::write(setup.dir.agent_path(&stream()), "4242\n").unwrap();
    assert_eq!(liveness(), Liveness::Gone);
}

#[test]
fn first_commits_at_the_same_time_make_one_journal() {
    for _ in 0..20 {
        let setup = Setup::new();
        let writers: Vec<_> = (0..4).map(|_| setup.open()).collect();
        std::thread::scope(|scope| {
            for (value, writer) in writers.iter().enumerate() {
                scope.spawn(move || writer.submit(Command::Add(value as u64)).wait().unwrap());
            }
        });
        assert_eq!(verify(&setup.dir, &stream(), None).unwrap().head.seq, 4);
        assert_eq!(setup.open().read(|state, _| state.sum), 6);
    }
}

#[test]
fn damage_that_appears_while_writing_stops_it_until_it_is_repaired() {
    let setup = Setup::new();
    let journal = setup.open();
    journal.submit(Command::Add(1)).wait().unwrap();
    let other = setup.open();
    for value in 2..5 {
        other.submit(Command::Add(value)).wait().unwrap();
    }
    let mut content = setup.content();
    let second = content.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let third = second + content[second..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    content[third + 30] ^= 1;
    fs::write(setup.journal_file(), &content).unwrap();
    for _ in 0..2 {
        let error = journal.submit(Command::Add(9)).wait().unwrap_err();
        assert!(
            matches!(error, SubmitError::Journal(JournalError::Damaged(_))),
            "{error}"
        );
        assert_eq!(journal.read(|state, head| (state.sum, head.seq)), (1, 1));
    }
    assert_eq!(setup.content(), content);
    repair(&setup.dir, &stream(), Duration::from_secs(1), &SystemClock).unwrap();
    journal.submit(Command::Add(9)).wait().unwrap();
    assert_eq!(
        journal.read(|state, head| (state.sum, head.seq)),
        (1 + 2 + 4 + 9, 4)
    );
}

#[test]
fn a_newer_format_is_read_and_never_written() {
    let setup = Setup::new();
    setup.fill(2, 1);
    let records: Vec<_> = JournalReader::open(&setup.dir, &stream())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let last = records.last().unwrap();
    // Other order, another key; the chain goes on.
    let body = format!(
        "{{\"v\":2,\"zone\":\"eu\",\"seq\":3,\"batch\":3,\"stream\":\"{}\",\"epoch\":\"{}\",\"id\":\"{}\",\
         \"at\":\"2030-01-01T00:00:00.000000Z\",\"actor\":\"later\",\"type\":\"added\",\"data\":{{\"value\":7}}",
        last.stream, last.epoch, last.id
    );
    let line = format!("{body},\"hash\":\"{}\"}}\n", last.hash.next(body.as_bytes()));
    let mut content = setup.content();
    content.extend_from_slice(line.as_bytes());
    setup.put(&content);
    assert_eq!(load::<Counter>(&setup.dir, &stream()).unwrap().state.sum, 8);
    let journal = setup.open();
    let error = journal.submit(Command::Add(1)).wait().unwrap_err();
    assert!(
        matches!(
            error,
            SubmitError::Journal(JournalError::NewerVersion { found: 2, .. })
        ),
        "{error}"
    );
    assert_eq!(setup.content(), content);
}

#[test]
fn a_journal_that_was_removed_takes_nothing_more() {
    let setup = Setup::new();
    let journal = setup.open();
    journal.submit(Command::Add(1)).wait().unwrap();
    let mut reader = JournalReader::open(&setup.dir, &stream()).unwrap();
    reader.next_record().unwrap().unwrap();
    fs::remove_file(setup.journal_file()).unwrap();
    for _ in 0..2 {
        let error = journal.submit(Command::Add(1)).wait().unwrap_err();
        assert!(
            matches!(error, SubmitError::Journal(JournalError::Removed { .. })),
            "{error}"
        );
    }
    assert!(matches!(reader.next_record(), Err(JournalError::Removed { .. })));
    assert!(!setup.journal_file().exists());
    // Beginning anew is not confused by what the old life left beside it.
    let journal = setup.open();
    assert_eq!(
        journal.submit(Command::Add(1)).wait().unwrap().first_seq(),
        Some(1)
    );
}

#[test]
fn what_was_closed_says_so() {
    let setup = Setup::new();
    let journal = setup.open();
    journal.close_blocking();
    let error = journal.submit(Command::Add(1)).wait().unwrap_err();
    assert!(matches!(error, SubmitError::Journal(JournalError::Closed)));
    let journal = setup
        .open_with(JournalOptions::default().with_max_waiting(0))
        .unwrap();
    let error = journal.submit(Command::Add(1)).wait().unwrap_err();
    assert!(matches!(
        error,
        SubmitError::Journal(JournalError::Overloaded { .. })
    ));
}

#[test]
fn a_slow_subscriber_is_told_what_it_missed() {
    let setup = Setup::new();
    let journal = setup.open();
    let mut slow = journal.subscribe(2);
    for value in 0..5 {
        journal.submit(Command::Add(value)).wait().unwrap();
    }
    assert!(matches!(
        slow.try_next(),
        Err(SubscriptionError::Lagged { missed: 3 })
    ));
    assert_eq!(slow.next_blocking().unwrap().records[0].event.value, 3);
    assert_eq!(slow.next_blocking().unwrap().records[0].event.value, 4);
    assert!(slow.try_next().unwrap().is_none());
}

#[test]
fn places_that_are_no_data_directory_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(
        DataDir::open(&file),
        Err(DataDirError::NotADirectory { .. })
    ));
    assert!(matches!(
        DataDir::open(file.join("below")),
        Err(DataDirError::NotADirectory { .. })
    ));
    assert!(matches!(
        DataDir::existing(folder.path().join("none")),
        Err(DataDirError::Missing { .. })
    ));
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    std::os::unix::fs::symlink(folder.path(), root.join("progress")).unwrap();
    assert!(matches!(DataDir::open(&root), Err(DataDirError::Symlink { .. })));

    let setup = Setup::new();
    std::os::unix::fs::symlink("/dev/null", setup.journal_file()).unwrap();
    assert!(matches!(
        setup.try_open(),
        Err(JournalError::Io {
            operation: "open",
            ..
        })
    ));
}

#[test]
fn writers_that_begin_a_stream_at_the_same_moment_all_keep_what_was_acknowledged() {
    const WRITERS: u64 = 6;
    for _ in 0..100 {
        let setup = Setup::new();
        let start = std::sync::Barrier::new(usize::try_from(WRITERS).unwrap());
        std::thread::scope(|scope| {
            for value in 1..=WRITERS {
                let (setup, start) = (&setup, &start);
                scope.spawn(move || {
                    let journal = setup.open();
                    start.wait();
                    journal.submit(Command::Add(value)).wait().unwrap();
                    journal.close_blocking();
                });
            }
        });
        let journal = setup.open();
        assert_eq!(journal.head().seq, WRITERS);
        assert_eq!(journal.read(|state, _| state.sum), WRITERS * (WRITERS + 1) / 2);
        assert_eq!(journal.recovery().torn_bytes, 0);
    }
}

#[test]
fn a_reader_shows_nothing_of_a_commit_that_is_written_over_a_torn_tail() {
    let setup = Setup::new();
    setup.fill(3, 1);
    let content = setup.content();
    let feeds = content.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let second = feeds.map(|(at, _)| at + 1).nth(1).unwrap();
    let torn = vec![b'x'; 400];
    setup.put(&[&content[..second], &torn].concat());
    let mut follower = Follower::<Counter>::open(&setup.dir, &stream()).unwrap();
    let mut reader = JournalReader::open(&setup.dir, &stream()).unwrap();
    assert_eq!(reader.by_ref().count(), 2);
    // A writer has cut the tail and written its commit, and is not yet back from its sync.
    let writer = File::options().write(true).open(setup.journal_file()).unwrap();
    writer.lock().unwrap();
    writer.set_len(second as u64).unwrap();
    writer.write_all_at(&content[second..], second as u64).unwrap();
    assert!(follower.try_next().unwrap().is_none());
    assert!(reader.next_record().unwrap().is_none());
    writer.unlock().unwrap();
    assert_eq!(follower.try_next().unwrap().unwrap().head.seq, 3);
    assert_eq!(reader.next_record().unwrap().unwrap().seq, 3);
}

#[test]
fn a_journal_that_nothing_vouches_for_is_not_shown_as_empty_while_it_is_written() {
    let setup = Setup::new();
    setup.fill(3, 1);
    fs::remove_file(setup.dir.sidecar_path(&stream())).unwrap();
    let writer = File::open(setup.journal_file()).unwrap();
    writer.lock().unwrap();
    let error = load::<Counter>(&setup.dir, &stream()).unwrap_err();
    let JournalError::Locked { holder, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(holder, Some(std::process::id()));
    writer.unlock().unwrap();
    assert_eq!(load::<Counter>(&setup.dir, &stream()).unwrap().head.seq, 3);
}

#[test]
fn those_who_look_whether_a_writer_lives_do_not_take_each_other_for_one() {
    let setup = Setup::new();
    setup.fill(1, 1);
    fs::write(setup.dir.agent_path(&stream()), "4242\n").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    assert_eq!(Liveness::of(&setup.dir, &stream()).unwrap(), Liveness::Gone);
                }
            });
        }
    });
}

#[test]
fn all_who_close_wait_until_everything_is_committed() {
    for _ in 0..50 {
        let setup = Setup::new();
        let journal = setup.open();
        for value in 0..100 {
            drop(journal.submit(Command::Add(value)));
        }
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let journal = journal.clone();
                scope.spawn(move || {
                    journal.close_blocking();
                    assert_eq!(journal.head().seq, 100);
                });
            }
        });
    }
}

#[test]
fn a_pipe_or_a_link_beside_a_journal_is_refused_or_passed_over_and_never_waited_for() {
    type Path = fn(&DataDir, &StreamId) -> PathBuf;
    let places: [(Path, bool); 4] = [
        (DataDir::journal_path, true),
        (DataDir::sidecar_path, true),
        (DataDir::agent_path, true),
        (DataDir::checkpoint_path, false),
    ];
    let outside = tempfile::NamedTempFile::new().unwrap();
    let long = || JournalOptions::default().with_long_lived(true);
    for (path, refused) in places {
        for link in [false, true] {
            let setup = Setup::new();
            setup.fill(1, 1);
            let path = path(&setup.dir, &stream());
            if path.exists() {
                fs::remove_file(&path).unwrap();
            }
            if link {
                std::os::unix::fs::symlink(outside.path(), &path).unwrap();
            } else {
                let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
                assert!(made.success());
            }
            let written = setup
                .open_with(long())
                .map_err(SubmitError::Journal)
                .and_then(|journal| journal.submit(Command::Add(1)).wait());
            match written {
                Err(SubmitError::Journal(JournalError::Io { .. })) => assert!(refused, "{path:?}"),
                Ok(_) => assert!(!refused, "{path:?}"),
                Err(error) => panic!("{path:?}: {error}"),
            }
            assert_eq!(fs::read(outside.path()).unwrap(), b"");
        }
    }
}

#[test]
fn a_writer_that_wrote_nothing_yet_joins_a_stream_that_another_began() {
    for first in [Command::Add(u64::MAX), Command::Nothing] {
        let setup = Setup::new();
        let waiting = setup.open();
        // Refused, or without effect: nothing is written, and the stream stays empty.
        drop(waiting.submit(first).wait());
        setup.fill(1, 1);
        waiting.submit(Command::Add(1)).wait().unwrap();
        assert_eq!(verify(&setup.dir, &stream(), None).unwrap().head, waiting.head());
        assert_eq!(setup.open().head().seq, 2);
    }
}
