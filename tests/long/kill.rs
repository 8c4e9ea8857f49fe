//! Thousands of kills of one writer.

use std::time::Instant;

use scenarios::{Recovered, Writer, stream};
use tracking_journal::{DataDir, Journal, JournalOptions};
use tracking_model::UpgradeProgress;

use crate::{count, seed, writer_program};

#[test]
fn fault_01_killed_thousands_of_times_loses_nothing() {
    let kills = count(5_000);
    let mut choice = seed() | 1;
    let (mut acked, mut lost, mut recoveries) = (0, 0, Vec::new());
    let mut data = tempfile::tempdir().unwrap();
    for kill in 0..kills {
        // A new directory now and then: young journals have crashes of their own.
        if kill % 250 == 0 {
            data = tempfile::tempdir().unwrap();
        }
        choice = choice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let before = Recovered::read(data.path()).events.get("w").copied().unwrap_or(0);
        let mut writer = Writer::new(data.path(), "w").spawn(writer_program());
        writer.wait_for_acks(before + (choice >> 33) % 40);
        let ended = writer.kill();
        let begin = Instant::now();
        let dir = DataDir::open(data.path()).unwrap();
        let journal = Journal::<UpgradeProgress>::open(&dir, stream(), JournalOptions::default()).unwrap();
        recoveries.push(begin.elapsed());
        journal.close_blocking();
        lost += Recovered::read(data.path()).lost(&ended);
        acked += ended.acked.saturating_sub(before);
    }
    recoveries.sort_unstable();
    let p99 = recoveries[recoveries.len() * 99 / 100];
    println!(
        "FAULT row=1 name=killed_long seed={} kills={kills} acked={acked} lost={lost} p99_recovery_us={}",
        seed(),
        p99.as_micros()
    );
    assert_eq!(lost, 0);
}
