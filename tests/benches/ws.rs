//! What live viewers cost, as ratios measured side by side in one run.
//!
//! `cargo xtask bench ws`, or one measurement by name: `cargo bench -p scenarios --bench ws -- fan-out`. The server is in
//! this process; viewers are in another, so that the processor time of each is told apart.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its results and fails by panicking"
)]
#![expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^52")]

mod ws {
    pub(crate) mod bare;
    pub(crate) mod crowd;
    pub(crate) mod delivery;
    pub(crate) mod elsewhere;
    pub(crate) mod fan_out;
    pub(crate) mod frames;
    pub(crate) mod memory;
    pub(crate) mod python;
    pub(crate) mod resume;
    pub(crate) mod served;
    pub(crate) mod snapshot;
    pub(crate) mod update;
}

use scenarios::measure;
use ws::{crowd, delivery, elsewhere, fan_out, memory, resume, snapshot, update};

fn main() {
    let arguments = measure::arguments();
    if let [child, rest @ ..] = arguments.as_slice()
        && child == "--child"
    {
        crowd::child(rest);
        return;
    }
    if let [agent, dir] = arguments.as_slice()
        && agent == "--agent"
    {
        elsewhere::child(std::path::Path::new(dir));
        return;
    }
    let all: [(&str, fn()); 7] = [
        ("fan-out", fan_out::fan_out),
        ("delivery", delivery::beside_the_deaf),
        ("latency", delivery::latency),
        ("update", update::update),
        ("memory", memory::memory),
        ("resume", resume::resume),
        ("snapshot", snapshot::snapshot),
    ];
    measure::run(&arguments, &all);
}
