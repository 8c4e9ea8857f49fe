//! What adding artifacts costs, as ratios measured side by side in one run.
//!
//! `cargo xtask bench ingest`, or one measurement by name: `cargo bench -p scenarios --bench ingest -- small`. Files go
//! below the directory for temporary files: give it a real file system with 8 GiB of space by `TMPDIR`.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![expect(
    clippy::cast_precision_loss,
    reason = "counts of files and bytes are far below 2^52"
)]

mod ingest {
    pub(crate) mod growth;
    pub(crate) mod large;
    pub(crate) mod small;
    pub(crate) mod workload;
}

use ingest::{growth, large, small};
use scenarios::measure;

fn main() {
    let arguments = measure::arguments();
    let all: [(&str, fn()); 3] = [
        ("large", large::large),
        ("small", small::small),
        ("growth", growth::growth),
    ];
    measure::run(&arguments, &all);
}
