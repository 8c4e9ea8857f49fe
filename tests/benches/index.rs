//! What finding artifacts costs: building the index, each kind of query, the command as a whole, memory.
//!
//! `cargo xtask bench index`, or one measurement by name: `cargo bench -p scenarios --bench index -- small`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its results and fails by panicking"
)]
#![expect(
    clippy::cast_precision_loss,
    reason = "counts of artifacts are far below 2^52"
)]

mod index {
    pub(crate) mod dataset;
    pub(crate) mod measure;
    pub(crate) mod queries;
}

use index::measure;

fn main() {
    let arguments = scenarios::measure::arguments();
    if let [child, dir] = arguments.as_slice()
        && child == "--child"
    {
        measure::child(std::path::Path::new(dir));
        return;
    }
    let all: [(&str, fn()); 2] = [("small", measure::small), ("large", measure::large)];
    scenarios::measure::run(&arguments, &all);
}
