//! What cargo knows of the workspace: its members, their targets, features and dependencies.

use std::fs;
use std::path::Path;

use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use cargo_metadata::{Metadata, MetadataCommand, Package, Target, TargetKind};
use toml::Table;

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

    /// The directory that cargo builds in.
    pub(crate) fn target_directory(&self) -> &Utf8Path {
        &self.metadata.target_directory
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

/// A manifest, for what `cargo metadata` does not tell.
pub(crate) fn read_manifest(path: &Path) -> Result<Table, TaskError> {
    let text = fs::read_to_string(path).map_err(|source| TaskError::Read {
        path: path.into(),
        source,
    })?;
    toml::from_str(&text).map_err(|source| TaskError::Manifest {
        path: path.into(),
        source,
    })
}

/// `cargo` with `args` and `--workspace`.
pub(crate) fn cargo_workspace(args: &str) -> Invocation {
    Invocation::cargo(args).args(["--workspace"])
}

/// Workspaces made of a few lines, for tests.
#[cfg(test)]
pub(crate) mod fixture {
    use cargo_metadata::{Metadata, Package};
    use serde_json::{Value, json};

    use super::Workspace;

    /// A dependency, its kind and whether it is optional.
    pub(crate) type Edge = (&'static str, Option<&'static str>, bool);

    /// A workspace of crates and their dependencies.
    pub(crate) fn workspace(members: &[(&str, &[Edge])]) -> Workspace {
        let packages = members.iter().map(|(name, edges)| {
            let mut package = package(name);
            package["dependencies"] = edges.iter().map(dependency).collect();
            package
        });
        from_packages(packages.collect())
    }

    /// A workspace of crates, each with features and benchmarks.
    pub(crate) fn workspace_with_targets(members: &[(&str, &[&str], &[&str])]) -> Workspace {
        let packages = members.iter().map(|(name, features, benches)| {
            let mut package = package(name);
            package["features"] = features
                .iter()
                .map(|feature| ((*feature).to_owned(), json!([])))
                .collect();
            package["targets"] = benches.iter().map(|bench| target(bench)).collect();
            package
        });
        from_packages(packages.collect())
    }

    /// One crate whose manifest holds this `[package.metadata]`.
    pub(crate) fn package_with_metadata(metadata: Value) -> Package {
        let mut package = package("a");
        package["metadata"] = metadata;
        serde_json::from_value(package).unwrap()
    }

    fn from_packages(packages: Vec<Value>) -> Workspace {
        let metadata = json!({
            "packages": packages, "workspace_members": [], "resolve": null, "workspace_root": "/w",
            "target_directory": "/w/target", "version": 1,
        });
        Workspace::from_metadata(serde_json::from_value::<Metadata>(metadata).unwrap())
    }

    fn package(name: &str) -> Value {
        json!({
            "name": name, "version": "0.1.0", "id": name, "dependencies": [], "targets": [], "features": {},
            "manifest_path": format!("/w/crates/{name}/Cargo.toml"),
        })
    }

    fn dependency((name, kind, optional): &Edge) -> Value {
        json!({
            "name": name, "source": null, "req": "*", "kind": kind, "rename": null, "optional": optional,
            "uses_default_features": true, "features": [], "target": null,
        })
    }

    fn target(bench: &str) -> Value {
        json!({ "name": bench, "kind": ["bench"], "src_path": format!("/w/benches/{bench}.rs") })
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::workspace_with_targets;

    #[test]
    fn tests_are_built_with_all_features_but_those_on_request() {
        let workspace = workspace_with_targets(&[
            ("scenarios", &["long-faults"], &[]),
            ("a", &["test-util", "x"], &[]),
        ]);
        assert_eq!(workspace.test_features(&[]), ["--features", "a/test-util,a/x"]);
        assert_eq!(
            workspace.test_features(&["long-faults"]),
            ["--features", "a/test-util,a/x,scenarios/long-faults"]
        );
    }

    #[test]
    fn without_features_there_are_no_arguments() {
        assert_eq!(
            workspace_with_targets(&[("a", &[], &[])]).test_features(&[]),
            [""; 0]
        );
    }
}
