//! The steps of `cargo xtask test`: each one check, runnable alone.

use clap::ValueEnum;

use crate::error::TaskError;
use crate::faults::FaultLines;
use crate::invocation::Invocation;
use crate::setup::{self, Tool};
use crate::workspace::{Workspace, cargo_workspace};
use crate::{layers, tidy, unused};

/// One check. The order is that of running: cheap ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Install what the checks need
    SetUp,
    /// Formatting
    Fmt,
    /// Dependencies between crates
    Layers,
    /// What sources look like
    Tidy,
    /// Dependencies that nothing names
    Unused,
    /// Licences, banned crates and sources of dependencies
    Licences,
    /// Clippy on all targets with all features
    Clippy,
    /// Clippy without features, and with each of the facade's alone
    Features,
    /// Unit tests, integration tests and scenarios
    Tests,
    /// Examples in the documentation
    Doctests,
    /// The documentation itself
    Docs,
}

impl Step {
    /// Every step, in order.
    pub(crate) const ALL: &[Self] = &[
        Self::SetUp,
        Self::Fmt,
        Self::Layers,
        Self::Tidy,
        Self::Unused,
        Self::Licences,
        Self::Clippy,
        Self::Features,
        Self::Tests,
        Self::Doctests,
        Self::Docs,
    ];
    /// The tests alone.
    pub(crate) const FAST: &[Self] = &[Self::Tests];
    /// The checks of our own, which only read sources.
    pub(crate) const SOURCES: &[Self] = &[Self::Layers, Self::Tidy, Self::Unused];

    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SetUp => "set-up",
            Self::Fmt => "fmt",
            Self::Layers => "layers",
            Self::Tidy => "tidy",
            Self::Unused => "unused",
            Self::Licences => "licences",
            Self::Clippy => "clippy",
            Self::Features => "features",
            Self::Tests => "tests",
            Self::Doctests => "doctests",
            Self::Docs => "docs",
        }
    }

    /// The programs that the step calls, beside cargo.
    fn tools(self) -> &'static [Tool] {
        match self {
            Self::SetUp => Tool::ALL,
            Self::Fmt => &[Tool::Rustfmt],
            Self::Clippy | Self::Features => &[Tool::Clippy],
            Self::Licences => &[Tool::Deny],
            Self::Tests => Tool::TESTS,
            Self::Layers | Self::Tidy | Self::Unused | Self::Doctests | Self::Docs => &[],
        }
    }

    /// Runs the step. `notes` gets the lines that are worth repeating at the end.
    pub(crate) fn run(self, workspace: &Workspace, notes: &mut Vec<String>) -> Result<(), TaskError> {
        setup::ensure(workspace, self.tools())?;
        match self {
            // Having the tools is all of it.
            Self::SetUp => Ok(()),
            Self::Fmt => Invocation::cargo("fmt --all --check").run(),
            Self::Layers => layers::run(workspace),
            Self::Tidy => tidy::run(workspace, notes),
            Self::Unused => unused::run(workspace, notes),
            Self::Licences => licences(),
            Self::Clippy => cargo_workspace("clippy --all-targets --all-features")
                .args(["--", "-D", "warnings"])
                .run(),
            Self::Features => features(workspace),
            Self::Tests => tests(workspace, notes),
            Self::Doctests => cargo_workspace("test --doc")
                .args(workspace.test_features(&[]))
                .run(),
            Self::Docs => cargo_workspace("doc --no-deps --all-features")
                .env("RUSTDOCFLAGS", "-D warnings")
                .run(),
        }
    }
}

/// What `deny.toml` says. A name there that no crate bears yet is no mistake.
fn licences() -> Result<(), TaskError> {
    Invocation::cargo("deny check --hide-inclusion-graph --allow unused-wrapper licenses bans sources").run()
}

/// The crate whose features users choose among; those of the other crates serve tests.
const CRATE_WITH_FEATURES: &str = "tracking-facade";

/// Clippy on every crate without features at once, then on the facade with each of its features alone.
fn features(workspace: &Workspace) -> Result<(), TaskError> {
    let clippy = Invocation::cargo("clippy --no-default-features");
    let deny = ["--", "-D", "warnings"];
    let libraries = workspace
        .product_crates()
        .filter(|package| !package.features.is_empty());
    let packages: Vec<_> = libraries
        .flat_map(|package| ["--package", package.name.as_str()])
        .collect();
    clippy.clone().args(packages).args(deny).run()?;
    let facade = workspace
        .members()
        .find(|package| package.name.as_str() == CRATE_WITH_FEATURES);
    let features = facade.into_iter().flat_map(|package| package.features.keys());
    for feature in features.filter(|name| *name != "default") {
        let alone = ["--package", CRATE_WITH_FEATURES, "--features", feature.as_str()];
        clippy.clone().args(alone).args(deny).run()?;
    }
    Ok(())
}

/// All tests, and at the end the numbers that the fault tests among them printed.
fn tests(workspace: &Workspace, notes: &mut Vec<String>) -> Result<(), TaskError> {
    let mut faults = FaultLines::default();
    let result = cargo_workspace("nextest run")
        .args(workspace.test_features(&[]))
        .run_inspecting(|line| {
            faults.inspect(line);
            if is_nextest_summary(line) {
                notes.push(line.trim().to_owned());
            }
        });
    if !faults.is_empty() {
        println!("\n{}", faults.table());
    }
    result?;
    TaskError::from_findings("fault lines that cannot be read", faults.into_malformed())
}

/// Whether this is nextest's line of totals, with or without colours.
fn is_nextest_summary(line: &str) -> bool {
    line.contains("Summary") && (line.contains("tests run:") || line.contains("test run:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for step in Step::ALL {
            let value = step.to_possible_value().expect("no step is hidden");
            assert_eq!(value.get_name(), step.name());
        }
        assert_eq!(Step::ALL.len(), Step::value_variants().len());
    }

    #[test]
    fn finds_the_summary_of_nextest() {
        assert!(is_nextest_summary(
            "     Summary [   1.2s] 12 tests run: 12 passed, 0 skipped"
        ));
        assert!(is_nextest_summary(
            "\u{1b}[32m     Summary\u{1b}[0m [ 1s] 1 test run: 1 passed, 0 skipped"
        ));
        assert!(!is_nextest_summary(
            "        PASS [   0.004s] xtask steps::tests::Summary"
        ));
    }
}
