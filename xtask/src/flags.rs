//! The command line of `cargo xtask`.

use clap::{Args, Parser, Subcommand};

use crate::steps::Step;

/// The workspace's own tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Run every check that CI runs
    #[command(visible_alias = "ci")]
    Test(TestFlags),
    /// Run the checks that only read sources: layers, tidy, unused dependencies
    Tidy,
    /// Compare the dependencies between crates with the table of layers
    Layers,
    /// Run the fault tests and print their numbers in one table
    Faults(FaultFlags),
    /// Run the benchmarks
    Bench(BenchFlags),
}

/// Which steps to run.
#[derive(Debug, Args)]
pub(crate) struct TestFlags {
    /// Run the tests alone
    #[arg(long, conflicts_with = "step")]
    pub(crate) fast: bool,
    /// Run only this step; may be repeated
    #[arg(long, value_name = "STEP")]
    pub(crate) step: Vec<Step>,
    /// Run the steps after one that failed too
    #[arg(long)]
    pub(crate) keep_going: bool,
}

/// How hard to try.
#[derive(Debug, Args)]
pub(crate) struct FaultFlags {
    /// Run the long fault tests too
    #[arg(long)]
    pub(crate) long: bool,
    /// Seed of everything random, to repeat a run [default: each test chooses and prints its own]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How often to repeat what is repeated (kills, crash states) [default: each test's own]
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
}

/// Which benchmarks to run.
#[derive(Debug, Args)]
pub(crate) struct BenchFlags {
    /// Names of benchmarks [default: all]
    pub(crate) names: Vec<String>,
    /// List the benchmarks instead of running them
    #[arg(long)]
    pub(crate) list: bool,
    /// Arguments for the benchmarks themselves
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}
