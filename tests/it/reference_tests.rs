//! The page that maps the reference's tests to ours names only tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Names of all functions in the sources below `folder`.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let names = source
                .lines()
                .filter_map(|line| line.trim_start().split_once("fn "));
            found.extend(names.filter_map(|(_, rest)| Some(rest.split_once('(')?.0.to_owned())));
        }
    }
}

#[test]
fn every_test_that_the_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = BTreeSet::new();
    functions(&root.join("crates"), &mut found);
    let page = fs::read_to_string(root.join("docs/reference-tests.md")).unwrap();
    let cells = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1));
    let named: Vec<&str> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(named.len() > 60, "the page names {} tests", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !found.contains(**name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}
