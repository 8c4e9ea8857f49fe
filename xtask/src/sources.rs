//! The text files of the workspace, without what git is told to ignore.

use std::fs;
use std::path::Path;

use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};
use ignore::WalkBuilder;

use crate::error::TaskError;

/// A text file and where it is, relative to the workspace's root.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: Utf8PathBuf,
    pub(crate) text: String,
}

impl SourceFile {
    /// Whether it is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.extension() == Some("rs")
    }

    /// Whether it is data of tests, which is as it must be.
    pub(crate) fn is_fixture(&self) -> bool {
        self.path
            .components()
            .any(|part| matches!(part.as_str(), "fixtures" | "snapshots" | "corpus"))
    }

    /// Its lines with their numbers, from 1.
    pub(crate) fn numbered_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// The same, without lines that are comments.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered_lines()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// All text files of the workspace; binary ones, links and what `.gitignore` names are left out.
///
/// Needs neither git nor its history, so that it also works in an unpacked archive.
pub(crate) fn load(root: &Utf8Path) -> Result<Vec<SourceFile>, TaskError> {
    let walk = WalkBuilder::new(root)
        .hidden(false)
        .parents(false)
        .git_global(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .sort_by_file_path(Path::cmp)
        .build();
    let mut files = Vec::new();
    for entry in walk {
        let entry = entry.map_err(|source| TaskError::Walk {
            root: root.into(),
            source,
        })?;
        if entry.file_type().is_some_and(|kind| kind.is_file()) {
            files.extend(read(root, entry.path())?);
        }
    }
    Ok(files)
}

/// The file at `path`, if it and its path are text.
fn read(root: &Utf8Path, path: &Path) -> Result<Option<SourceFile>, TaskError> {
    let bytes = fs::read(path).map_err(|source| TaskError::Read {
        path: path.into(),
        source,
    })?;
    let relative = Utf8Path::from_path(path).and_then(|path| path.strip_prefix(root).ok());
    Ok(relative
        .zip(String::from_utf8(bytes).ok())
        .map(|(path, text)| SourceFile {
            path: path.into(),
            text,
        }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_text_files_that_are_not_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        write(".gitignore", b"/target\n");
        write(".ci/run", b"x");
        write(".git/config", b"x");
        write("target/out.rs", b"x");
        write("src/lib.rs", b"x");
        write("image.png", &[0xff, 0xfe]);
        let paths: Vec<_> = load(root)
            .unwrap()
            .into_iter()
            .map(|file| file.path.into_string())
            .collect();
        assert_eq!(paths, [".ci/run", ".gitignore", "src/lib.rs"]);
    }
}
