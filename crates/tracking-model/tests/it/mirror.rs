//! An upgrade that is followed by messages stands as by its journal.

use proptest::prelude::*;
use tracking_model::{
    ProgressEventMessage, Snapshot, Summary, TaskAction, TaskProgress, UpgradeMirror, UpgradeProgress,
};

use crate::machine::history;
use crate::upgrades::{Driven, at, half_done, task_id};

/// What of a task a viewer shows, or works out what it shows from.
fn shown(task: &TaskProgress) -> String {
    let last = task.events.back().map(|event| (&event.message, event.timestamp));
    format!(
        "{} {} {} in {:?} at {} {} x{}: {} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        task.task_id,
        task.task_name,
        task.task_type.as_str(),
        task.parent_task_id,
        task.depth,
        task.status,
        task.weight,
        task.percentage,
        task.children,
        task.started_at,
        task.completed_at,
        task.duration,
        task.error_message,
        task.waiting_on,
        (task.retry_count, last),
    )
}

fn all_shown(progress: &UpgradeProgress) -> Vec<String> {
    let of_upgrade = format!(
        "{} {:?} {} {} {} {:?} {:?} {:?} {:?} {:?} {:?} {} {}",
        progress.upgrade_id,
        progress.plan_id,
        progress.cluster_name,
        progress.status,
        progress.overall_percentage(),
        progress.started_at,
        progress.completed_at,
        progress.duration,
        progress.current_phase,
        progress.error_message,
        progress.reason,
        progress.completed_with_failures,
        progress.retry_count,
    );
    std::iter::once(of_upgrade)
        .chain(progress.tasks().values().map(shown))
        .collect()
}

fn begin(driven: &Driven) -> UpgradeMirror {
    let snapshot = serde_json::to_string(&Snapshot::brief(&driven.progress)).unwrap();
    let summary = Summary::of(&driven.progress, at(250));
    UpgradeMirror::begin(&snapshot, &summary, driven.events.len() as u64).unwrap()
}

/// Tells a mirror of everything that was recorded, over the wire.
fn tell(mirror: &mut UpgradeMirror, driven: &Driven) {
    for (meta, event) in &driven.events {
        if let Some(message) = ProgressEventMessage::new(&driven.progress.upgrade_id, meta, event) {
            let text = serde_json::to_string(&message).unwrap();
            mirror.event(meta.seq, &serde_json::from_str(&text).unwrap());
        }
    }
}

proptest! {
    #[test]
    fn it_stands_as_by_its_journal_wherever_it_was_begun(history in history(), cut in 0.0..1.0_f64) {
        let (mut driven, mut now, mut mirror) = (half_done(), 1_000, None);
        let cut = (history.len() as f64 * cut) as usize;
        for (index, (seconds, command)) in history.into_iter().enumerate() {
            if index == cut {
                mirror = Some(begin(&driven));
            }
            now += seconds;
            drop(driven.try_at(now, command));
        }
        let mut mirror = mirror.unwrap_or_else(|| begin(&driven));
        // Whoever resumes is told again what the snapshot has.
        tell(&mut mirror, &driven);
        prop_assert_eq!(all_shown(mirror.progress()), all_shown(&driven.progress));
    }
}

#[test]
fn what_is_silent_is_what_summaries_say() {
    let mut driven = half_done();
    driven.task(200, "check", TaskAction::Start { message: None });
    let mut mirror = begin(&driven);
    assert!(!mirror.stalled().contains(&task_id("check")));
    // The task beats until 900, and is silent from then on, of which viewers are told by summaries alone.
    mirror.summary(&Summary::of(&driven.progress, at(1_000)), at(1_000));
    let stalled: Vec<_> = mirror.stalled().iter().map(|id| id.as_str()).collect();
    assert!(stalled.contains(&"check"), "{stalled:?}");
    let check = mirror.progress().task(&task_id("check")).unwrap();
    assert_eq!(check.last_report_at, Some(at(940)), "60 s before the summary");
    driven.task(1_001, "check", TaskAction::Complete { message: None });
    tell(&mut mirror, &driven);
    assert!(!mirror.stalled().contains(&task_id("check")));
}

#[test]
fn a_brief_snapshot_holds_no_metadata_and_one_event_of_each_task() {
    let driven = half_done();
    let snapshot = serde_json::to_value(Snapshot::brief(&driven.progress)).unwrap();
    for task in snapshot["tasks"].as_object().unwrap().values() {
        assert!(task["events"].as_array().unwrap().len() <= 1, "{task:#}");
    }
    assert_eq!(snapshot["metadata"], serde_json::json!({}));
}
