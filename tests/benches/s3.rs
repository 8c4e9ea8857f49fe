//! What S3 costs, against boto3 in the same run on the same server: s3s-fs in a process of its own.
//!
//! `cargo xtask bench s3`, or one measurement by name: `cargo bench -p scenarios --bench s3 -- small`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its results and fails by panicking"
)]
#![expect(clippy::cast_precision_loss, reason = "counts of bytes are far below 2^52")]

mod s3 {
    pub(crate) mod boto3;
    pub(crate) mod large;
    pub(crate) mod memory;
    pub(crate) mod server;
    pub(crate) mod small;
    pub(crate) mod work;
}

use std::path::Path;

use s3::{large, memory, server, small};
use scenarios::measure;

fn main() {
    let arguments = measure::arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--serve", dir] => return server::serve(Path::new(dir)),
        ["--upload", endpoint, file] => return memory::upload(endpoint, Path::new(file)),
        _ => {}
    }
    let all: [(&str, fn()); 4] = [
        ("small", small::small),
        ("latency", small::latency),
        ("large", large::large),
        ("memory", memory::memory),
    ];
    measure::run(&arguments, &all);
}
