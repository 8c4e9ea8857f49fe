//! The files of the workspace, as git sees them: known ones and new ones, without what is ignored.

use std::fs;

use cargo_metadata::camino::{Utf8Path, Utf8PathBuf};

use crate::error::TaskError;
use crate::invocation::Invocation;

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

/// All text files of the workspace; binary ones are left out.
pub(crate) fn load(root: &Utf8Path) -> Result<Vec<SourceFile>, TaskError> {
    let listing = Invocation::new("git", "-C")
        .args([
            root.as_str(),
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()?;
    let mut files = Vec::new();
    for path in listing.split_terminator('\0') {
        let full = root.join(path);
        // Deleted files are still listed; links are followed nowhere.
        if !full.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let bytes = fs::read(&full).map_err(|source| TaskError::Read {
            path: full.into(),
            source,
        })?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile {
                path: path.into(),
                text,
            });
        }
    }
    Ok(files)
}
