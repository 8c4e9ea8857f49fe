//! The process that fault tests kill while it indexes: `artifact-indexer DATA_DIR` brings the search index of a data
//! directory up to date and prints `at BYTES` after each batch, then what `found N` with the word `evidence`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use artifact_core::{ArtifactQuery, ManagerOptions, TestArtifactsManager, TextQuery};
use artifact_index::SqliteIndex;
use scenarios::program::{Error, run};
use tracking_journal::DataDir;

fn main() -> ExitCode {
    run(|arguments| {
        let [data_dir] = arguments else {
            return Err("usage: artifact-indexer DATA_DIR".into());
        };
        index(data_dir)
    })
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
