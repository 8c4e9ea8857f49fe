//! Files named by patterns.

use std::ffi::OsStr;
use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use tracking_facade::storage;

use crate::output::note;

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

/// Something that is not added: each add would keep what those before it kept.
#[derive(Debug, thiserror::Error)]
#[error("{} leads into the data directory, which is not added to itself", .0.display())]
pub(crate) struct OfOwnData(pub(crate) PathBuf);

/// The data directory, which grows by what is kept: it is left out where it is come across, and what is named of it is
/// refused. What others put beside what is kept there, as somebody who works in the directory itself does, is theirs.
#[derive(Debug)]
pub(crate) struct OwnData(Option<PathBuf>);

/// Whether what has this name in a data directory is of it.
fn is_kept(name: &OsStr) -> bool {
    ["artifacts", "progress", "cursors"]
        .iter()
        .any(|kept| name == *kept)
        || name.as_encoded_bytes().starts_with(b"index.sqlite")
}

impl OwnData {
    /// The one at `path`, if there is any.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.canonicalize().ok())
    }

    /// Where a path leads below it.
    fn below(&self, path: &Path) -> Option<PathBuf> {
        let path = here(path).canonicalize().ok()?;
        Some(path.strip_prefix(self.0.as_deref()?).ok()?.to_owned())
    }

    /// Whether a path leads to what is kept in it.
    fn holds(&self, path: &Path) -> bool {
        self.below(path)
            .is_some_and(|below| below.iter().next().is_some_and(is_kept))
    }

    /// Whether a path leads to it.
    fn is_at(&self, path: &Path) -> bool {
        self.below(path).is_some_and(|below| below.as_os_str().is_empty())
    }

    /// Whether it is this directory, which is no link.
    fn is(&self, directory: &Path) -> bool {
        self.0.as_deref().is_some_and(|own| {
            own.file_name() == directory.file_name()
                && directory.canonicalize().is_ok_and(|directory| directory == own)
        })
    }
}

/// What a pattern names, or what is below a directory.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The files, in the order of their names.
    pub(crate) files: Vec<PathBuf>,
    /// Where it could not be looked: there may be more.
    pub(crate) unlisted: Vec<Unlisted>,
    /// What is of the data directory though it was named itself, or matched.
    pub(crate) refused: Vec<OfOwnData>,
    /// The data directory, if it was come across.
    left_out: Option<PathBuf>,
}

impl Found {
    /// Only what is not added.
    fn refused(path: &Path) -> Self {
        Self {
            refused: vec![OfOwnData(path.to_owned())],
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.unlisted.is_empty() && self.refused.is_empty()
    }

    /// Says on stderr what was left out, if anything was.
    pub(crate) fn tell_left_out(&self) {
        if let Some(own) = &self.left_out {
            note(
                "note",
                &format!("left out {}: it is the data directory", own.display()),
            );
        }
    }

    fn sort(&mut self) {
        self.files.sort();
        self.unlisted.sort_by(|one, other| one.path.cmp(&other.path));
        self.refused.sort_by(|one, other| one.0.cmp(&other.0));
    }
}

/// A path, or a glob over paths: `*` and `?` within one directory, `**` across several.
#[derive(Debug, Clone)]
pub(crate) struct FilePattern {
    text: PathBuf,
    glob: Option<Glob>,
}

/// A glob over what is below a directory.
#[derive(Debug, Clone)]
struct Glob {
    /// The directory, whose name may be no text.
    root: PathBuf,
    /// How many directories deep it reaches.
    depth: usize,
    below: GlobMatcher,
}

impl FilePattern {
    /// Reads a pattern; what names a file that exists is that file, whatever signs it has.
    pub(crate) fn new(text: impl Into<PathBuf>) -> Result<Self, PatternError> {
        let text = text.into();
        let is_glob = has_signs(text.as_os_str()) && text.symlink_metadata().is_err();
        let glob = is_glob.then(|| Glob::new(&text)).transpose()?;
        Ok(Self { text, glob })
    }

    /// As it was given.
    pub(crate) fn text(&self) -> std::path::Display<'_> {
        self.text.display()
    }

    /// What it names; a plain path as it is. What a glob matches may be no regular file: whoever adds it refuses that by
    /// name. Of directories that match only those count in which something was passed over.
    pub(crate) fn files(&self, own: &OwnData) -> Found {
        let root = self.glob.as_ref().map_or(&self.text, |glob| &glob.root);
        if own.holds(root) {
            return Found::refused(&self.text);
        }
        match &self.glob {
            Some(glob) => match glob.files(own) {
                found if found.is_empty() && own.is_at(root) => Found::refused(&self.text),
                found => found,
            },
            None => Found {
                files: vec![self.text.clone()],
                ..Found::default()
            },
        }
    }
}

impl Glob {
    fn new(text: &Path) -> Result<Self, PatternError> {
        let root: PathBuf = text
            .components()
            .take_while(|part| !has_signs(part.as_os_str()))
            .collect();
        let below: PathBuf = text.components().skip(root.components().count()).collect();
        let pattern = below.to_string_lossy();
        let depth = if pattern.contains("**") {
            usize::MAX
        } else {
            below.components().count()
        };
        let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
        let below = glob.map_err(|error| PatternError {
            pattern: text.display().to_string(),
            reason: error.kind().to_string(),
        })?;
        let below = below.compile_matcher();
        Ok(Self { root, depth, below })
    }

