//! What viewers cost whoever writes.

use std::time::Instant;

use super::crowd::Crowd;
use super::served::{Agent, Served, median, paced, print, quantile, report, spread};

/// An update with 100 viewers beside one without any, in interleaved pairs.
pub(crate) fn update() {
    let alone = Agent::start();
    let served = Served::start(Agent::start());
    let mut crowd = Crowd::gather(served.address, 100, 0, false);
    let (mut p50s, mut p99s) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let measure = |agent: &Agent| {
            let mut times = Vec::new();
            paced(100, 200, |_| {
                let begin = Instant::now();
                agent.journal.submit_blocking(report()).unwrap();
                times.push(begin.elapsed().as_secs_f64() * 1e6);
            });
            (quantile(&mut times, 0.5), quantile(&mut times, 0.99))
        };
        let without = measure(&alone);
        let with = measure(&served.agent);
        crowd.wait_for_silence();
        p50s.push(with.0 / without.0);
        p99s.push(with.1 / without.1);
    }
    let details = "100 viewers at 100 events/s, ten interleaved pairs";
    print(
        "update p50 with viewers / without",
        &spread(&p50s),
        "<= 1.1",
        details,
    );
    print(
        "update p99 with viewers / without",
        &spread(&p99s),
        "<= 1.5",
        details,
    );
    assert!(median(&p50s) > 0.0);
}
