//! Product code opens files by `tracking_journal::storage` alone, which follows no links, waits for no FIFO and reads
//! with a limit. clippy could tell types apart, but not product code from tests, which plant and look as they like.
//!
//! An exception says why, on its line or the one before: `// not by storage: …`.

use crate::sources::SourceFile;

/// Where files are opened.
const OPENER: &str = "crates/tracking-journal/src/storage.rs";
/// Code of tests that is not behind `#[cfg(test)]` in its file.
const OF_TESTS: [&str; 6] = [
    "/tests/",
    "/tests.rs",
    "/testing.rs",
    "/test-servers/",
    "/conformance/",
    "/conformance.rs",
];
/// Begins the reason of an exception.
const EXCEPTION: &str = "// not by storage: ";

/// Functions that open what a path leads to, or look through it.
const FUNCTIONS: [&str; 10] = [
    "fs::read(",
    "fs::read_to_string(",
    "fs::read_dir(",
    "fs::metadata(",
    "fs::exists(",
    "fs::write(",
    "fs::copy(",
    "File::open(",
    "File::create(",
    "fs::File::options(",
];
/// Methods that do so if they are called on a path; others have some of the same names.
const METHODS: [&str; 6] = [
    ".metadata()",
    ".exists()",
    ".try_exists()",
    ".is_file()",
    ".is_dir()",
    ".read_dir()",
];
/// Names and endings of paths, and functions that make paths.
const PATHS: [&str; 13] = [
    "path",
    "dir",
    "directory",
    "folder",
    "root",
    "destination",
    "target",
    "home",
    "place",
    "join",
    "parent",
    "with_extension",
    "with_file_name",
];

/// Calls in product code that open files, or look at them, past the opener.
pub(crate) fn findings(file: &SourceFile) -> Vec<String> {
    let path = format!("/{}", file.path);
    let is_product = path.starts_with("/crates/") && path.contains("/src/");
    if !is_product || file.path == OPENER || OF_TESTS.iter().any(|tests| path.contains(tests)) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for statement in statements(&file.text) {
        if let Some(call) = statement.opens() {
            findings.push(format!(
                "{}:{}: `{call}` opens what links and FIFOs lead to: use `tracking_journal::storage`, or say why not with `{EXCEPTION}…`",
                file.path, statement.line
            ));
        }
    }
    findings
}

/// A line with those that go on with it, as a chain of calls does.
struct Statement {
    line: usize,
    code: String,
    is_exception: bool,
}

impl Statement {
    fn opens(&self) -> Option<String> {
        if self.is_exception {
            return None;
        }
        let function = FUNCTIONS.iter().find(|function| {
            let mut found = self.code.match_indices(**function);
            found.any(|(at, found)| !self.ends_in_name(at) && !self.is_of_the_kernel(at + found.len()))
        });
        if let Some(function) = function {
            return Some(format!("{function}…)"));
        }
        let imported = self.code.starts_with("use std::fs::{")
            && ["read", "read_to_string", "read_dir", "metadata", "write", "copy"]
                .iter()
                .any(|name| self.names().any(|found| found == *name));
        if imported {
            return Some(self.code.clone());
        }
        let opened = self
            .code
            .find(".open(")
            .filter(|at| self.code.contains("OpenOptions::new()") || matches!(self.receiver(*at), "options"));
        if opened.is_some() {
            return Some("OpenOptions::open(…)".to_owned());
        }
        METHODS.iter().find_map(|method| {
            let mut found = self.code.match_indices(method);
            let at = found.find(|(at, _)| {
                let receiver = self.receiver(*at);
                PATHS.iter().any(|path| {
                    receiver
                        .strip_suffix(path)
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
                })
            });
            at.map(|(at, _)| format!("{}{method}", self.receiver(at)))
        })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.code.split(|c: char| !c.is_alphanumeric() && c != '_')
    }

    /// True if the argument at `at` is a path of `/proc`, which is no data directory.
    fn is_of_the_kernel(&self, at: usize) -> bool {
        let argument = self.code.split_at(at).1.trim_start_matches("format!(");
        argument.starts_with("\"/proc/")
    }

