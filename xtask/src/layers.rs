//! Which crate may know which: the layers of `docs/architecture.md`, compared with what cargo says.
//!
//! Three comparisons, all about normal and build dependencies (tests may use what they like):
//! edges between members, the vendors' crates that one member alone may name, and the crates that must not
//! appear anywhere below a member.

use cargo_metadata::{Dependency, DependencyKind, Package};

use crate::error::TaskError;
use crate::invocation::Invocation;
use crate::workspace::Workspace;

/// A crate of the workspace and the members that it may depend on. Any crate may also use `tracking-model`.
///
/// A new edge here is a change of its own, with its reason in the commit.
const LAYERS: &[(&str, &[&str])] = &[
    ("tracking-model", &[]),
    ("tracking-journal", &[]),
    ("progress-core", &["tracking-journal"]),
    ("artifact-core", &["tracking-journal"]),
    ("artifact-index", &["artifact-core", "tracking-journal"]),
    ("aws-connect", &[]),
    (
        "storage-s3",
        &["artifact-core", "aws-connect", "tracking-journal"],
    ),
    // For tests alone: no crate of the product depends on it.
    ("test-servers", &["storage-s3"]),
    ("notify-eventbridge", &["aws-connect", "tracking-journal"]),
    ("stream-ws", &["tracking-journal"]),
    (
        "tracking-facade",
        &[
            "progress-core",
            "artifact-core",
            "storage-s3",
            "artifact-index",
            "notify-eventbridge",
            "stream-ws",
            "tracking-journal",
        ],
    ),
    ("tracking-cli", &["tracking-facade"]),
    ("tracking-server", &["tracking-facade"]),
];
/// The crate that any crate of the product may use.
const FOUNDATION: &str = "tracking-model";
/// The member that exercises all others.
const SCENARIOS: &str = "scenarios";
/// The member that must build without any other.
const XTASK: &str = "xtask";

/// A vendor's crate and the members that may name it.
const FENCES: &[(&str, &[&str])] = &[
    ("aws-config", &["aws-connect"]),
    ("aws-smithy-http-client", &["aws-connect"]),
    ("aws-sdk-s3", &["storage-s3"]),
    ("aws-sdk-eventbridge", &["notify-eventbridge"]),
    ("tokio-tungstenite", &["stream-ws"]),
    ("rusqlite", &["artifact-index"]),
];

/// A member and the crates that must be nowhere in its tree of normal dependencies; `*` ends a prefix.
const ABSENT: &[(&str, &[&str])] = &[
    (
        "tracking-model",
        &[
            "async-trait",
            "cap-std",
            "hyper",
            "mio",
            "mockall",
            "notify",
            "rustix",
            "tempfile",
            "tokio*",
            "aws-*",
        ],
    ),
    (
        "progress-core",
        &[
            "aws-*",
            "tokio-tungstenite",
            "tungstenite",
            "rusqlite",
            "libsqlite3-sys",
            "artifact-*",
            "mockall",
        ],
    ),
    (
        "artifact-core",
        &[
            "aws-*",
            "tokio-tungstenite",
            "tungstenite",
            "rusqlite",
            "libsqlite3-sys",
            "progress-core",
            "mockall",
        ],
    ),
];

/// Compares the workspace with the tables.
pub(crate) fn run(workspace: &Workspace) -> Result<(), TaskError> {
    let mut findings = check_edges(workspace);
    findings.extend(check_fences(workspace));
    for (member, absent) in ABSENT.iter().filter(|(member, _)| workspace.has_member(member)) {
        findings.extend(check_tree(member, absent, &tree(member)?));
    }
    TaskError::from_findings("layers", findings)
}

/// Edges between members that [`LAYERS`] does not allow, and members that it does not know.
fn check_edges(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for package in workspace.members() {
        let Some(allowed) = allowed_members(&package.name) else {
            findings.push(format!("{} has no row in the table of layers", package.name));
            continue;
        };
        for dependency in
            shipped_dependencies(package).filter(|dependency| workspace.has_member(&dependency.name))
        {
            let fine = allowed.is_none_or(|allowed| allowed.contains(&dependency.name.as_str()))
                || (dependency.name == FOUNDATION && package.name.as_str() != XTASK);
            if !fine {
                findings.push(format!("{} may not depend on {}", package.name, dependency.name));
            }
        }
    }
    findings
}

/// `None` for a crate that is not in the table, `Some(None)` for one that may use every other.
fn allowed_members(name: &str) -> Option<Option<&'static [&'static str]>> {
    match name {
        SCENARIOS => Some(None),
        XTASK => Some(Some(&[])),
        _ => LAYERS
            .iter()
            .find(|(layer, _)| *layer == name)
            .map(|(_, allowed)| Some(*allowed)),
    }
}