    fn files(&self, own: &OwnData) -> Found {
        let mut found = Found::default();
        let (mut directories, mut passed_over) = (Vec::new(), Vec::new());
        let mut waiting = vec![(self.root.clone(), self.depth)];
        let mut is_own = own.is_at(&self.root);
        while let Some((directory, depth)) = waiting.pop() {
            let mut all = true;
            each_entry(&directory, &mut found.unlisted, |path, kind| {
                if is_own && path.file_name().is_some_and(is_kept) {
                    return;
                }
                let below = path.strip_prefix(&self.root).unwrap_or(&path);
                let matches = self.below.is_match(below);
                if !kind.is_dir() {
                    all &= matches;
                    if matches && kind.is_symlink() && own.holds(&path) {
                        found.refused.push(OfOwnData(path));
                    } else {
                        found.files.extend(matches.then_some(path));
                    }
                } else if (matches || depth > 1) && own.is(&path) {
                    found.left_out = Some(path);
                } else if depth > 1 {
                    directories.extend(matches.then(|| path.clone()));
                    waiting.push((path, depth - 1));
                } else if matches && has_files(&path) {
                    found.files.push(path);
                }
            });
            is_own = false;
            if !all {
                passed_over.push(directory);
            }
        }
        found.sort();
        passed_over.sort();
        directories.retain(|directory| {
            !reaches_below(&found.files, directory) && reaches_below(&passed_over, directory)
        });
        found.files.append(&mut directories);
        found.sort();
        found
    }
}

/// Whether one of the sorted `paths` is `directory` or below it.
fn reaches_below(paths: &[PathBuf], directory: &Path) -> bool {
    let next = paths.partition_point(|path| path.as_path() < directory);
    paths.get(next).is_some_and(|path| path.starts_with(directory))
}

fn leads_to_file(link: &Path) -> bool {
    storage::named_metadata(link).is_ok_and(|found| found.is_file())
}

/// Whether anything but directories is below a directory; one that cannot be listed may have something.
fn has_files(directory: &Path) -> bool {
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = storage::read_named_dir(&directory) else {
            return true;
        };
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.file_type()?, entry.path()))) {
                Ok((kind, path)) if kind.is_dir() => waiting.push(path),
                _ => return true,
            }
        }
    }
    false
}

/// Whether a path has signs of a glob.
fn has_signs(path: &OsStr) -> bool {
    path.as_encoded_bytes().iter().any(|byte| b"*?[{".contains(byte))
}

/// What is below a directory.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Its regular files, relative to it, and what else is to be said of it.
    pub(crate) found: Found,
    /// How many entries are neither files nor directories.
    pub(crate) others: usize,
}

/// Looks through a directory and all below it. Links to files are taken for files if `follow` says so; links to
/// directories are never entered, so that there is no way round in circles.
pub(crate) fn tree(root: &Path, follow: bool, own: &OwnData) -> Tree {
    let mut tree = Tree::default();
    if own.holds(root) {
        tree.found = Found::refused(root);
        return tree;
    }
    let mut waiting = vec![root.to_owned()];
    let mut is_own = own.is_at(root);
    while let Some(directory) = waiting.pop() {
        each_entry(&directory, &mut tree.found.unlisted, |path, kind| {
            if is_own && path.file_name().is_some_and(is_kept) {
                return;
            }
            if kind.is_dir() && own.is(&path) {
                tree.found.left_out = Some(path);
            } else if kind.is_dir() {
                waiting.push(path);
            } else if follow && kind.is_symlink() && leads_to_file(&path) && own.holds(&path) {
                tree.found.refused.push(OfOwnData(path));
            } else if kind.is_file() || (follow && kind.is_symlink() && leads_to_file(&path)) {
                let relative = path.strip_prefix(root).unwrap_or(&path);
                tree.found.files.push(relative.to_owned());
            } else {
                tree.others += 1;
            }
        });
        is_own = false;
    }
    if tree.found.is_empty() && own.is_at(root) {
        tree.found = Found::refused(root);
    }
    tree.found.sort();
    tree
}

/// A path that can be opened: an empty one is the working directory.
fn here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}

/// Tells `each` the path and kind of every entry of a directory; links are not followed. What cannot be looked at goes to
/// `unlisted`, and what is not there is empty.
fn each_entry(directory: &Path, unlisted: &mut Vec<Unlisted>, mut each: impl FnMut(PathBuf, FileType)) {
    let cannot = |path: &Path, source| Unlisted {
        path: path.to_owned(),
        source,
    };
    let here = here(directory);
    let entries = match storage::read_named_dir(here) {
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

#[cfg(test)]
mod tests {
    use std::fs;

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
            let found = pattern.files(&OwnData(None));
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
        fs::create_dir_all(root.join("empty/too")).unwrap();
        assert_eq!(files("e*/**"), [""; 0]);
        assert_eq!(files("e*"), [""; 0]);
        assert_eq!(files("**/{b,y.log,e*}"), ["a/b", "a/y.log"]);
        assert_eq!(files("a/?/z.{log,txt}"), ["a/b/z.log", "a/b/z.txt"]);
        assert_eq!(files("odd[1].log"), ["odd[1].log"]);
        assert_eq!(files("none/*.log"), [""; 0]);
        assert!(FilePattern::new("[a").is_err());
    }
}
