//! What sources look like: rules that neither rustfmt nor clippy knows.

use std::collections::BTreeSet;

use cargo_metadata::Package;
use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use toml::Table;

use crate::error::TaskError;
use crate::sources::{self, SourceFile};
use crate::workspace::{Workspace, package_dir, read_manifest};
use crate::{links, modules, opener};

/// Lines above which a file is worth splitting.
const LONG_FILE: usize = 500;
/// Lines above which a file must be split.
const LONGEST_FILE: usize = 800;
/// Folders of the top level; those that begin with a dot are fine too.
const TOP_FOLDERS: &[&str] = &["crates", "docs", "tests", "xtask"];
/// Where people's own directories are, put together here so that this file does not hold them.
const HOMES: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
];

/// Applies all rules. `notes` gets the warnings.
pub(crate) fn run(workspace: &Workspace, notes: &mut Vec<String>) -> Result<(), TaskError> {
    let files = sources::load(workspace.root())?;
    let mut findings = top_folders(&files);
    for file in &files {
        findings.extend(machine_paths(file, workspace.root()));
        if file.path.extension() == Some("md") {
            findings.extend(links::dead(file, workspace.root()));
        }
        if file.is_rust() {
            findings.extend(too_long(file));
            findings.extend(forbidden_code(file));
            findings.extend(opener::findings(file));
            notes.extend(long(file));
        }
    }
    findings.extend(front_pages(workspace, &files));
    findings.extend(forgotten_files(workspace, &files));
    for package in workspace.members() {
        findings.extend(manifest(package)?);
    }
    TaskError::from_findings("tidy", findings)
}

/// Folders of the top level that have no place there.
fn top_folders(files: &[SourceFile]) -> Vec<String> {
    let folders = files.iter().filter_map(|file| {
        let mut parts = file.path.components();
        let first = parts.next()?.as_str();
        parts.next().map(|_| first)
    });
    let strange = folders.filter(|folder| !folder.starts_with('.') && !TOP_FOLDERS.contains(folder));
    let strange: BTreeSet<_> = strange.collect();
    strange
        .into_iter()
        .map(|folder| format!("{folder}/: the top level has no such folder"))
        .collect()
}

/// Paths of the machine on which somebody worked.
fn machine_paths(file: &SourceFile, root: &Utf8Path) -> Vec<String> {
    if file.is_fixture() {
        return Vec::new();
    }
    // A short one, as in a container, may well be a path that somebody means.
    let checkout = (root.components().count() > 2).then_some(root.as_str());
    let mut findings = Vec::new();
    for (number, line) in file.numbered_lines() {
        let mut places = HOMES.iter().copied().chain(checkout);
        if let Some(place) = places.find(|place| starts_path(line, place)) {
            findings.push(format!(
                "{}:{number}: a path of one machine (`{place}`)",
                file.path
            ));
        }
    }
    findings
}

/// Whether `line` has `place` where a path starts, not in the middle of one.
fn starts_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(start, _)| {
        !line
            .split_at(start)
            .0
            .ends_with(|c: char| c.is_alphanumeric() || "._-~}/".contains(c))
    })
}

fn too_long(file: &SourceFile) -> Option<String> {
    let lines = file.text.lines().count();
    (lines > LONGEST_FILE && !file.is_fixture()).then(|| {
        format!(
            "{}: {lines} lines; split it, {LONGEST_FILE} is the most",
            file.path
        )
    })
}

fn long(file: &SourceFile) -> Option<String> {
    let lines = file.text.lines().count();
    (LONG_FILE < lines && lines <= LONGEST_FILE && !file.is_fixture()).then(|| {
        format!(
            "warning: {}: {lines} lines; over {LONG_FILE} a file wants splitting",
            file.path
        )
    })
}

/// Attributes that hide work left undone.
fn forbidden_code(file: &SourceFile) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in file.code_lines() {
        let line = line.trim_start();
        let is_attribute = line.starts_with("#[") || line.starts_with("#![");
        let mut complain = |what: &str| findings.push(format!("{}:{number}: {what}", file.path));
        if is_attribute && (line.contains("[ignore") || line.contains(" ignore")) {
            complain("an ignored test: give it a target behind `required-features`");
        }
        if is_attribute && line.contains("allow(") {
            complain("`allow`: use `#[expect(lint, reason = \"…\")]`");
        }
    }
    findings
}

/// Each source file of a crate opens with what it is for; each library's front page has an example.
fn front_pages(workspace: &Workspace, files: &[SourceFile]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in workspace.members() {
        let src = relative_dir(workspace, package).join("src");
        for file in files
            .iter()
            .filter(|file| file.is_rust() && file.path.starts_with(&src))
        {
            let opens = file.text.starts_with("//!") || file.text.starts_with("#![doc");
            if !opens {
                findings.push(format!(
                    "{}: opens without `//!` saying what it is for",
                    file.path
                ));
            }
        }
    }
    for package in workspace.product_crates() {
        let lib = relative_dir(workspace, package).join("src/lib.rs");
        let without_example = files
            .iter()
            .filter(|file| file.path == lib)
            .filter(|file| !has_example(&file.text));
        findings.extend(without_example.map(|file| format!("{}: the front page has no example", file.path)));
    }
    findings
}

/// Whether a front page has an example of its own or includes the README, which has one.
fn has_example(lib: &str) -> bool {
    let mut front_page = lib.lines().filter(|line| line.starts_with("//!"));
    front_page.any(|line| line.contains("```")) || lib.contains("#![doc = include_str!(\"../README.md\")]")
}

