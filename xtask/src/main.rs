//! The workspace's own tasks, run as `cargo xtask <task>`.
//!
//! - [`test`](mod@test): every check that CI runs, each a [`Step`] that can be run alone;
//! - [`faults`]: the fault tests, with the numbers that they print in one table;
//! - [`bench`](mod@bench): the benchmarks.
//!
//! The checks of our own are [`layers`] (which crate may know which), [`tidy`] (what sources look like)
//! and [`unused`] (dependencies that nothing names); the others call cargo and its companions.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for people: it reports on the terminal"
)]

mod bench;
mod error;
mod faults;
mod flags;
mod invocation;
mod layers;
mod links;
mod modules;
mod setup;
mod sources;
mod steps;
mod table;
mod test;
mod tidy;
mod unused;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::flags::{Flags, Task};
use crate::steps::Step;
use crate::test::AfterFailure;

fn main() -> ExitCode {
    let result = match Flags::parse().task {
        Task::Test(flags) => test::run(&flags),
        Task::Tidy => test::run_steps(Step::SOURCES, AfterFailure::KeepGoing),
        Task::Layers => test::run_steps(&[Step::Layers], AfterFailure::Stop),
        Task::Faults(flags) => faults::run(&flags),
        Task::Bench(flags) => bench::run(&flags),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {}", error::chain(&error));
            ExitCode::FAILURE
        }
    }
}
