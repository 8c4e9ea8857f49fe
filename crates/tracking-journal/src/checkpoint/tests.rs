//! Checkpoints that are wrong: thrown away, bounded, and found by verifying.

use std::fs::OpenOptions;

use tempfile::TempDir;
use tracking_model::{PlanId, StreamId, UpgradeCommand, UpgradeProgress};
use uuid::Uuid;

use super::*;
use crate::{DataDir, Journal, JournalOptions};

/// A stream of some records, without a checkpoint: its place, its journal, and the state after the last record.
fn journal() -> (TempDir, Place, Arc<dyn IoFile>, State<UpgradeProgress>) {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path()).unwrap();
    let stream: StreamId = "upgrade:u".parse().unwrap();
    let options = JournalOptions::default().with_checkpoint(CheckpointPolicy::NEVER);
    let journal = Journal::<UpgradeProgress>::open(&dir, stream.clone(), options).unwrap();
    let create = UpgradeCommand::Create {
        plan_id: PlanId::new("p").unwrap(),
        cluster_name: "c".into(),
        metadata: tracking_model::Details::NONE,
    };
    journal.submit(create).wait().unwrap();
    for phase in ["a", "b", "c"] {
        let phase = UpgradeCommand::SetPhase { phase: phase.into() };
        journal.submit(phase).wait().unwrap();
    }
    journal.close_blocking();
    let place = Place::on_disk(&dir, &stream);
    let file = place.io.open(&place.journal, OpenMode::Read).unwrap();
    let state = State::load(&place, &file, file.size().unwrap()).unwrap();
    (folder, place, file, state)
}

fn checked(place: &Place, file: &Arc<dyn IoFile>) -> Result<Checked, Unusable> {
    let version = UpgradeProgress::CHECKPOINT_VERSION;
    read_checked(place, &**file, file.size().unwrap(), version)
}

/// Puts `header` in the place of a checkpoint's, with a checksum that is right.
fn reseal(place: &Place, header: &Header) {
    let content = std::fs::read(&place.checkpoint).unwrap();
    let state = &content[line_length(&content).unwrap()..];
    let mut changed = serde_json::to_vec(header).unwrap();
    seal(&mut changed);
    changed.extend_from_slice(state);
    std::fs::write(&place.checkpoint, changed).unwrap();
}

#[test]
fn a_checkpoint_that_the_journal_contradicts_is_thrown_away() {
    let (_folder, place, file, state) = journal();
    write(&place, &state.fold, &state.chain).unwrap();
    assert_eq!(checked(&place, &file).unwrap().chain.head, state.chain.head);
    let header = read_header(&place).unwrap();
    let changes: [fn(&mut Header); 7] = [
        |header| header.head.epoch = Uuid::from_u128(header.head.epoch.as_u128() ^ 1),
        |header| header.head.seq += 1,
        |header| header.head.seq -= 1,
        |header| header.head.hash = header.head.hash.next(b""),
        |header| header.batch -= 1,
        |header| header.offset -= 1,
        |header| header.newest = 0,
    ];
    for change in changes {
        let mut changed = header.clone();
        change(&mut changed);
        reseal(&place, &changed);
        let refused = checked(&place, &file).err().unwrap();
        assert!(matches!(refused, Unusable::Elsewhere { .. }), "{refused}");
        let loaded = State::<UpgradeProgress>::load(&place, &file, file.size().unwrap());
        assert_eq!(loaded.unwrap().chain.head, state.chain.head);
    }
}

#[test]
fn a_checkpoint_costs_no_more_memory_than_its_journal_can_make() {
    let (_folder, place, file, state) = journal();
    write(&place, &state.fold, &state.chain).unwrap();
    let header = read_header(&place).unwrap();
    for bytes in [60 << 30, longest_state(header.offset) + 1, u64::MAX] {
        reseal(
            &place,
            &Header {
                bytes,
                ..header.clone()
            },
        );
        let sparse = OpenOptions::new().write(true).open(&place.checkpoint).unwrap();
        sparse.set_len(60 << 30).unwrap();
        assert_eq!(checked(&place, &file).err(), Some(Unusable::TooLong(bytes)));
        sparse.set_len(1 << 10).unwrap();
    }
    // Within the bound, the file must have the bytes.
    let bytes = longest_state(header.offset);
    reseal(&place, &Header { bytes, ..header });
    assert_eq!(checked(&place, &file).err(), Some(Unusable::Altered));
}

#[test]
fn a_forged_state_is_found_by_verifying() {
    let (_folder, place, file, state) = journal();
    let verified = || verify::<UpgradeProgress>(&place, &file).unwrap();
    assert_eq!(verified(), CheckpointVerification::NotUsed);
    write(&place, &state.fold, &state.chain).unwrap();
    let seq = state.chain.head.seq;
    assert_eq!(verified(), CheckpointVerification::Agrees { seq });
    // A checksum proves nothing to somebody who can compute it.
    let mut forged = state.fold.clone();
    forged.current_phase = Some("forged".into());
    write(&place, &forged, &state.chain).unwrap();
    let CheckpointVerification::Wrong { reason, .. } = verified() else {
        panic!("it was believed")
    };
    assert_eq!(reason, Unusable::OtherState(seq).to_string());
    std::fs::write(&place.checkpoint, "x\n").unwrap();
    assert!(matches!(verified(), CheckpointVerification::Wrong { .. }));
}

#[test]
fn a_checkpoint_of_the_first_version_is_passed_over() {
    let (_folder, place, file, _) = journal();
    std::fs::write(
        &place.checkpoint,
        "{\"v\":1,\"fold\":1,\"stream\":\"upgrade:u\"}\n{}\n",
    )
    .unwrap();
    assert_eq!(checked(&place, &file).err(), Some(Unusable::OtherVersion));
}
