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
mod opener;
mod setup;
mod sources;
mod steps;
mod table;
mod test;
mod tidy;
mod unused;
mod workspace;

use std::env;
use std::process::ExitCode;

use clap::Parser;

use crate::error::TaskError;
use crate::flags::{Flags, Task};
use crate::steps::Step;
use crate::test::AfterFailure;
use crate::workspace::Workspace;

fn main() -> ExitCode {
    match run(&Flags::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {}", error::chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Runs a task from the workspace's root, wherever in it the caller stands.
fn run(task: &Task) -> Result<(), TaskError> {
    let workspace = Workspace::load()?;
    env::set_current_dir(workspace.root()).map_err(|source| TaskError::Read {
        path: workspace.root().into(),
        source,
    })?;
    match task {
        Task::Test(flags) => test::run(&workspace, flags),
        Task::Tidy => test::run_steps(&workspace, Step::SOURCES, AfterFailure::KeepGoing),
        Task::Layers => test::run_steps(&workspace, &[Step::Layers], AfterFailure::Stop),
        Task::Faults(flags) => faults::run(&workspace, flags),
        Task::Bench(flags) => bench::run(&workspace, flags),
    }
}
