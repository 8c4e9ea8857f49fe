//! What the journal costs, as ratios measured side by side in one run.
//!
//! `cargo xtask bench journal`, or one measurement by name: `cargo bench -p scenarios --bench journal -- one-caller`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its results and fails by panicking"
)]
#![expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^52")]

mod journal {
    pub(crate) mod append;
    pub(crate) mod history;
    pub(crate) mod show;
    pub(crate) mod workload;
}

use journal::{append, history, show};
use scenarios::measure;

fn main() {
    let arguments = measure::arguments();
    if let [child, what, dir] = arguments.as_slice()
        && child == "--child"
    {
        history::child(what, std::path::Path::new(dir));
        return;
    }
    let all: [(&str, fn()); 6] = [
        ("one-caller", append::one_caller),
        ("many-callers", append::many_callers),
        ("in-flight", append::in_flight),
        ("update-after-history", history::update_after_history),
        ("million-events", history::million_events),
        ("show", show::show),
    ];
    measure::run(&arguments, &all);
}
