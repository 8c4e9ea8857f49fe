//! Dependencies that a crate declares and none of its sources names.
//!
//! A crate that needs a dependency for a feature of it alone lists it in its manifest under
//! `[package.metadata.cargo-machete] ignored`, the convention of the tool of that name.

use std::collections::BTreeSet;

use cargo_metadata::{Dependency, DependencyKind, Package};

use crate::error::TaskError;
use crate::sources::{self, SourceFile};
use crate::workspace::{Workspace, package_dir, read_manifest};

/// Looks at every dependency of every member. `notes` gets the versions that the workspace lists for nobody.
pub(crate) fn run(workspace: &Workspace, notes: &mut Vec<String>) -> Result<(), TaskError> {
    notes.extend(unused_versions(workspace)?);
    let files = sources::load(workspace.root())?;
    let mut findings = Vec::new();
    for package in workspace.members() {
        let dir = package_dir(package);
        let dir = dir.strip_prefix(workspace.root()).unwrap_or(&dir);
        let own: Vec<_> = files.iter().filter(|file| file.path.starts_with(dir)).collect();
        let unnamed = package.dependencies.iter().filter(|dependency| {
            let places = own
                .iter()
                .filter(|file| may_name(file, dir.as_str(), dependency.kind));
            // A crate depends on itself to have its own test features in its tests.
            let itself = dependency.name == package.name.as_str();
            let ignored = itself || ignored(package, &dependency.name);
            !ignored && !is_named(crate_name(dependency).as_str(), places.copied())
        });
        findings.extend(unnamed.map(|dependency| describe(package, dependency)));
    }
    TaskError::from_findings("unused dependencies", findings)
}

/// Entries of `[workspace.dependencies]` that no member uses.
fn unused_versions(workspace: &Workspace) -> Result<Vec<String>, TaskError> {
    let used: BTreeSet<_> = workspace
        .members()
        .flat_map(|package| &package.dependencies)
        .map(|dependency| dependency.rename.as_ref().unwrap_or(&dependency.name).as_str())
        .collect();
    let manifest = read_manifest(workspace.root().join("Cargo.toml").as_std_path())?;
    let listed = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"));
    let listed = listed.and_then(toml::Value::as_table).into_iter().flatten();
    let unused = listed
        .map(|(name, _)| name)
        .filter(|name| !used.contains(name.as_str()));
    Ok(unused
        .map(|name| format!("warning: Cargo.toml: no member uses `{name}`"))
        .collect())
}

/// The name by which sources know a dependency.
fn crate_name(dependency: &Dependency) -> String {
    dependency
        .rename
        .as_ref()
        .unwrap_or(&dependency.name)
        .replace('-', "_")
}

fn ignored(package: &Package, name: &str) -> bool {
    let list = &package.metadata["cargo-machete"]["ignored"];
    list.as_array()
        .is_some_and(|list| list.iter().any(|entry| entry == name))
}

fn describe(package: &Package, dependency: &Dependency) -> String {
    let kind = match dependency.kind {
        DependencyKind::Development => "dev-dependency",
        DependencyKind::Build => "build-dependency",
        _ => "dependency",
    };
    format!("{}: no source names the {kind} {}", package.name, dependency.name)
}

/// Whether a file of the crate in `dir` is one where a dependency of this kind can be used.
fn may_name(file: &SourceFile, dir: &str, kind: DependencyKind) -> bool {
    let path = file.path.strip_prefix(dir).unwrap_or(&file.path);
    match kind {
        DependencyKind::Build => path == "build.rs",
        DependencyKind::Development => file.is_rust() || path == "README.md",
        _ => file.is_rust() && path.starts_with("src"),
    }
}

fn is_named<'a>(name: &str, mut files: impl Iterator<Item = &'a SourceFile>) -> bool {
    files.any(|file| file.numbered_lines().any(|(_, line)| names(line, name)))
}

/// Whether a line of code, or of an example in the documentation, has `name::` or `use name`.
fn names(line: &str, name: &str) -> bool {
    let line = line.trim_start();
    let is_remark = line.starts_with("//") && !line.starts_with("///") && !line.starts_with("//!");
    !is_remark
        && line.match_indices(name).any(|(start, _)| {
            let (before, after) = (line.split_at(start).0, line.split_at(start + name.len()).1);
            let starts_word = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '-');
            let imported = before.ends_with("use ") || before.ends_with("extern crate ");
            let ends_word = !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            starts_word && (after.starts_with("::") || (imported && ends_word))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workspace::fixture::package_with_metadata;

    #[test]
    fn paths_and_imports_name_a_crate() {
        for line in [
            "use serde::Serialize;",
            "    serde::to_string(x)",
            "#[derive(serde::Serialize)]",
            "use serde;",
            "extern crate serde as s;",
            "/// use serde::Serialize;",
            "let x = ::serde::ser();",
        ] {
            assert!(names(line, "serde"), "{line}");
        }
    }

    #[test]
    fn other_words_do_not() {
        for line in [
            "use serde_json::Value;",
            "my_serde::x()",
            "// serde::old()",
            "let serde = 1;",
            "use serde2;",
        ] {
            assert!(!names(line, "serde"), "{line}");
        }
    }

    #[test]
    fn a_manifest_may_ask_for_silence() {
        let package =
            package_with_metadata(json!({ "cargo-machete": { "ignored": ["aws-smithy-http-client"] } }));
        assert!(ignored(&package, "aws-smithy-http-client"));
        assert!(!ignored(&package, "serde"));
    }

    #[test]
    fn a_normal_dependency_must_be_named_under_src() {
        let file = |path: &str| SourceFile {
            path: path.into(),
            text: String::new(),
        };
        let test = file("crates/a/tests/it/main.rs");
        assert!(!may_name(&test, "crates/a", DependencyKind::Normal));
        assert!(may_name(&test, "crates/a", DependencyKind::Development));
        assert!(may_name(
            &file("crates/a/src/lib.rs"),
            "crates/a",
            DependencyKind::Normal
        ));
        assert!(may_name(
            &file("crates/a/README.md"),
            "crates/a",
            DependencyKind::Development
        ));
    }
}
