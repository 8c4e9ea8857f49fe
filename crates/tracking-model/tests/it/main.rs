//! The model as its users see it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod import;
mod machine;
mod merged;
mod merged_sessions;
mod mirror;
mod naive;
mod parents;
mod refusals;
mod sessions;
mod upgrades;
mod wire;

#[test]
fn no_file_was_forgotten() {
    let main = include_str!("main.rs");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let part = path.extension().is_some_and(|extension| extension == "rs") && stem != "main";
        assert!(
            !part || main.contains(&format!("mod {stem};")),
            "{stem} is not part of the tests"
        );
    }
}
