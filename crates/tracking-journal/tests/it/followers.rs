//! Many who follow journals in one process.

use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use tracking_journal::{DataDir, Follower, Journal, JournalOptions};
use tracking_model::StreamId;

use crate::counter::{Command, Counter};

/// More than the instances of inotify that the system gives a user.
const FOLLOWERS: u64 = 300;
/// Nothing here depends on how fast the machine is; what takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn hundreds_are_told_of_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path()).unwrap();
    let (mut journals, mut followers) = (Vec::new(), Vec::new());
    for index in 0..FOLLOWERS {
        let stream: StreamId = format!("upgrade:u-{index}").parse().unwrap();
        let journal = Journal::<Counter>::open(&dir, stream.clone(), JournalOptions::default()).unwrap();
        journal.submit(Command::Add(index)).await.unwrap();
        journals.push(journal);
        followers.push(Follower::<Counter>::open(&dir, &stream).unwrap());
    }
    for round in 1..=3 {
        let mut waiting = JoinSet::new();
        for mut follower in followers.drain(..) {
            waiting.spawn(async move {
                let commit = tokio::time::timeout(PATIENCE, follower.next()).await;
                assert_eq!(commit.unwrap().unwrap().records.len(), 1);
                follower
            });
        }
        // Until each waits.
        yield_now().await;
        for journal in &journals {
            journal.submit(Command::Add(1)).await.unwrap();
        }
        while let Some(follower) = waiting.join_next().await {
            followers.push(follower.unwrap());
        }
        let sums = followers.iter().map(|follower| follower.state().sum);
        assert_eq!(sums.sum::<u64>(), (0..FOLLOWERS).sum::<u64>() + FOLLOWERS * round);
        #[cfg(target_os = "linux")]
        assert!(inotify_instances() <= 1, "{}", inotify_instances());
    }
}

/// Of this process.
#[cfg(target_os = "linux")]
fn inotify_instances() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().contains("inotify"))
        .count()
}
