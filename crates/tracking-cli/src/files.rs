//! Files named by patterns.

use std::fs::{self, FileType};
use std::io;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

/// Why a pattern is none.
#[derive(Debug, thiserror::Error)]
#[error("{pattern} is no pattern: {reason}")]
pub(crate) struct PatternError {
    pattern: String,
    reason: String,
}

/// A directory that could not be looked through, or an entry of one that could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot list {}", path.display())]
pub(crate) struct Unlisted {
    /// Which.
    pub(crate) path: PathBuf,
    #[source]
    source: io::Error,
}

/// What a pattern names, or what is below a directory.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The files, in the order of their names.
    pub(crate) files: Vec<PathBuf>,
    /// Where it could not be looked: there may be more.
    pub(crate) unlisted: Vec<Unlisted>,
}

impl Found {
    fn sort(&mut self) {
        self.files.sort();
        self.unlisted.sort_by(|one, other| one.path.cmp(&other.path));
    }
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

    /// What it names; a plain path as it is. What a glob matches is no regular file in all cases: whoever adds it refuses
    /// the rest by name. Of the directories that match only those count below which nothing does.
    pub(crate) fn files(&self) -> Found {
        let Some(glob) = &self.glob else {
            let files = vec![self.text.clone()];
            return Found {
                files,
                ..Found::default()
            };
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
        let (mut found, mut directories) = (Found::default(), Vec::new());
        let mut waiting = vec![(fixed, depth)];
        while let Some((directory, depth)) = waiting.pop() {
            each_entry(&directory, &mut found.unlisted, |path, kind| {
                let matches = glob.is_match(without_dots(&path));
                if !kind.is_dir() {
                    found.files.extend(matches.then_some(path));
                    return;
                }
                if matches {
                    directories.push(path.clone());
                }
                if depth > 1 {
                    waiting.push((path, depth - 1));
                }
            });
        }
        found.files.sort();
        directories.retain(|directory| {
            let next = found.files.partition_point(|file| file < directory);
            let below = found
                .files
                .get(next)
                .is_some_and(|file| file.starts_with(directory));
            !below && !found.unlisted.iter().any(|one| one.path.starts_with(directory))
        });
        found.files.append(&mut directories);
        found.sort();
        found
    }
}

/// What is below a directory.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Its regular files, relative to it.
    pub(crate) found: Found,
    /// How many entries are neither files nor directories.
    pub(crate) others: usize,
}

/// Looks through a directory and all below it. Links to files are taken for files if `follow` says so; links to
/// directories are never entered, so that there is no way round in circles.
pub(crate) fn tree(root: &Path, follow: bool) -> Tree {
    let mut tree = Tree::default();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        each_entry(&directory, &mut tree.found.unlisted, |path, kind| {
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_file() || (follow && kind.is_symlink() && path.is_file()) {
                let relative = path.strip_prefix(root).unwrap_or(&path);
                tree.found.files.push(relative.to_owned());
            } else {
                tree.others += 1;
            }
        });
    }
    tree.found.sort();
    tree
}

/// Tells `each` the path and kind of every entry of a directory; links are not followed. What cannot be looked at goes to
/// `unlisted`, and what is not there is empty.
fn each_entry(directory: &Path, unlisted: &mut Vec<Unlisted>, mut each: impl FnMut(PathBuf, FileType)) {
    let cannot = |path: &Path, source| Unlisted {
        path: path.to_owned(),
        source,
    };
    let here = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let entries = match fs::read_dir(here) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => return unlisted.push(cannot(here, error)),
    };
    for entry in entries {
        match entry {
            Err(error) => unlisted.push(cannot(here, error)),
            Ok(entry) => {
                let path = directory.join(entry.file_name());
                match entry.file_type() {
                    Ok(kind) => each(path, kind),
                    Err(error) => unlisted.push(cannot(&path, error)),
                }
            }
        }
    }
}

/// A path as globs see it.
fn without_dots(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .collect()
}

fn compile(text: &Path) -> Result<GlobMatcher, PatternError> {
    let normal = without_dots(text);
    let pattern = normal.to_string_lossy();
    let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher())
        .map_err(|error| PatternError {
            pattern: text.display().to_string(),
            reason: error.kind().to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_files_in_order() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        for name in ["x.log", "a/y.log", "a/b/z.log", "a/b/z.txt", "odd[1].log"] {
            fs::write(root.join(name), name).unwrap();
        }
        std::os::unix::fs::symlink(root.join("x.log"), root.join("link.log")).unwrap();
        let files = |pattern: &str| -> Vec<String> {
            let pattern = FilePattern::new(root.join(pattern)).unwrap();
            let found = pattern.files();
            assert!(found.unlisted.is_empty(), "{found:?}");
            found
                .files
                .iter()
                .map(|path| path.strip_prefix(root).unwrap().display().to_string())
                .collect()
        };
        assert_eq!(files("*.log"), ["link.log", "odd[1].log", "x.log"]);
        assert_eq!(
            files("**/*.log"),
            ["a/b/z.log", "a/y.log", "link.log", "odd[1].log", "x.log"]
        );
        assert_eq!(files("?"), ["a"]);
        assert_eq!(files("a/**"), ["a/b/z.log", "a/b/z.txt", "a/y.log"]);
        assert_eq!(files("a/?/z.{log,txt}"), ["a/b/z.log", "a/b/z.txt"]);
        assert_eq!(files("odd[1].log"), ["odd[1].log"]);
        assert_eq!(files("none/*.log"), [""; 0]);
        assert!(FilePattern::new("[a").is_err());
    }
}
