//! Adding to a session that has much already.

use std::fs;
use std::time::Instant;

use artifact_core::NewFile;
use scenarios::measure::{cpu_time, print};
use tracking_model::NewArtifact;

use super::workload::Bench;

const ARTIFACTS: usize = 100_000;
const MEASURED: usize = 2_000;
const BATCH: usize = 10_000;

/// The processor time of an add, all threads together, snapshots included: of the 100,000th against the first ones.
pub(crate) fn growth() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source.log");
    fs::write(&source, vec![b'x'; 4096]).unwrap();
    let bench = Bench::open(&temp.path().join("data"));
    let add = |from: usize, count: usize| {
        let (began, cpu) = (Instant::now(), cpu_time());
        for number in from..from + count {
            let new = NewArtifact::new().with_name(format!("node-{number}.log"));
            let added = bench
                .manager
                .add_artifact(&bench.session, &bench.collection, &source, new);
            bench.runtime.block_on(added).unwrap();
        }
        let cpu = (cpu_time() - cpu).as_secs_f64() * 1e6 / count as f64;
        (cpu, began.elapsed().as_secs_f64() * 1e6 / count as f64)
    };
    add(0, MEASURED);
    let (first, first_wall) = add(MEASURED, MEASURED);
    let mut next = 2 * MEASURED;
    while next < ARTIFACTS {
        let batch = BATCH.min(ARTIFACTS - next);
        let files = (next..next + batch).map(|number| {
            let new = NewArtifact::new().with_name(format!("node-{number}.log"));
            NewFile::new(&source).with_artifact(new)
        });
        let added = bench
            .manager
            .add_artifacts(&bench.session, &bench.collection, files.collect(), |_| {});
        assert!(bench.runtime.block_on(added).iter().all(Result::is_ok));
        next += batch;
    }
    let (last, last_wall) = add(ARTIFACTS, MEASURED);
    let details = format!(
        "processor time of an add {first:.0} µs at first, {last:.0} µs after {ARTIFACTS} artifacts; {first_wall:.0} and \
         {last_wall:.0} µs of wall time"
    );
    print(
        "an add after 100,000, times of the first",
        last / first,
        "<= 1.20",
        &details,
    );
}