/// Vendors' crates named outside their fence, and mocks that would be shipped.
fn check_fences(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for package in workspace
        .members()
        .filter(|package| package.name.as_str() != SCENARIOS)
    {
        for dependency in shipped_dependencies(package) {
            let fence = FENCES.iter().find(|(vendor, _)| *vendor == dependency.name);
            if let Some((vendor, members)) = fence
                && !members.contains(&package.name.as_str())
            {
                findings.push(format!(
                    "{} may not name {vendor}: only {} may",
                    package.name,
                    members.join(", ")
                ));
            }
            if dependency.name == "mockall" && !dependency.optional {
                findings.push(format!(
                    "{} ships mockall: make it optional behind `test-util`",
                    package.name
                ));
            }
        }
    }
    findings
}

/// What a user of the crate gets: everything but dev-dependencies.
fn shipped_dependencies(package: &Package) -> impl Iterator<Item = &Dependency> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
}

/// The names of all crates below a member, the member first.
///
/// Listed and then searched, because an inverted query also finds nothing when a name is misspelt.
fn tree(member: &str) -> Result<Vec<String>, TaskError> {
    let listing = Invocation::cargo("tree --edges normal --prefix none --format {p} --package")
        .args([member])
        .output()?;
    Ok(listing
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect())
}

/// Crates in `tree` that must be absent below `member`.
fn check_tree(member: &str, absent: &[&str], tree: &[String]) -> Vec<String> {
    if tree.first().is_none_or(|first| first != member) {
        return vec![format!("the dependency tree of {member} could not be listed")];
    }
    let below = tree.iter().skip(1);
    let mut found: Vec<_> = below
        .filter(|name| absent.iter().any(|pattern| matches(pattern, name)))
        .cloned()
        .collect();
    found.sort();
    found.dedup();
    found
        .into_iter()
        .map(|name| format!("{member} must not have {name} below it"))
        .collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::fixture::workspace;

    #[test]
    fn this_workspace_keeps_its_layers() {
        let workspace = Workspace::load().unwrap();
        if let Err(error) = run(&workspace) {
            panic!("{}", crate::error::chain(&error));
        }
    }

    #[test]
    fn edges_of_the_table_are_fine() {
        let workspace = workspace(&[
            ("tracking-model", &[("serde", None, false)]),
            ("tracking-journal", &[("tracking-model", None, false)]),
            (
                "progress-core",
                &[("tracking-journal", None, false), ("tracking-model", None, false)],
            ),
            (
                "scenarios",
                &[("progress-core", None, false), ("tracking-journal", None, false)],
            ),
            ("xtask", &[("clap", None, false)]),
        ]);
        assert_eq!(check_edges(&workspace), Vec::<String>::new());
    }

    #[test]
    fn edges_outside_the_table_are_found() {
        let workspace = workspace(&[
            ("tracking-model", &[("tracking-journal", None, false)]),
            ("tracking-journal", &[("progress-core", Some("build"), false)]),
            ("progress-core", &[("artifact-core", None, true)]),
            ("artifact-core", &[("progress-core", Some("dev"), false)]),
            ("xtask", &[("tracking-model", None, false)]),
            ("newcomer", &[]),
        ]);
        assert_eq!(
            check_edges(&workspace),
            [
                "tracking-model may not depend on tracking-journal",
                "tracking-journal may not depend on progress-core",
                "progress-core may not depend on artifact-core",
                "xtask may not depend on tracking-model",
                "newcomer has no row in the table of layers",
            ]
        );
    }

    #[test]
    fn vendors_are_named_only_inside_their_fence() {
        let workspace = workspace(&[
            (
                "storage-s3",
                &[("aws-sdk-s3", None, false), ("mockall", None, true)],
            ),
            (
                "artifact-core",
                &[("aws-sdk-s3", None, true), ("rusqlite", Some("dev"), false)],
            ),
            (
                "stream-ws",
                &[("mockall", None, false), ("tokio-tungstenite", None, false)],
            ),
            ("scenarios", &[("tokio-tungstenite", None, false)]),
        ]);
        assert_eq!(
            check_fences(&workspace),
            [
                "artifact-core may not name aws-sdk-s3: only storage-s3 may",
                "stream-ws ships mockall: make it optional behind `test-util`",
            ]
        );
    }

    #[test]
    fn a_tree_is_searched_by_name_and_by_prefix() {
        let tree = ["progress-core", "tokio", "aws-types", "tungstenite", "aws-types"].map(str::to_owned);
        assert_eq!(
            check_tree("progress-core", &["aws-*", "tungstenite", "mio"], &tree),
            [
                "progress-core must not have aws-types below it",
                "progress-core must not have tungstenite below it"
            ]
        );
    }

    #[test]
    fn an_empty_tree_is_not_a_clean_tree() {
        assert_eq!(
            check_tree("x", &[], &[]),
            ["the dependency tree of x could not be listed"]
        );
    }
}
