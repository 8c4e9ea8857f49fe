//! Installing what the checks need and a bare Rust toolchain lacks.

use crate::error::TaskError;
use crate::invocation::Invocation;

/// A subcommand of cargo that must be there, how to see whether it is, and how it is installed.
struct Tool {
    name: &'static str,
    probe: &'static str,
    install: Invocation,
}

/// Installs the tools that are absent. Costs some minutes the first time, nothing afterwards.
pub(crate) fn run() -> Result<(), TaskError> {
    for tool in tools() {
        let probe = Invocation::cargo(tool.probe);
        if probe.succeeds() {
            println!("{} is installed", tool.name);
        } else {
            println!("{} is absent: installing it, once", tool.name);
            tool.install.run()?;
        }
    }
    Ok(())
}

fn tools() -> [Tool; 4] {
    [
        Tool {
            name: "rustfmt",
            probe: "fmt --version",
            install: component("rustfmt"),
        },
        Tool {
            name: "clippy",
            probe: "clippy --version",
            install: component("clippy"),
        },
        Tool {
            name: "cargo-nextest",
            probe: "nextest --version",
            install: Invocation::cargo("install --locked cargo-nextest --version 0.9.143"),
        },
        Tool {
            name: "cargo-deny",
            probe: "deny --version",
            install: Invocation::cargo("install --locked cargo-deny --version 0.20.2"),
        },
    ]
}

fn component(name: &str) -> Invocation {
    Invocation::new("rustup", "component add").args([name])
}
