//! Taking over what the reference left.

use std::fs;
use std::path::Path;
use std::time::Duration;

use progress_core::{
    ImportReport, NewUpgrade, ProgressError, ProgressTracker, ProgressTrackerOptions, SkipReason,
    import_in_place, import_reference, remove_upgrade, upgrades,
};
use tracking_journal::DataDir;
use tracking_model::{PlanId, Status, TaskId, Timestamp, UpgradeId};

use crate::fixture::data_dir;

/// An upgrade half way through, as the reference writes it.
fn reference(id: &str) -> String {
    format!(
        r#"{{
  "upgrade_id": "{id}", "plan_id": "plan-1", "cluster_name": "prod", "status": "in_progress",
  "started_at": "2025-01-31 05:25:01.056236+00:00", "completed_at": null, "duration": null,
  "overall_percentage": 75.0, "current_phase": "Nodes",
  "tasks": {{
    "t1": {{"task_id": "t1", "task_name": "Control plane", "task_type": "upgrade_step", "parent_task_id": null,
      "status": "completed", "started_at": "2025-01-31 05:25:02+00:00", "completed_at": "2025-01-31 05:35:02+00:00",
      "duration": "0:10:00", "percentage": 100.0, "current_step": null, "total_steps": null, "completed_steps": 0,
      "error_message": null, "retry_count": 0, "events": []}},
    "t2": {{"task_id": "t2", "task_name": "Nodes", "task_type": "upgrade_step", "parent_task_id": null,
      "status": "in_progress", "started_at": "2025-01-31 05:35:03+00:00", "completed_at": null, "duration": null,
      "percentage": 50.0, "current_step": null, "total_steps": null, "completed_steps": 0, "error_message": null,
      "retry_count": 0, "events": []}}
  }},
  "metadata": {{"owner": "team"}}
}}"#
    )
}

fn open(dir: &DataDir, id: &str) -> Result<ProgressTracker, ProgressError> {
    ProgressTracker::open(
        dir,
        &UpgradeId::new(id).unwrap(),
        ProgressTrackerOptions::default(),
    )
}

fn import(dir: &DataDir, source: &Path) -> ImportReport {
    import_reference(dir, &[source.to_owned()], &ProgressTrackerOptions::default()).unwrap()
}

fn ids(report: &ImportReport) -> Vec<&str> {
    report
        .imported
        .iter()
        .map(|upgrade| upgrade.upgrade_id.as_str())
        .collect()
}

#[tokio::test]
async fn a_directory_of_the_reference_is_opened_as_it_is() {
    for file in ["progress/upgrade_old.json", "upgrade_old.json"] {
        let (temporary, dir) = data_dir();
        let path = temporary.path().join(file);
        fs::write(&path, reference("old")).unwrap();
        let tracker = open(&dir, "old").unwrap();
        assert_eq!(tracker.head().seq, 1);
        let state = tracker.state();
        assert_eq!((state.status, &*state.cluster_name), (Status::InProgress, "prod"));
        assert_eq!(state.overall_percentage().value(), 75.0);
        tracker.complete_task(TaskId::new("t2").unwrap()).await.unwrap();
        tracker.close().await.unwrap();
        let again = open(&dir, "old").unwrap();
        assert_eq!((again.head().seq, again.state()), (2, tracker.state()));
        again.close().await.unwrap();
        let snapshot = fs::read_to_string(temporary.path().join("progress/upgrade_old.json")).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&snapshot).unwrap()["overall_percentage"],
            100.0
        );
        let kept = if file.starts_with("progress") {
            format!("{file}.reference")
        } else {
            file.to_owned()
        };
        assert_eq!(
            fs::read_to_string(temporary.path().join(kept)).unwrap(),
            reference("old")
        );
    }
}

#[test]
fn creating_what_the_reference_left_goes_on_with_it() {
    let (temporary, dir) = data_dir();
    fs::write(
        temporary.path().join("progress/upgrade_old.json"),
        reference("old"),
    )
    .unwrap();
    let create = |cluster: &str| {
        let upgrade = NewUpgrade::new(
            UpgradeId::new("old").unwrap(),
            PlanId::new("plan-1").unwrap(),
            cluster,
        );
        ProgressTracker::open_or_create(&dir, upgrade, ProgressTrackerOptions::default())
    };
    let error = create("another").unwrap_err();
    assert!(matches!(error, ProgressError::OtherUpgrade { .. }), "{error}");
    assert_eq!(create("prod").unwrap().state().tasks().len(), 2);
}

