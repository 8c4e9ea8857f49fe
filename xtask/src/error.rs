//! What can go wrong in a task.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use thiserror::Error;

/// Why a task did not succeed.
#[derive(Debug, Error)]
pub(crate) enum TaskError {
    /// `cargo metadata` failed.
    #[error("could not read the workspace's metadata")]
    Metadata(#[from] cargo_metadata::Error),
    /// A program could not be started.
    #[error("could not start `{command}`: is it installed and on the PATH?")]
    Spawn { command: String, source: io::Error },
    /// A tool is neither there nor could it be installed.
    #[error("`{tool}` is absent and could not be installed; install it by hand and try again")]
    Absent {
        tool: &'static str,
        source: Option<Box<Self>>,
    },
    /// The output of a program could not be read.
    #[error("could not read the output of `{command}`")]
    Output { command: String, source: io::Error },
    /// A program ran and reported failure.
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: ExitStatus },
    /// A file could not be read.
    #[error("could not read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The files of the workspace could not be listed.
    #[error("could not list the files under {}", root.display())]
    Walk { root: PathBuf, source: ignore::Error },
    /// A manifest is not valid TOML.
    #[error("could not parse {}", path.display())]
    Manifest { path: PathBuf, source: toml::de::Error },
    /// A check of our own found something.
    #[error("{check}: {count} found\n{list}", count = findings.len(), list = bullets(findings))]
    Findings {
        check: &'static str,
        findings: Vec<String>,
    },
    /// A step of `cargo xtask test` failed.
    #[error("step `{step}` failed; to run it alone: {alone}")]
    Step {
        step: &'static str,
        alone: String,
        source: Box<Self>,
    },
    /// A benchmark was asked for that does not exist.
    #[error("no benchmark is named `{name}`; there are: {known}")]
    UnknownBench { name: String, known: String },
}

impl TaskError {
    /// `Ok` when nothing was found, else the findings as an error of `check`.
    pub(crate) fn from_findings(check: &'static str, findings: Vec<String>) -> Result<(), Self> {
        if findings.is_empty() {
            Ok(())
        } else {
            Err(Self::Findings { check, findings })
        }
    }
}

/// The error and its sources, one a line.
pub(crate) fn chain(error: &TaskError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, "\n  because: {cause}").expect("writing to a String cannot fail");
        source = cause.source();
    }
    text
}

fn bullets(findings: &[String]) -> String {
    findings
        .iter()
        .map(|finding| format!("  - {finding}"))
        .collect::<Vec<_>>()
        .join("\n")
}
