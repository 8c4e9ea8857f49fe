//! Callbacks, good and bad.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, RecvError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use progress_core::{CallbackGuard, ProgressTracker, ProgressTrackerOptions};
use tracking_model::Status;

use crate::fixture::{data_dir, open, sample_tasks, upgrade, with_tasks};

#[tokio::test]
async fn events_are_told_in_order() {
    let (tracker, _) = with_tasks().await;
    let (sender, told) = channel();
    tracker
        .add_event_callback(move |event| {
            sender
                .send((event.message.to_string(), event.percentage))
                .unwrap()
        })
        .unwrap()
        .detach();
    tracker
        .update_task_progress("task-1", 50.0, "Half way complete")
        .await
        .unwrap();
    tracker.complete_task("task-1").await.unwrap();
    tracker.close().await.unwrap();
    let told: Vec<_> = told
        .iter()
        .map(|(message, percent)| (message, percent.unwrap().value()))
        .collect();
    let expected = [
        ("Task started", 0.0),
        ("Half way complete", 50.0),
        ("Task completed", 100.0),
    ];
    assert_eq!(
        told,
        expected.map(|(message, percent)| (message.to_owned(), percent))
    );
}

#[tokio::test]
async fn a_status_is_told_with_its_task() {
    let (tracker, _) = with_tasks().await;
    let (sender, told) = channel();
    let guard = tracker
        .add_status_callback(Status::Failed, move |task| {
            sender
                .send((task.task_name.clone(), task.error_message.clone()))
                .unwrap();
        })
        .unwrap();
    assert_eq!(
        tracker.system_info().callbacks.status_callbacks[&Status::Failed],
        1
    );
    tracker.start_task("task-1").await.unwrap();
    tracker.complete_task("task-2").await.unwrap();
    tracker.fail_task("task-1", "no capacity").await.unwrap();
    assert_eq!(
        told.recv().unwrap(),
        ("First Task".into(), Some("no capacity".into()))
    );
    guard.remove();
    tracker.fail_task("task-3", "no capacity").await.unwrap();
    tracker.close().await.unwrap();
    assert_eq!(told.iter().count(), 0);
    assert!(tracker.system_info().callbacks.status_callbacks.is_empty());
}

#[tokio::test]
async fn what_another_process_does_is_told_as_well() {
    let (_temporary, dir) = data_dir();
    let agent = open(&dir, "agent");
    let (sender, told) = channel();
    let _guard = agent
        .add_event_callback(move |event| sender.send(event.task_id.clone()).unwrap())
        .unwrap();
    let other = open(&dir, "other");
    other.add_tasks(sample_tasks()).await.unwrap();
    other.start_task("task-2").await.unwrap();
    assert_eq!(told.recv().unwrap().as_str(), "task-2");
}

/// A callback that waits until `release` is dropped.
fn blocking(tracker: &ProgressTracker, release: Receiver<()>) -> CallbackGuard {
    tracker
        .add_event_callback(move |_| assert_eq!(release.recv(), Err(RecvError)))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_24_bad_callbacks_harm_nobody() {
    const EVENTS: usize = 500;
    const QUEUE: usize = 64;
    let options = ProgressTrackerOptions::default()
        .with_callback_queue(QUEUE)
        .with_callback_patience(Duration::ZERO);
    let tracker = ProgressTracker::in_memory(upgrade(), options).unwrap();
    tracker.add_tasks(sample_tasks()).await.unwrap();

    let (sender, good) = channel();
    let _good = tracker
        .add_event_callback(move |event| sender.send(event.percentage).unwrap())
        .unwrap();
    let _panics = tracker
        .add_event_callback(|_| {
            // A panic without the message and backtrace that the hook of every `panic!` prints.
            resume_unwind(Box::new("a callback that panics"))
        })
        .unwrap();
    let (release, released) = channel();
    let blocked = blocking(&tracker, released);
    let own: Arc<Mutex<Option<CallbackGuard>>> = Arc::default();
    let (sender, unregistered) = channel();
    let taken = Arc::clone(&own);
    let guard = tracker
        .add_event_callback(move |_| {
            // Waits until the guard is there, then drops it within the call.
            while taken.lock().unwrap().take().is_none() {
                std::thread::yield_now();
            }
            sender.send(()).unwrap();
        })
        .unwrap();
    *own.lock().unwrap() = Some(guard);

    let mut slowest = Duration::ZERO;
    for n in 0..EVENTS {
        let begun = Instant::now();
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        tracker
            .update_task_progress("task-1", n as f64 / 10.0, "on")
            .await
            .unwrap();
        slowest = slowest.max(begun.elapsed());
        // The good one keeps up, so none of its calls may be left out; the first report also starts the task.
        for _ in 0..=usize::from(n == 0) {
            good.recv().unwrap();
        }
    }
    assert_eq!(unregistered.iter().count(), 1);
    assert_eq!(tracker.system_info().callbacks.event_callbacks, 3);
    tracker.close().await.unwrap();
    // The tracker is closed with one callback still blocked; now all of them come to their end.
    drop((blocked, release));
    let info = loop {
        let info = tracker.system_info().callbacks;
        if info.panicked > 0 && info.delivered > EVENTS as u64 {
            break info;
        }
        tokio::task::yield_now().await;
    };
    assert!(info.dropped > 0, "{info:?}");
    assert_eq!(info.missed, 0);
    println!(
        "FAULT row=24 name=bad_callbacks callbacks=4 acks={EVENTS} told={} panics={} left_out={} slowest_ack_us={}",
        EVENTS + 1,
        info.panicked,
        info.dropped,
        slowest.as_micros()
    );
}

#[tokio::test]
async fn a_callback_may_use_its_tracker() {
    let (tracker, _) = with_tasks().await;
    let (sender, told) = channel();
    let within = tracker.clone();
    let guard = tracker
        .add_status_callback(Status::Completed, move |task| {
            sender
                .send((task.task_id.clone(), within.calculate_progress_percentage()))
                .unwrap();
        })
        .unwrap();
    for id in ["task-1", "task-2", "task-3"] {
        tracker.complete_task(id).await.unwrap();
    }
    assert_eq!(told.iter().take(3).last().unwrap().1.value(), 100.0);
    drop(guard);
}