#[test]
fn both_layouts_are_imported_once() {
    let (_temporary, dir) = data_dir();
    let old = tempfile::tempdir().unwrap();
    fs::create_dir(old.path().join("progress")).unwrap();
    fs::write(
        old.path().join("progress/upgrade_new-layout.json"),
        reference("new-layout"),
    )
    .unwrap();
    fs::write(
        old.path().join("upgrade_old-layout.json"),
        reference("old-layout"),
    )
    .unwrap();
    fs::write(old.path().join("session_s.json"), "{}").unwrap();
    let report = import(&dir, old.path());
    assert_eq!(ids(&report), ["new-layout", "old-layout"]);
    assert!(report.skipped.is_empty());
    assert_eq!(open(&dir, "old-layout").unwrap().state().tasks().len(), 2);
    let again = import(&dir, old.path());
    assert!(again.imported.is_empty());
    assert!(
        again
            .skipped
            .iter()
            .all(|file| matches!(file.reason, SkipReason::Exists(_)))
    );
    assert_eq!(
        fs::read_to_string(old.path().join("upgrade_old-layout.json")).unwrap(),
        reference("old-layout")
    );
}

#[test]
fn a_directory_is_imported_in_its_place_for_lists() {
    let (temporary, dir) = data_dir();
    fs::write(temporary.path().join("progress/upgrade_a.json"), reference("a")).unwrap();
    fs::write(temporary.path().join("upgrade_b.json"), reference("b")).unwrap();
    fs::write(temporary.path().join("progress/upgrade_cut.json"), "{").unwrap();
    let options = ProgressTrackerOptions::default();
    let report = import_in_place(&dir, &options).unwrap();
    assert_eq!((ids(&report), report.skipped.len()), (vec!["a", "b"], 1));
    let listed = upgrades(&dir, Timestamp::EPOCH).unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|entry| entry.header.is_ok()));
    let again = import_in_place(&dir, &options).unwrap();
    assert_eq!((ids(&again), again.skipped.len()), (vec![], 1));
}

#[test]
fn what_is_no_file_of_the_reference_is_skipped_with_the_reason() {
    let (temporary, dir) = data_dir();
    let old = tempfile::tempdir().unwrap();
    fs::write(
        old.path().join("upgrade_cut.json"),
        &reference("cut").as_bytes()[..40],
    )
    .unwrap();
    fs::write(old.path().join("upgrade_fine.json"), reference("fine")).unwrap();
    fs::create_dir(old.path().join("upgrade_directory.json")).unwrap();
    std::os::unix::fs::symlink("upgrade_fine.json", old.path().join("upgrade_link.json")).unwrap();
    fs::write(old.path().join("upgrade_ours.json"), reference("ours")).unwrap();
    fs::write(old.path().join("upgrade_ours.jsonl"), "{}\n").unwrap();
    let report = import(&dir, old.path());
    assert_eq!(ids(&report), ["fine"]);
    let reasons: Vec<String> = report
        .skipped
        .iter()
        .map(|file| format!("{}: {}", file.source.file_name().unwrap().display(), file.reason))
        .collect();
    assert_eq!(
        reasons,
        [
            "upgrade_cut.json: it cannot be imported",
            "upgrade_directory.json: it is not a regular file",
            "upgrade_link.json: it is not a regular file",
            "upgrade_ours.json: it is a snapshot: the journal beside it is the truth",
        ]
    );
    assert!(!temporary.path().join("progress/upgrade_cut.jsonl").exists());
    let missing = [old.path().join("nothing")];
    let error = import_reference(&dir, &missing, &ProgressTrackerOptions::default()).unwrap_err();
    assert!(matches!(error, ProgressError::Io { .. }), "{error}");
}

