//! Which Rust files cargo compiles: those reached from a target's root file through `mod` lines.

use std::collections::BTreeSet;

use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};

/// The files reached from `root`, itself included. `read` gives the text of a file, or `None` if there is none.
pub(crate) fn reached<'a>(
    root: &Utf8Path,
    read: impl Fn(&Utf8Path) -> Option<&'a str>,
) -> BTreeSet<Utf8PathBuf> {
    let mut reached = BTreeSet::new();
    // A root and a `mod.rs` have their modules beside them, other files in a folder of their own name.
    let mut waiting = vec![(root.to_owned(), true)];
    while let Some((file, modules_beside)) = waiting.pop() {
        let Some(text) = read(&file) else { continue };
        let parent = file.parent().map(Utf8Path::to_owned).unwrap_or_default();
        let dir = if modules_beside {
            parent.clone()
        } else {
            parent.join(file.file_stem().unwrap_or_default())
        };
        if !reached.insert(file) {
            continue;
        }
        for module in modules(text) {
            match module {
                Module::Named { within, name } => {
                    let dir = dir.join(within);
                    waiting.push((dir.join(format!("{name}.rs")), false));
                    waiting.push((dir.join(name).join("mod.rs"), true));
                }
                Module::AtPath(path) => waiting.push((parent.join(path), true)),
            }
        }
    }
    reached
}

/// A `mod` line without a body.
enum Module<'a> {
    /// In the folder that the modules around the line give, from that of the file.
    Named { within: Utf8PathBuf, name: &'a str },
    /// Where `#[path]` says.
    AtPath(&'a str),
}

/// The `mod` lines of a file, which must be formatted: a module's brace closes at the indentation of its `mod`.
fn modules(text: &str) -> Vec<Module<'_>> {
    let mut modules = Vec::new();
    let mut path = None;
    let mut around: Vec<(usize, &str)> = Vec::new();
    for line in text.lines() {
        let (trimmed, indent) = (line.trim(), line.len() - line.trim_start().len());
        if let Some(rest) = trimmed.strip_prefix("#[path = \"") {
            path = rest.strip_suffix("\"]");
        } else if let Some(name) = trimmed.strip_suffix(';').and_then(declared_module) {
            let within = around.iter().map(|(_, name)| *name).collect();
            modules.push(path.take().map_or(Module::Named { within, name }, Module::AtPath));
        } else if let Some(name) = trimmed.strip_suffix(" {").and_then(declared_module) {
            around.push((indent, name));
        } else if trimmed == "}" && around.last().is_some_and(|(opened, _)| *opened == indent) {
            around.pop();
        }
    }
    modules
}

/// The name in `mod name` or `pub(crate) mod name`.
fn declared_module(declaration: &str) -> Option<&str> {
    let (visibility, name) = declaration.rsplit_once("mod ")?;
    let visibility = visibility.trim();
    let fine = visibility.is_empty() || visibility.starts_with("pub");
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    (fine && is_name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached_in(files: &[(&str, &str)]) -> Vec<String> {
        let read = |path: &Utf8Path| {
            files
                .iter()
                .find(|(name, _)| path == *name)
                .map(|(_, text)| *text)
        };
        reached("src/lib.rs".into(), read)
            .into_iter()
            .map(Utf8PathBuf::into_string)
            .collect()
    }

    #[test]
    fn follows_files_folders_and_paths() {
        let files = [
            (
                "src/lib.rs",
                "mod a;\npub mod b;\npub(crate) mod c;\n#[path = \"odd/d.rs\"]\nmod d;",
            ),
            ("src/a.rs", "mod inner;"),
            ("src/a/inner.rs", ""),
            ("src/b/mod.rs", "mod deep;"),
            ("src/b/deep.rs", ""),
            ("src/c.rs", "mod tests {\n    use super::*;\n}"),
            ("src/odd/d.rs", ""),
            ("src/forgotten.rs", ""),
        ];
        assert_eq!(
            reached_in(&files),
            [
                "src/a/inner.rs",
                "src/a.rs",
                "src/b/deep.rs",
                "src/b/mod.rs",
                "src/c.rs",
                "src/lib.rs",
                "src/odd/d.rs"
            ]
        );
    }

    #[test]
    fn comments_and_uses_declare_nothing() {
        let files = [
            ("src/lib.rs", "// mod a;\nuse crate::mod_b;\nmod c {\n}"),
            ("src/a.rs", ""),
        ];
        assert_eq!(reached_in(&files), ["src/lib.rs"]);
    }

    #[test]
    fn modules_in_braces_are_folders() {
        let files = [
            (
                "src/lib.rs",
                "mod a {\n    pub(crate) mod inner;\n    fn f() {\n    }\n}\nmod b;",
            ),
            ("src/a/inner.rs", ""),
            ("src/b.rs", "mod c {\n    mod deep;\n}"),
            ("src/b/c/deep.rs", ""),
        ];
        assert_eq!(
            reached_in(&files),
            ["src/a/inner.rs", "src/b/c/deep.rs", "src/b.rs", "src/lib.rs"]
        );
    }
}
