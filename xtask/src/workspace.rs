//! What cargo knows of the workspace: its members, their targets, features and dependencies.

use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::{Metadata, MetadataCommand, Package, Target, TargetKind};

use crate::error::TaskError;
use crate::invocation::Invocation;

/// Features whose tests run only on request, because they take long or need the outside world.
///
/// They are left out when tests are built, so that no test is listed and then skipped.
const ON_REQUEST_FEATURES: &[&str] = &["long-faults"];

/// The workspace, as `cargo metadata --no-deps` describes it.
#[derive(Debug)]
pub(crate) struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    /// Reads the metadata of the workspace that holds the current directory.
    pub(crate) fn load() -> Result<Self, TaskError> {
        Ok(Self::from_metadata(MetadataCommand::new().no_deps().exec()?))
    }

    /// Takes metadata that was read already.
    pub(crate) fn from_metadata(metadata: Metadata) -> Self {
        Self { metadata }
    }

    /// The directory of the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Utf8Path {
        &self.metadata.workspace_root
    }

    /// The member crates.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.metadata.packages.iter()
    }

    /// The member crates under `crates/`: the product itself.
    pub(crate) fn product_crates(&self) -> impl Iterator<Item = &Package> {
        self.members()
            .filter(|package| package.manifest_path.starts_with(self.root().join("crates")))
    }

    /// Whether a member has this name.
    pub(crate) fn has_member(&self, name: &str) -> bool {
        self.members().any(|package| package.name.as_str() == name)
    }

    /// Every benchmark with the crate that it belongs to.
    pub(crate) fn benches(&self) -> impl Iterator<Item = (&Package, &Target)> {
        self.members().flat_map(|package| {
            let benches = package
                .targets
                .iter()
                .filter(|target| target.kind.contains(&TargetKind::Bench));
            benches.map(move |target| (package, target))
        })
    }

    /// The arguments with which tests are built: every feature of every member, except those on request.
    ///
    /// Tests and doctests use the same, so that they share what was compiled.
    pub(crate) fn test_features(&self, on_request: &[&str]) -> Vec<String> {
        let mut features = Vec::new();
        for package in self.members() {
            for feature in package.features.keys() {
                let wanted = !ON_REQUEST_FEATURES.contains(&feature.as_str())
                    || on_request.contains(&feature.as_str());
                if wanted {
                    features.push(format!("{}/{feature}", package.name));
                }
            }
        }
        features.sort();
        if features.is_empty() {
            features
        } else {
            vec!["--features".to_owned(), features.join(",")]
        }
    }
}

/// The directory of a member.
pub(crate) fn package_dir(package: &Package) -> Utf8PathBuf {
    package
        .manifest_path
        .parent()
        .map(Utf8Path::to_owned)
        .unwrap_or_default()
}

/// `cargo` with `args` and `--workspace`.
pub(crate) fn cargo_workspace(args: &str) -> Invocation {
    Invocation::cargo(args).args(["--workspace"])
}
