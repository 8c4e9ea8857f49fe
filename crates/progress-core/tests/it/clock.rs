//! A clock that jumps.

use progress_core::CompleteOptions;
use tracking_model::{Span, Status};

use crate::fixture::with_tasks;

#[tokio::test]
async fn fault_17_durations_and_estimates_stay_sane_when_the_clock_jumps() {
    const DAY: i64 = 86_400;
    let mut commands = 0;
    let jumps = [-DAY, DAY, -3600, 3600, -1, 1, 0];
    for jump in jumps {
        let (tracker, clock) = with_tasks().await;
        let mut commits = tracker.subscribe(1024);
        tracker.start_upgrade("Test Phase").await.unwrap();
        for task in ["task-1", "task-2", "task-3"] {
            tracker.start_task(task).await.unwrap();
            clock.advance(Span::from_secs(60));
            tracker.update_task_progress(task, 50.0, "on").await.unwrap();
            clock.advance(Span::from_secs(jump));
            let (now, estimate) = (tracker.now(), tracker.estimated_completion().unwrap());
            assert!(estimate.p50.is_none_or(|p50| now <= p50), "{jump}: {estimate:?}");
            assert!(estimate.p50 <= estimate.p90, "{jump}: {estimate:?}");
            tracker.heartbeat(task).await.unwrap();
            assert!(!tracker.task_progress(task).unwrap().stalled);
            tracker.complete_task(task).await.unwrap();
            commands += 4;
        }
        tracker
            .complete_upgrade(CompleteOptions::default())
            .await
            .unwrap();
        let state = tracker.state();
        assert!(state.duration.unwrap() >= Span::ZERO);
        for task in tracker.tasks_by_status(Status::Completed) {
            assert!(task.duration.unwrap() >= Span::ZERO, "{jump}: {task:?}");
        }
        let mut last = 0;
        while let Some(commit) = commits.try_next().unwrap() {
            for record in &commit.records {
                assert!(last == 0 || record.meta.seq == last + 1);
                last = record.meta.seq;
            }
        }
        assert_eq!(last, tracker.head().seq);
    }
    println!(
        "FAULT row=17 name=tracker_under_clock_jumps jumps={} commands={commands} negative=0",
        jumps.len()
    );
}
