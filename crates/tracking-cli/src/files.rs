//! Files named by patterns.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

/// Why a pattern names no files.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PatternError {
    /// It is no glob.
    #[error("{pattern} is no pattern: {reason}")]
    Syntax { pattern: String, reason: String },
    /// A directory could not be looked through.
    #[error("cannot list {}", path.display())]
    Listing {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A path, or a glob over paths: `*` and `?` within one directory, `**` across several.
#[derive(Debug, Clone)]
pub(crate) struct FilePattern {
    text: PathBuf,
    glob: Option<GlobMatcher>,
}

impl FilePattern {
    /// Reads a pattern; what names a file that exists is that file, whatever signs it has.
    pub(crate) fn new(text: impl Into<PathBuf>) -> Result<Self, PatternError> {
        let text = text.into();
        let is_glob =
            text.to_string_lossy().contains(['*', '?', '[', '{']) && text.symlink_metadata().is_err();
        let glob = is_glob.then(|| compile(&text)).transpose()?;
        Ok(Self { text, glob })
    }

    /// As it was given.
    pub(crate) fn text(&self) -> std::path::Display<'_> {
        self.text.display()
    }

    /// The regular files that it names, in the order of their names; a plain path as it is.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>, PatternError> {
        let Some(glob) = &self.glob else {
            return Ok(vec![self.text.clone()]);
        };
        let fixed: PathBuf = self
            .text
            .components()
            .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']))
            .collect();
        let open = self.text.components().skip(fixed.components().count());
        let deep = open
            .clone()
            .any(|part| part.as_os_str().to_string_lossy().contains("**"));
        let depth = if deep { usize::MAX } else { open.count() };
        let mut files = Vec::new();
        walk(&fixed, depth, glob, &mut files)?;
        files.sort();
        Ok(files)
    }
}

/// What is below a directory.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The regular files, relative to it, in the order of their names.
    pub(crate) files: Vec<PathBuf>,
    /// How many entries are neither files nor directories.
    pub(crate) others: usize,
}

/// Looks through a directory and all below it. Links to files are taken for files if `follow` says so; links to
/// directories are never entered, so that there is no way round in circles.
pub(crate) fn tree(root: &Path, follow: bool) -> Result<Tree, PatternError> {
    let mut tree = Tree::default();
    let mut waiting = vec![PathBuf::new()];
    while let Some(relative) = waiting.pop() {
        let path = root.join(&relative);
        let listing = |source| PatternError::Listing {
            path: path.clone(),
            source,
        };
        for entry in fs::read_dir(&path).map_err(listing)? {
            let entry = entry.map_err(listing)?;
            let kind = entry.file_type().map_err(listing)?;
            let relative = relative.join(entry.file_name());
            if kind.is_dir() {
                waiting.push(relative);
            } else if kind.is_file() || (follow && kind.is_symlink() && entry.path().is_file()) {
                tree.files.push(relative);
            } else {
                tree.others += 1;
            }
        }
    }
    tree.files.sort();
    Ok(tree)
}

fn compile(text: &Path) -> Result<GlobMatcher, PatternError> {
    let normal: PathBuf = text
        .components()
        .filter(|part| *part != Component::CurDir)
        .collect();
    let pattern = normal.to_string_lossy();
    let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher())
        .map_err(|error| PatternError::Syntax {
            pattern: text.display().to_string(),
            reason: error.kind().to_string(),
        })
}

/// Symbolic links are not followed.
fn walk(dir: &Path, depth: usize, glob: &GlobMatcher, files: &mut Vec<PathBuf>) -> Result<(), PatternError> {
    let listing = |source| PatternError::Listing {
        path: dir.to_owned(),
        source,
    };
    let here = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let entries = match fs::read_dir(here) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(listing)?,
    };
    for entry in entries {
        let entry = entry.map_err(listing)?;
        let path = dir.join(entry.file_name());
        let kind = entry.file_type().map_err(listing)?;
        let plain: PathBuf = path
            .components()
            .filter(|part| *part != Component::CurDir)
            .collect();
        if kind.is_dir() && depth > 1 {
            walk(&path, depth - 1, glob, files)?;
        } else if kind.is_file() && glob.is_match(&plain) {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_regular_files_in_order() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        for name in ["x.log", "a/y.log", "a/b/z.log", "a/b/z.txt", "odd[1].log"] {
            fs::write(root.join(name), name).unwrap();
        }
        std::os::unix::fs::symlink(root.join("x.log"), root.join("link.log")).unwrap();
        let files = |pattern: &str| -> Vec<String> {
            let pattern = FilePattern::new(root.join(pattern)).unwrap();
            let files = pattern.files().unwrap();
            files
                .iter()
                .map(|path| path.strip_prefix(root).unwrap().display().to_string())
                .collect()
        };
        assert_eq!(files("*.log"), ["odd[1].log", "x.log"]);
        assert_eq!(files("**/*.log"), ["a/b/z.log", "a/y.log", "odd[1].log", "x.log"]);
        assert_eq!(files("a/?/z.{log,txt}"), ["a/b/z.log", "a/b/z.txt"]);
        assert_eq!(files("odd[1].log"), ["odd[1].log"]);
        assert_eq!(files("none/*.log"), [""; 0]);
        assert!(FilePattern::new("[a").is_err());
    }
}
