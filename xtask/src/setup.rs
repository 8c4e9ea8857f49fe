//! Installing what the checks need and a bare Rust toolchain lacks.

use crate::error::TaskError;
use crate::invocation::Invocation;
use crate::workspace::Workspace;

/// What the Python of the tests has, all versions pinned.
const PYTHON_PACKAGES: &str = "xtask/test-servers.txt";
/// Where that Python is, below the directory that cargo builds in.
const PYTHON_PLACE: &str = "test-servers/python";

/// A program that some check calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Rustfmt,
    Clippy,
    Nextest,
    Deny,
    /// Fault tests kill a writer at a chosen system call.
    Strace,
    /// Servers that stand in for AWS, and clients that others wrote, in a virtual environment of their own.
    TestServers,
    /// A browser that views an upgrade.
    Chromium,
    /// Long fault tests add files on a file system of this kind, whose files can share blocks.
    MkfsXfs,
    /// As [`Self::MkfsXfs`].
    MkfsBtrfs,
}

impl Tool {
    /// All that `cargo xtask test` calls here; what long tests need besides is not among it.
    pub(crate) const ALL: &[Self] = &[
        Self::Rustfmt,
        Self::Clippy,
        Self::Nextest,
        Self::Deny,
        Self::Strace,
        Self::TestServers,
        Self::Chromium,
    ];
    /// What tests need.
    pub(crate) const TESTS: &[Self] = &[Self::Nextest, Self::Strace, Self::TestServers, Self::Chromium];
    /// What tests need if those run too that take long.
    pub(crate) const LONG_TESTS: &[Self] = &[
        Self::Nextest,
        Self::Strace,
        Self::TestServers,
        Self::Chromium,
        Self::MkfsXfs,
        Self::MkfsBtrfs,
    ];
    /// What benchmarks need.
    pub(crate) const BENCHES: &[Self] = &[Self::TestServers];

    fn recipe(self, workspace: &Workspace) -> Recipe {
        match self {
            Self::Rustfmt => Recipe::component("rustfmt", "fmt --version"),
            Self::Clippy => Recipe::component("clippy", "clippy --version"),
            Self::Nextest => Recipe::companion("cargo-nextest", "nextest --version", "0.9.143"),
            Self::Deny => Recipe::companion("cargo-deny", "deny --version", "0.20.2"),
            Self::Strace => Recipe::system_package("strace", Invocation::new("strace", "--version")),
            Self::TestServers => {
                let place = workspace.target_directory().join(PYTHON_PLACE);
                Recipe::python("moto_server", place.as_str())
            }
            Self::Chromium => {
                let probe = Invocation::new("sh", "-c").args(["command -v chromium-headless-shell"]);
                Recipe::system_package("chromium-headless-shell", probe)
            }
            Self::MkfsXfs => Recipe::system_package("xfsprogs", Invocation::new("mkfs.xfs", "-V")),
            Self::MkfsBtrfs => {
                Recipe::system_package("btrfs-progs", Invocation::new("mkfs.btrfs", "--version"))
            }
        }
    }

    /// Whether there is such a program for this system.
    fn exists_here(self) -> bool {
        let linux = matches!(
            self,
            Self::Strace | Self::Chromium | Self::MkfsXfs | Self::MkfsBtrfs
        );
        !linux || cfg!(target_os = "linux")
    }
}

/// Installs those of `tools` that are absent: some minutes the first time, nothing afterwards.
pub(crate) fn ensure(workspace: &Workspace, tools: &[Tool]) -> Result<(), TaskError> {
    tools
        .iter()
        .filter(|tool| tool.exists_here())
        .try_for_each(|tool| tool.recipe(workspace).ensure())
}

/// How to see whether a program is there, and how to install it.
struct Recipe {
    name: &'static str,
    probe: Invocation,
    /// Tried in order until one succeeds.
    installs: Vec<Invocation>,
}

impl Recipe {
    fn component(name: &'static str, probe: &str) -> Self {
        let install = Invocation::new("rustup", "component add").args([name]);
        Self {
            name,
            probe: Invocation::cargo(probe),
            installs: vec![install],
        }
    }

    fn companion(name: &'static str, probe: &str, version: &str) -> Self {
        let install = Invocation::cargo("install --locked").args([name, "--version", version]);
        Self {
            name,
            probe: Invocation::cargo(probe),
            installs: vec![install],
        }
    }

    fn system_package(name: &'static str, probe: Invocation) -> Self {
        let script = format!("apt-get update -qq && apt-get install -qq --yes {name}");
        let as_root = Invocation::new("sh", "-c").args([script.as_str()]);
        let with_sudo = Invocation::new("sudo", "-n sh -c").args([script.as_str()]);
        Self {
            name,
            probe,
            installs: vec![as_root, with_sudo],
        }
    }

    /// A virtual environment at `place` with [`PYTHON_PACKAGES`]. It holds a copy of that list, so that a change of
    /// the list makes it anew.
    fn python(name: &'static str, place: &str) -> Self {
        let there =
            format!("'{place}/bin/python' --version && cmp '{PYTHON_PACKAGES}' '{place}/packages.txt'");
        let make = format!(
            "rm -rf '{place}' && python3 -m venv '{place}' && \
             '{place}/bin/python' -m pip install --quiet --disable-pip-version-check --requirement '{PYTHON_PACKAGES}' && \
             cp '{PYTHON_PACKAGES}' '{place}/packages.txt'"
        );
        let with_venv = format!("apt-get update -qq && apt-get install -qq --yes python3-venv && {make}");
        let shell = |script: &str| Invocation::new("sh", "-c").args([script]);
        Self {
            name,
            probe: shell(&there),
            installs: vec![shell(&make), shell(&with_venv)],
        }
    }

    fn ensure(&self) -> Result<(), TaskError> {
        if self.probe.succeeds() {
            return Ok(());
        }
        println!("{} is absent: installing it, once", self.name);
        let mut outcome = Err(TaskError::Absent {
            tool: self.name,
            source: None,
        });
        for install in &self.installs {
            outcome = install.run().map_err(|error| TaskError::Absent {
                tool: self.name,
                source: Some(Box::new(error)),
            });
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(probe: &'static str, installs: Vec<Invocation>) -> Recipe {
        Recipe {
            name: "tool",
            probe: Invocation::new(probe, ""),
            installs,
        }
    }

    #[test]
    fn file_systems_are_made_by_long_tests_alone() {
        for tool in [Tool::MkfsXfs, Tool::MkfsBtrfs] {
            assert!(Tool::LONG_TESTS.contains(&tool));
            assert!(!Tool::ALL.contains(&tool) && !Tool::TESTS.contains(&tool));
        }
        assert!(Tool::TESTS.iter().all(|tool| Tool::LONG_TESTS.contains(tool)));
    }

    #[test]
    fn what_is_there_is_not_installed() {
        recipe("true", vec![Invocation::new("false", "")])
            .ensure()
            .unwrap();
    }

    #[test]
    fn the_next_way_is_tried_when_one_fails() {
        recipe(
            "false",
            vec![Invocation::new("false", ""), Invocation::new("true", "")],
        )
        .ensure()
        .unwrap();
    }

    #[test]
    fn what_cannot_be_installed_is_named() {
        let error = recipe("false", vec![Invocation::new("false", "")])
            .ensure()
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("`tool` is absent and could not be installed"),
            "{error}"
        );
    }
}