    /// True if the code before `at` ends in a part of a name, so that what follows is another function.
    fn ends_in_name(&self, at: usize) -> bool {
        let before = self.code.split_at(at).0;
        before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
    }

    /// The name of what a method at `at` is called on: of a call, that of the function.
    fn receiver(&self, at: usize) -> &str {
        let mut before = self.code.split_at(at).0;
        if before.ends_with(')') {
            let mut depth = 0;
            let open = before.char_indices().rev().find(|(_, c)| {
                match c {
                    ')' => depth += 1,
                    '(' => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            before = before.split_at(open.map_or(0, |(at, _)| at)).0;
        }
        let start = before
            .char_indices()
            .rev()
            .take_while(|(_, c)| c.is_alphanumeric() || *c == '_')
            .last();
        before.split_at(start.map_or(before.len(), |(at, _)| at)).1
    }
}

/// The statements of a file without comments, up to its tests.
fn statements(text: &str) -> Vec<Statement> {
    let mut statements: Vec<Statement> = Vec::new();
    let mut is_exception = false;
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let code = line.trim();
        if code == "#[cfg(test)]" && lines.peek().is_some_and(|(_, next)| next.starts_with("mod ")) {
            break;
        }
        if code.starts_with("//") {
            is_exception |= code.contains(EXCEPTION);
            continue;
        }
        is_exception |= code.contains(EXCEPTION);
        match statements.last_mut() {
            Some(before) if code.starts_with('.') => {
                before.code.push_str(code);
                before.is_exception |= is_exception;
            }
            _ => statements.push(Statement {
                line: index + 1,
                code: code.to_owned(),
                is_exception,
            }),
        }
        is_exception = false;
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        findings(&SourceFile {
            path: "crates/a/src/b.rs".into(),
            text: text.to_owned(),
        })
        .len()
    }

    #[test]
    fn what_opens_past_the_opener_is_found() {
        for line in [
            "let text = fs::read_to_string(path)?;",
            "std::fs::read(&path)",
            "for entry in fs::read_dir(dir)? {",
            "let file = std::fs::File::open(path)?;",
            "match fs::metadata(path) {",
            "if self.dir.journal_path(stream).exists() {",
            "path.metadata()",
            "path\n    .metadata()\n    .map(|found| found.len())",
            "if destination.is_dir() {",
            "folder.join(\"a\").is_file()",
            "OpenOptions::new()\n    .append(true)\n    .open(&path)",
            "let file = options.open(&path)?;",
            "use std::fs::{File, read_to_string};",
            "/// A sentence.\nfs::write(path, text)?;",
        ] {
            assert_eq!(found(line), 1, "{line}");
        }
    }

    #[test]
    fn what_opens_nothing_or_says_why_is_fine() {
        for line in [
            "let bytes = storage::read(&path, LIMIT)?;",
            "let file = storage::open_with(&path, &mut options)?;",
            "let file = storage::open_with(&path, OpenOptions::new().append(true))?;",
            "let metadata = file.metadata()?;",
            "if session.exists() {",
            "if metadata.is_dir() {",
            "path.symlink_metadata()",
            "self.io.open(&path, OpenMode::Read)",
            "// fs::read(path) would follow it",
            "// not by storage: a terminal is a device\nFile::open(\"/dev/tty\")",
            "fs::read_to_string(\"/proc/self/status\")",
            "fs::read_to_string(format!(\"/proc/{pid}/stat\"))",
            "fs::read(path) // not by storage: it is ours",
            "#[cfg(test)]\nmod tests {\n    fn f() { fs::read(path); }\n}",
        ] {
            assert_eq!(found(line), 0, "{line}");
        }
    }

    #[test]
    fn tests_may_open_what_they_like() {
        for path in [
            "crates/a/tests/it/b.rs",
            "crates/test-servers/src/fs.rs",
            "xtask/src/a.rs",
            OPENER,
        ] {
            let file = SourceFile {
                path: path.into(),
                text: "fs::read(path)".to_owned(),
            };
            assert!(findings(&file).is_empty(), "{path}");
        }
    }
}
