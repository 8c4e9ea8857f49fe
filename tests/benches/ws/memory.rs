//! What a viewer that only waits takes.

use std::time::Instant;

use super::crowd::Crowd;
use super::served::{Agent, Served, print};

/// 10,000 viewers that are there.
pub(crate) fn memory() {
    const VIEWERS: usize = 10_000;
    let served = Served::start(Agent::start());
    // What the first viewers cost beside their own: the feed, the threads.
    let few = Crowd::gather(served.address, 10, 0, false);
    let before = resident();
    let begin = Instant::now();
    let mut crowd = Crowd::gather(served.address, VIEWERS, 0, false);
    let took = begin.elapsed();
    assert_eq!(served.hub.stats().viewers, VIEWERS as u64 + 10);
    let kib = |after: u64| (after - before) as f64 / VIEWERS as f64 / 1024.0;
    let idle = kib(resident());
    served.agent.burst(20);
    crowd.wait_for_silence();
    let details = format!(
        "{VIEWERS} held, connected in {:.1} s; after a burst of 20 events {:.1}",
        took.as_secs_f64(),
        kib(resident())
    );
    print(
        "memory of an idle viewer, KiB",
        &format!("{idle:.1}"),
        "<= 24",
        &details,
    );
    drop(few);
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