/// Rust files that no target reaches: cargo compiles none of them, so their tests never run.
fn forgotten_files(workspace: &Workspace, files: &[SourceFile]) -> Vec<String> {
    let read = |path: &Utf8Path| {
        files
            .iter()
            .find(|file| file.path == path)
            .map(|file| file.text.as_str())
    };
    let mut compiled = BTreeSet::new();
    let mut dirs = Vec::new();
    for package in workspace.members() {
        dirs.push(relative_dir(workspace, package));
        for target in &package.targets {
            let root = target
                .src_path
                .strip_prefix(workspace.root())
                .unwrap_or(&target.src_path);
            compiled.extend(modules::reached(root, read));
        }
    }
    let in_members = files
        .iter()
        .filter(|file| dirs.iter().any(|dir| file.path.starts_with(dir)));
    in_members
        .filter(|file| file.is_rust() && !file.is_fixture() && !compiled.contains(&file.path))
        .map(|file| format!("{}: no `mod` line leads here, so it is never compiled", file.path))
        .collect()
}

fn relative_dir(workspace: &Workspace, package: &Package) -> Utf8PathBuf {
    let dir = package_dir(package);
    dir.strip_prefix(workspace.root())
        .map(Utf8Path::to_owned)
        .unwrap_or(dir)
}

/// A member takes its lints and the versions of its dependencies from the workspace.
fn manifest(package: &Package) -> Result<Vec<String>, TaskError> {
    Ok(manifest_findings(
        &package.name,
        &read_manifest(package.manifest_path.as_std_path())?,
    ))
}

fn manifest_findings(name: &str, manifest: &Table) -> Vec<String> {
    let mut findings = Vec::new();
    let inherits = |value: &toml::Value| value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
    if !manifest.get("lints").is_some_and(inherits) {
        findings.push(format!("{name}: its manifest lacks `[lints] workspace = true`"));
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let dependencies = manifest
            .get(section)
            .and_then(toml::Value::as_table)
            .into_iter()
            .flatten();
        for (dependency, value) in dependencies.filter(|(_, value)| !inherits(value)) {
            // A crate's own test features are reached through a path to itself.
            if value.get("path").and_then(toml::Value::as_str) != Some(".") {
                findings.push(format!(
                    "{name}: `{dependency}` in [{section}] is not `workspace = true`"
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rust(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.into(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn this_workspace_is_tidy() {
        let workspace = Workspace::load().unwrap();
        if let Err(error) = run(&workspace, &mut Vec::new()) {
            panic!("{}", crate::error::chain(&error));
        }
    }

    #[test]
    fn the_top_level_has_known_folders_only() {
        let files = [
            "crates/a/src/lib.rs",
            ".ci/run",
            "deny.toml",
            "scripts/x.sh",
            "scripts/y.sh",
        ];
        let files = files.map(|path| rust(path, ""));
        assert_eq!(
            top_folders(&files),
            ["scripts/: the top level has no such folder"]
        );
    }

    #[test]
    fn machine_paths_are_found_where_a_path_starts() {
        let root = Utf8Path::new("/checkout/here");
        let home = format!("cd {}anna/project", HOMES[0]);
        let found = |text: &str| machine_paths(&rust("a.md", text), root).len();
        assert_eq!(found(&home), 1);
        assert_eq!(found("ok\nsee /checkout/here/docs\n"), 1);
        assert_eq!(found(&format!("https://example.com{}", HOMES[0])), 0);
        assert_eq!(found("crates/src/lib.rs and ./root/ and $HOME/x"), 0);
        assert_eq!(machine_paths(&rust("a/fixtures/x.json", &home), root).len(), 0);
    }

    #[test]
    fn length_warns_and_then_fails() {
        let lines = |count: usize| rust("a.rs", &"x\n".repeat(count));
        assert_eq!((long(&lines(500)), too_long(&lines(500))), (None, None));
        assert!(long(&lines(501)).is_some() && too_long(&lines(800)).is_none());
        assert!(too_long(&lines(801)).is_some() && long(&lines(801)).is_none());
    }

    #[test]
    fn hidden_work_is_found_in_code_and_not_in_comments() {
        let found = |line: &str| forbidden_code(&rust("a.rs", line)).len();
        for line in ["#[ignore]", "#[ignore = \"slow\"]", "#![allow(dead_code)]"] {
            assert_eq!(found(line), 1, "{line}");
        }
        for line in [
            "// #[ignore]",
            "#[expect(dead_code, reason = \"x\")]",
            "let allow = allow();",
        ] {
            assert_eq!(found(line), 0, "{line}");
        }
    }

    #[test]
    fn a_front_page_has_an_example() {
        assert!(has_example("//! Text.\n//!\n//! ```\n//! x\n//! ```\n"));
        assert!(has_example("#![doc = include_str!(\"../README.md\")]"));
        assert!(!has_example("//! Text.\n\n/// ```\nfn f() {}"));
    }

    #[test]
    fn a_manifest_inherits_lints_and_versions() {
        let findings = |text: &str| manifest_findings("a", &text.parse::<Table>().unwrap());
        assert_eq!(
            findings("[lints]\nworkspace=true\n[dependencies]\nserde.workspace = true\n"),
            Vec::<String>::new()
        );
        assert_eq!(
            findings("[dev-dependencies]\nserde = \"1\"\na = { path = \".\", features = [\"test-util\"] }\n"),
            [
                "a: its manifest lacks `[lints] workspace = true`",
                "a: `serde` in [dev-dependencies] is not `workspace = true`"
            ]
        );
    }
}
