//! Adding to a session that has much already.

use std::fs;
use std::path::Path;
use std::time::Instant;

use artifact_core::NewFile;
use scenarios::measure::{cpu_time, median, print};
use tracking_model::NewArtifact;

use super::workload::Bench;

const ARTIFACTS: usize = 100_000;
const WARM: usize = 1_000;
const BATCH: usize = 10_000;
const ROUNDS: usize = 31;
const MEASURED: usize = 100;

/// The processor time of an add, all threads together: after 100,000 others against after few, in turn. In memory where there
/// is such a file system, for ext4 looks for a free inode among those that were freed within a minute, which may take several
/// times what an add does. The snapshot of the many is told apart: it is written in the background, for a twentieth of the
/// time at most, however long it takes.
pub(crate) fn growth() {
    let memory = Path::new("/dev/shm");
    let temp = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    let temp = temp.unwrap();
    // Each with a content of its own.
    let source = |number: usize| {
        let path = temp.path().join(format!("source-{}.log", number % BATCH));
        let mut bytes = vec![b'x'; 4096];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        path
    };
    let (few, many) = (
        Bench::open(&temp.path().join("few")),
        Bench::open(&temp.path().join("many")),
    );
    let named = |number: usize| NewArtifact::new().with_name(format!("node-{number}.log"));
    for begin in (0..ARTIFACTS).step_by(BATCH) {
        let file = |number| NewFile::new(source(number)).with_artifact(named(number));
        let files = (begin..begin + BATCH).map(file);
        let added = many
            .manager
            .add_artifacts(&many.session, &many.collection, files.collect(), |_| {});
        assert!(many.runtime.block_on(added).iter().all(Result::is_ok));
    }
    // Microseconds of an add: of all processors, and as the caller waits.
    let mut next = ARTIFACTS;
    let mut add = |to: &Bench, count: usize| {
        let sources: Vec<_> = (next..next + count)
            .map(|number| (number, source(number)))
            .collect();
        let (began, cpu) = (Instant::now(), cpu_time());
        for (number, source) in sources {
            let added = to
                .manager
                .add_artifact(&to.session, &to.collection, source, named(number));
            to.runtime.block_on(added).unwrap();
        }
        next += count;
        let each = |seconds: f64| seconds * 1e6 / count as f64;
        (
            each((cpu_time() - cpu).as_secs_f64()),
            each(began.elapsed().as_secs_f64()),
        )
    };
    add(&few, WARM);
    add(&many, WARM);
    few.runtime.block_on(few.manager.close()).unwrap();
    let began = Instant::now();
    many.runtime.block_on(many.manager.close()).unwrap();
    let snapshot = began.elapsed().as_secs_f64();
    let (mut ratios, mut at_first, mut later) = (vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let (first, last) = if round % 2 == 0 {
            let first = add(&few, MEASURED);
            (first, add(&many, MEASURED))
        } else {
            let last = add(&many, MEASURED);
            (add(&few, MEASURED), last)
        };
        ratios.push(last.0 / first.0);
        at_first.push(first);
        later.push(last);
    }
    let cpu = |adds: &[(f64, f64)]| median(adds.iter().map(|(cpu, _)| *cpu).collect());
    let wall = |adds: &[(f64, f64)]| median(adds.iter().map(|(_, wall)| *wall).collect());
    let details = format!(
        "processor time of an add {:.0} µs after {WARM}, {:.0} µs after {ARTIFACTS} artifacts; {:.0} and {:.0} µs of wall time; \
         the snapshot of these takes {snapshot:.1} s, texts read for the first time",
        cpu(&at_first),
        cpu(&later),
        wall(&at_first),
        wall(&later)
    );
    print(
        "an add after 100,000, times of the first",
        median(ratios),
        "<= 1.20",
        &details,
    );
}
