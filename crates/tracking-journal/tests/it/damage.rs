//! Journals that were changed by hand, by other programs or by a failing disk: named, left alone, and repaired on request.

use std::fs;
use std::time::Duration;

use tracking_journal::{JournalError, MAX_LINE_BYTES, Salvage, SystemClock, load, repair, verify};

use crate::counter::Counter;
use crate::faults::add;
use crate::setup::{Setup, stream};

#[test]
fn a_tail_cut_that_a_sidecar_vouches_for_is_damage() {
    let setup = Setup::new();
    setup.fill(3, 1);
    let content = setup.content();
    let sidecar = fs::read(setup.dir.sidecar_path(&stream())).unwrap();
    for cut in (0..content.len()).step_by(97) {
        setup.put(&content[..cut]);
        fs::write(setup.dir.sidecar_path(&stream()), &sidecar).unwrap();
        let vouched = load::<Counter>(&setup.dir, &stream());
        assert!(matches!(vouched, Err(JournalError::Damaged(_))));
        let verified = verify(&setup.dir, &stream(), None);
        assert!(matches!(verified, Err(JournalError::Damaged(_))));
        assert_eq!(setup.content(), &content[..cut]);
    }
}

#[test]
fn fault_07_changed_records_are_damage() {
    let setup = Setup::new();
    let journal = setup.open();
    for value in 1..=6 {
        add(&journal, value).unwrap();
    }
    journal.close_blocking();
    let content = setup.content();
    let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
    let zeros = vec![0; lines[2].len()];
    let (mut mutations, mut untouched) = (0, 0);
    for at in 1..4 {
        let mut dropped = lines.clone();
        dropped.remove(at);
        let mut repeated = lines.clone();
        repeated.insert(at, lines[at]);
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        let mut zeroed = lines.clone();
        zeroed[at] = &zeros;
        for mutated in [dropped, repeated, swapped, zeroed] {
            let mutated = mutated.concat();
            setup.put(&mutated);
            let error = setup.try_open().unwrap_err();
            let JournalError::Damaged(damage) = error else {
                panic!("{error}")
            };
            assert!(damage.line >= at as u64, "{damage}");
            assert!(matches!(
                verify(&setup.dir, &stream(), None),
                Err(JournalError::Damaged(_))
            ));
            mutations += 1;
            untouched += u32::from(setup.content() == mutated);
        }
    }
    println!(
        "FAULT row=7 name=changed_records mutations={mutations} errors={mutations} untouched={untouched}"
    );
    assert_eq!(untouched, mutations);
}

#[test]
fn fault_07_a_damaged_journal_put_in_the_place_of_an_open_one_is_left_alone() {
    let setup = Setup::new();
    let other = Setup::new();
    other.fill(6, 1);
    let content = other.content();
    let mut damaged = content.clone();
    damaged[500] ^= 1;
    let journal = setup.open();
    add(&journal, 1).unwrap();
    let put = |content: &[u8]| {
        let new = setup.journal_file().with_extension("restored");
        fs::write(&new, content).unwrap();
        fs::rename(new, setup.journal_file()).unwrap();
    };
    put(&damaged);
    for _ in 0..3 {
        assert!(matches!(add(&journal, 2), Err(JournalError::Damaged(_))));
        assert_eq!(setup.content(), damaged);
    }
    put(&content);
    add(&journal, 2).unwrap();
    assert_eq!(journal.head().seq, 7);
    println!("FAULT row=7 name=damaged_replacement errors=3 untouched=3");
}

#[test]
fn fault_07_a_journal_that_was_cut_under_its_writer_is_left_alone() {
    let setup = Setup::new();
    let journal = setup.open();
    add(&journal, 1).unwrap();
    let first = setup.content();
    add(&journal, 2).unwrap();
    let file = fs::File::options()
        .write(true)
        .open(setup.journal_file())
        .unwrap();
    let mut errors = 0;
    for kept in [first.len(), first.len() - 10, 0] {
        file.set_len(kept as u64).unwrap();
        fs::write(setup.dir.sidecar_path(&stream()), "").unwrap();
        assert!(matches!(add(&journal, 3), Err(JournalError::Damaged(_))));
        assert_eq!(setup.content(), first[..kept]);
        errors += 1;
    }
    println!("FAULT row=7 name=cut_under_its_writer errors={errors} untouched={errors}");
}