#[test]
fn invalid_ids_are_mapped_and_impossible_values_reported() {
    let (_temporary, dir) = data_dir();
    let old = tempfile::tempdir().unwrap();
    let file = reference("my upgrade").replace("\"0:10:00\"", "\"soon\"");
    fs::write(old.path().join("upgrade_my upgrade.json"), file).unwrap();
    let report = import(&dir, old.path());
    let [imported] = report.imported.as_slice() else {
        panic!("{report:?}")
    };
    assert!(
        imported
            .warnings
            .iter()
            .any(|warning| warning.contains("my upgrade")),
        "{:?}",
        imported.warnings
    );
    assert!(
        imported.warnings.iter().any(|warning| warning.contains("soon")),
        "{:?}",
        imported.warnings
    );
    let tracker = open(&dir, imported.upgrade_id.as_str()).unwrap();
    assert_eq!(tracker.state().metadata["original_id"], "my upgrade");
}

#[test]
fn originals_of_one_name_are_all_kept() {
    let (temporary, dir) = data_dir();
    let path = temporary.path().join("progress/upgrade_old.json");
    fs::write(&path, reference("old")).unwrap();
    open(&dir, "old").unwrap().close_blocking().unwrap();
    remove_upgrade(&dir, &UpgradeId::new("old").unwrap(), Duration::from_secs(5)).unwrap();
    let other = reference("old").replace("prod", "test");
    fs::write(&path, &other).unwrap();
    assert_eq!(&*open(&dir, "old").unwrap().state().cluster_name, "test");
    let kept = |suffix: &str| fs::read_to_string(format!("{}{suffix}", path.display())).unwrap();
    assert_eq!(
        (kept(".reference"), kept(".reference-2")),
        (reference("old"), other)
    );
}

#[test]
fn fault_13_an_import_cut_at_any_step_is_completed() {
    let original = reference("old");
    let half = |text: &str| text.split_at(text.len() / 2).0.to_owned();
    // What a whole import leaves.
    let (whole, dir) = data_dir();
    fs::write(whole.path().join("progress/upgrade_old.json"), &original).unwrap();
    open(&dir, "old").unwrap().close_blocking().unwrap();
    let made = |name: &str| fs::read_to_string(whole.path().join("progress").join(name)).unwrap();
    let (journal, snapshot) = (made("upgrade_old.jsonl"), made("upgrade_old.json"));
    let state = open(&dir, "old").unwrap().state();

    let copied = ("upgrade_old.json.reference", original.clone());
    let recorded = ("upgrade_old.jsonl", journal.clone());
    let points = [
        vec![("upgrade_old.json", original.clone())],
        vec![
            ("upgrade_old.json", original.clone()),
            (".upgrade_old.json.reference.0.tmp", half(&original)),
        ],
        vec![("upgrade_old.json", original.clone()), copied.clone()],
        vec![
            ("upgrade_old.json", original.clone()),
            copied.clone(),
            ("upgrade_old.jsonl", half(&journal)),
        ],
        vec![
            ("upgrade_old.json", original.clone()),
            copied.clone(),
            recorded.clone(),
        ],
        vec![
            ("upgrade_old.json", original.clone()),
            copied.clone(),
            recorded.clone(),
            (".upgrade_old.json.0.tmp", half(&snapshot)),
        ],
        vec![("upgrade_old.json", snapshot.clone()), copied, recorded],
    ];
    let count = points.len();
    for (point, files) in points.into_iter().enumerate() {
        let (cut, dir) = data_dir();
        for (name, content) in files {
            fs::write(cut.path().join("progress").join(name), content).unwrap();
        }
        // Opening completes it, and so does what lists do first.
        if point % 2 == 1 {
            import_in_place(&dir, &ProgressTrackerOptions::default()).unwrap();
        }
        let tracker = open(&dir, "old").unwrap();
        tracker.close_blocking().unwrap();
        let mut expected = state.clone();
        expected.last_report_at = tracker.state().last_report_at;
        assert_eq!(tracker.state(), expected, "point {point}");
        assert_eq!(tracker.head().seq, 1, "point {point}");
        let left = |name: &str| fs::read_to_string(cut.path().join("progress").join(name)).unwrap();
        assert_eq!(left("upgrade_old.json.reference"), original, "point {point}");
        assert_ne!(left("upgrade_old.json"), original, "point {point}");
        let names = fs::read_dir(cut.path().join("progress")).unwrap();
        let leftovers = names.filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .ends_with(".tmp")
        });
        assert_eq!(leftovers.count(), 0, "point {point}");
    }
    println!("FAULT row=13 name=import_cut points={count} completed={count}");
}
