//! The process that fault tests kill while it indexes: `artifact-indexer DATA_DIR` brings the search index of a data
//! directory up to date and prints `at BYTES` after each batch, then what `found N` with the word `evidence`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use artifact_core::{ArtifactQuery, ManagerOptions, TestArtifactsManager, TextQuery};
use artifact_index::SqliteIndex;
use tracking_journal::DataDir;

type Error = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data_dir] = arguments.as_slice() else {
        return fail("usage: artifact-indexer DATA_DIR");
    };
    match index(data_dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:?}")),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the one place where this program reports its failure"
)]
fn fail(message: &str) -> ExitCode {
    eprintln!("artifact-indexer: {message}");
    ExitCode::FAILURE
}

fn index(data_dir: &str) -> Result<(), Error> {
    let dir = DataDir::existing(data_dir)?;
    let index = SqliteIndex::new(dir.path().join("index.sqlite"));
    let manager = TestArtifactsManager::new(dir, ManagerOptions::default().with_index(Arc::new(index)));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let unreadable = runtime.block_on(manager.update_index(|progress| {
        // Whoever killed the reader of this is about to kill us too.
        if writeln!(std::io::stdout(), "at {}", progress.bytes).is_err() {}
    }))?;
    if let Some(unreadable) = unreadable.into_iter().next() {
        return Err(unreadable.error.into());
    }
    let query = ArtifactQuery::new().with_text(TextQuery::new("evidence")?);
    let found = runtime.block_on(manager.artifact_statistics(query))?;
    writeln!(std::io::stdout(), "found {}", found.statistics.total.artifacts)?;
    Ok(())
}