#[test]
fn fault_07_a_journal_overwritten_by_another_under_its_writer_is_left_alone() {
    let (setup, other) = (Setup::new(), Setup::new());
    other.fill(6, 1);
    let journal = setup.open();
    add(&journal, 1).unwrap();
    fs::write(setup.journal_file(), other.content()).unwrap();
    for _ in 0..2 {
        assert!(matches!(add(&journal, 2), Err(JournalError::Damaged(_))));
        assert_eq!(setup.content(), other.content());
    }
    println!("FAULT row=7 name=overwritten_under_its_writer errors=2 untouched=2");
}

#[test]
fn fault_07_a_stream_begun_anew_is_not_taken_for_the_one_that_was_opened() {
    let setup = Setup::new();
    setup.fill(3, 1);
    let journal = setup.open();
    // Without care the new file has the number of the old one, which nobody has open.
    fs::remove_file(setup.journal_file()).unwrap();
    setup.fill(5, 1);
    add(&journal, 1).unwrap();
    assert_eq!(journal.head().seq, 6);
    assert_eq!(setup.open().head().seq, 6);
    println!("FAULT row=7 name=begun_anew lost=0");
}

#[test]
fn fault_07_lines_that_an_editor_changed_are_damage() {
    let setup = Setup::new();
    setup.fill(4, 2);
    let content = String::from_utf8(setup.content()).unwrap();
    let edits = [
        content.replace('\n', "\r\n"),
        content.replace("{\"v\":1", " {\"v\": 1"),
        content.replace("\"}\n", "\" }\n"),
    ];
    for edited in &edits {
        setup.put(edited.as_bytes());
        assert!(matches!(setup.try_open(), Err(JournalError::Damaged(_))));
        assert!(matches!(
            verify(&setup.dir, &stream(), None),
            Err(JournalError::Damaged(_))
        ));
        assert_eq!(setup.content(), edited.as_bytes());
    }
    let edits = edits.len();
    println!("FAULT row=7 name=edited_by_hand edits={edits} errors={edits} untouched={edits}");
}

#[test]
fn fault_07_a_gap_longer_than_any_line_is_damage_and_repair_goes_on_after_it() {
    let setup = Setup::new();
    setup.fill(4, 1);
    let content = setup.content();
    let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
    let gap = vec![0; MAX_LINE_BYTES + (1 << 20)];
    setup.put(&[lines[0], &gap, lines[1], lines[2], lines[3]].concat());
    assert!(matches!(setup.try_open(), Err(JournalError::Damaged(_))));
    let salvage = repair(&setup.dir, &stream(), Duration::from_secs(1), &SystemClock).unwrap();
    let Salvage::Repaired(report) = salvage else {
        panic!("the journal is damaged");
    };
    assert_eq!((report.kept, report.missing), (3, 1));
    println!("FAULT row=7 name=long_gap errors=1 kept=3");
}

#[test]
fn fault_07_one_wrong_sequence_or_epoch_costs_repair_no_other_record() {
    let setup = Setup::new();
    setup.fill(6, 1);
    let content = String::from_utf8(setup.content()).unwrap();
    let epoch = content.find("\"epoch\":\"").unwrap() + 9;
    let mut other_life = content.clone();
    let digit = if content.as_bytes()[epoch] == b'f' {
        "0"
    } else {
        "f"
    };
    other_life.replace_range(epoch..=epoch, digit);
    let forged = [
        content.replace("\"seq\":2,", "\"seq\":18446744073709551615,"),
        content.replace("\"seq\":2,", "\"seq\":6,"),
        other_life,
    ];
    for forged in &forged {
        setup.put(forged.as_bytes());
        let salvage = repair(&setup.dir, &stream(), Duration::from_secs(1), &SystemClock).unwrap();
        let Salvage::Repaired(report) = salvage else {
            panic!("the journal is damaged");
        };
        assert_eq!((report.kept, report.missing, report.dropped_lines), (5, 1, 1));
        assert_eq!(verify(&setup.dir, &stream(), None).unwrap().head, report.head);
    }
    println!(
        "FAULT row=7 name=wrong_sequence_or_epoch repairs={} dropped_each=1",
        forged.len()
    );
}
