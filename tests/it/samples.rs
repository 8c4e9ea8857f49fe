//! Every console sample of the documents is run, and what is printed is compared with what the document shows.
//!
//! A page is one shell in one directory of its own, in which its samples run in their order. Two kinds of comments,
//! which readers do not see, say what a sample needs: `<!-- set-up` with lines of shell that run before what follows,
//! and `<!-- not run: REASON -->` before a sample that cannot be run. `…` stands for anything within a line, and alone
//! on a line for any lines. A sample that shows an error must fail, and any other must not. Ids, times, spans and hashes are compared by their form, and an id of the document stands
//! for the one that was printed in its place; a line of a set-up that prints two ids says so too.
//!
//! `SAMPLES=overwrite cargo nextest run -p scenarios samples` writes what is printed now into the documents.

mod page;
mod shell;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;
use snapbox::{Assert, Data};
use test_servers::FsServer;

use page::{Page, Part, Sample};
use shell::Shell;

/// Forms that differ from run to run, and their placeholders where texts are compared.
static FORMS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "<id>",
        ),
        (r"\b[0-9a-f]{64}\b", "<hash>"),
        (
            r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|\+00:00)",
            "<time>",
        ),
        (r"\b\d+(\.\d+)?(ms|µs|s|min)\b( \d+(s|min)\b)?", "<span>"),
        (r"\b\d{1,2}:\d{2}:\d{2}(\.\d+)?\b", "<span>"),
        (r"(team-bucket):[0-9a-f]{8}\b", "$1:<digits>"),
        (r"\b\d{8}-\d{6}\b", "<stamp>"),
        (r"\b20\d{2}-\d{2}-\d{2}\b", "<day>"),
        (r"\b127\.0\.0\.1:\d+", "<address>"),
        (r"~\d{16}~", "~<micros>~"),
        (r" {2,}", "  "),
    ]
    .into_iter()
    .map(|(form, stands)| (Regex::new(form).unwrap(), stands))
    .collect()
});

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Documents beside those of `docs/` whose samples are run.
const FURTHER: &[&str] = &["README.md"];

/// The documents whose samples are run.
fn documents() -> Vec<PathBuf> {
    let files = std::fs::read_dir(root().join("docs")).unwrap();
    let mut pages: Vec<PathBuf> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .chain(FURTHER.iter().map(|name| root().join(name)))
        .collect();
    pages.sort();
    pages
}

#[test]
fn samples_are_what_is_printed() {
    let overwrite = std::env::vars().any(|(name, value)| name == "SAMPLES" && value == "overwrite");
    let mut wrong = Vec::new();
    let (mut run, mut marked) = (0, 0);
    for path in documents() {
        let mut page = Page::read(&path);
        wrong.extend(page.unmarked_sessions());
        run += page.samples().filter(|sample| sample.not_run.is_none()).count();
        marked += page.samples().filter(|sample| sample.not_run.is_some()).count();
        let differing = check(&mut page);
        if overwrite {
            page.write();
        } else {
            wrong.extend(differing);
        }
    }
    println!("SAMPLES run={run} not_run={marked}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs the samples of a page, puts into it what was printed, and tells what differs.
fn check(page: &mut Page) -> Vec<String> {
    let server = FsServer::start();
    std::fs::create_dir(server.file("../team-bucket")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut shell = Shell::start(home.path(), &server.endpoint());
    let mut ids = BTreeMap::new();
    let mut wrong = Vec::new();
    let name = page.name();
    for part in &mut page.parts {
        match part {
            Part::SetUp { line, script } => {
                let (printed, status) = shell.run(&with_real_ids(script, &ids));
                if status != 0 {
                    wrong.push(format!("{name}:{line}: the set-up failed: {printed}"));
                }
                for line in printed.lines() {
                    if let [shown, real] = ids_of(line).as_slice() {
                        ids.insert(shown.clone(), real.clone());
                    }
                }
            }
            Part::Sample(sample) if sample.not_run.is_none() => {
                wrong.extend(
                    check_sample(sample, &mut shell, &mut ids)
                        .map(|(line, how)| format!("{name}:{line}: {how}")),
                );
            }
            Part::Sample(_) | Part::Text(_) => {}
        }
    }
    wrong
}

fn check_sample(
    sample: &mut Sample,
    shell: &mut Shell,
    ids: &mut BTreeMap<String, String>,
) -> impl Iterator<Item = (usize, String)> {
    let mut wrong = Vec::new();
    for step in &mut sample.steps {
        let (printed, status) = shell.run(&with_real_ids(&step.command, ids));
        let (shown, found) = (ids_of(&step.output), ids_of(&printed));
        if shown.len() == found.len() {
            ids.extend(
                shown
                    .into_iter()
                    .zip(found)
                    .filter(|(shown, _)| !ids.contains_key(shown))
                    .collect::<Vec<_>>(),
            );
        }
        if let Err(how) = fits(status, &step.command, &step.output) {
            wrong.push((step.line, format!("$ {}\n{how}", step.command)));
        }
        if let Err(how) = compare(&printed, &step.output) {
            wrong.push((step.line, format!("$ {}\n{how}", step.command)));
            // An id that is known keeps the form in which the document has it.
            step.output = ids
                .iter()
                .fold(printed, |text, (shown, real)| text.replace(real, shown));
        }
    }
    wrong.into_iter()
}

/// Compares an exit status with what a document shows: a command that prints no error ends with 0, one that prints an
/// error with another, and one whose error is a JSON document with the `exit_code` in it. `sh -c '…; exit 3'` ends with 3.
fn fits(status: i32, command: &str, shown: &str) -> Result<(), String> {
    let errors: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("error: ") || line.starts_with("{\"error\":"))
        .collect();
    let codes = errors
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut codes: Vec<i64> = codes
        .filter_map(|document| document["error"]["exit_code"].as_i64())
        .collect();
    let said = command.rsplit_once("; exit ");
    codes.extend(said.and_then(|(_, code)| code.strip_suffix('\'')?.parse::<i64>().ok()));
    let fitting = match codes.as_slice() {
        [] => (status != 0) != errors.is_empty(),
        codes => codes.contains(&status.into()),
    };
    let shows = if errors.is_empty() { "no error" } else { "an error" };
    fitting
        .then_some(())
        .ok_or_else(|| format!("it exits with {status}, and the document shows {shows} {codes:?}"))
}

fn ids_of(text: &str) -> Vec<String> {
    let (form, _) = &FORMS[0];
    let mut ids: Vec<String> = Vec::new();
    for id in form.find_iter(text).map(|id| id.as_str()) {
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids
}

fn with_real_ids(command: &str, ids: &BTreeMap<String, String>) -> String {
    ids.iter().fold(command.to_owned(), |command, (shown, real)| {
        command.replace(shown, real)
    })
}

fn compare(printed: &str, shown: &str) -> Result<(), String> {
    let formless = |text: &str| {
        FORMS.iter().fold(text.to_owned(), |text, (form, stands)| {
            form.replace_all(&text, *stands).into_owned()
        })
    };
    let wildcards = |line: &str| {
        if line.trim() == "…" {
            "...".to_owned()
        } else {
            line.replace('…', "[..]")
        }
    };
    let shown: String = formless(shown)
        .lines()
        .map(|line| wildcards(line) + "\n")
        .collect();
    let printed: String = formless(printed)
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect();
    Assert::new()
        .normalize_paths(false)
        .try_eq(Some(&"printed"), Data::text(printed), Data::text(shown))
        .map_err(|error| error.to_string())
}
