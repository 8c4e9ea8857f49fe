//! What all benchmarks need: which measurements are asked for, times and memory, and how results are printed.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// What the benchmark was called with, without what cargo adds.
#[must_use]
pub fn arguments() -> Vec<String> {
    let given = std::env::args().skip(1);
    given.filter(|argument| argument != "--bench").collect()
}

/// Runs the measurements that `arguments` name, all if they name none.
pub fn run(arguments: &[String], all: &[(&str, fn())]) {
    for (name, run) in all {
        if arguments.is_empty() || arguments.iter().any(|wanted| wanted == name) {
            run();
        }
    }
}

/// The middle of `values`; of an even number of them, the mean of the two in the middle.
///
/// # Panics
/// Without any value.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get((values.len() - 1) / 2), values.get(values.len() / 2));
    f64::midpoint(*low.expect("there is a value"), *high.expect("there is a value"))
}

/// Prints one result: what was measured, the ratio, what it is to be, and what it is made of.
#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
pub fn print(what: &str, ratio: f64, aim: &str, details: &str) {
    println!("BENCH {what}: {ratio:.2} (aim {aim}); {details}");
}

/// Processor time that this process has used so far, all threads together.
///
/// # Panics
/// Never: it is neither negative nor out of range.
#[must_use]
pub fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    Duration::new(
        seconds.expect("no process used less than nothing"),
        nanos.expect("it is less than a second"),
    )
}

/// The most memory that this process had in use so far, in KiB.
///
/// # Panics
/// Where the system is not Linux.
#[must_use]
pub fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells of every process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse().ok())
        .expect("the status has a line for it")
}

/// Runs a program that must succeed, and returns what it prints.
///
/// # Panics
/// If it does not succeed, or prints what is no text.
#[must_use]
pub fn output_of(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).expect("it prints text")
}

/// This program, to run a part of a measurement in a process of its own.
///
/// # Panics
/// If the system does not tell which it is.
#[must_use]
pub fn this_program() -> Command {
    Command::new(std::env::current_exe().expect("a program knows itself"))
}

/// Builds `ekstrack` as packages have it, with what the benchmarks have built of it already, and says where it is.
///
/// # Panics
/// If it does not build.
#[must_use]
pub fn released_ekstrack() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--profile",
            "bench",
            "--package",
            "tracking-cli",
        ])
        .status();
    assert!(built.is_ok_and(|status| status.success()), "the command builds");
    let this = std::env::current_exe().expect("a program knows itself");
    let dir = this.ancestors().nth(2).expect("benchmarks lie in `deps`");
    dir.join("ekstrack")
}

/// Seconds that each of 15 runs takes, of a program that must succeed.
///
/// # Panics
/// As [`output_of`].
#[must_use]
pub fn seconds_of(command: &mut Command) -> Vec<f64> {
    let run = |_| {
        let begin = Instant::now();
        drop(output_of(command));
        begin.elapsed().as_secs_f64()
    };
    (0..15).map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        for (values, middle) in [
            (vec![3.0], 3.0),
            (vec![9.0, 1.0, 2.0], 2.0),
            (vec![4.0, 1.0, 2.0, 8.0], 3.0),
        ] {
            assert!((median(values.clone()) - middle).abs() < 1e-9, "{values:?}");
        }
    }

    #[test]
    fn a_process_knows_what_it_used() {
        assert!(peak_memory_kib() > 100);
        assert!(cpu_time() > Duration::ZERO);
    }
}
