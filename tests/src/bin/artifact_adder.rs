//! The process that fault tests kill while it adds: `artifact-adder DATA_DIR SOURCE_DIR` adds the files of SOURCE_DIR, first
//! one by one and then all of them together, then output that exists nowhere else, which it says with `written`. It
//! prints `acked ID` or `failed NAME KIND` for each, then the most memory that it had in use.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use artifact_core::{ArtifactError, ManagerOptions, NewFile, TestArtifactsManager};
use scenarios::measure::peak_memory_kib;
use scenarios::program::{Error, run};
use tracking_journal::{DataDir, JournalOptions};
use tracking_model::{Artifact, CollectionId, NewArtifact, NewCollection, NewSession, SessionId, UpgradeId};

fn main() -> ExitCode {
    run(|arguments| {
        let [data_dir, sources] = arguments else {
            return Err("usage: artifact-adder DATA_DIR SOURCE_DIR".into());
        };
        add(Path::new(data_dir), Path::new(sources))
    })
}

fn add(data_dir: &Path, sources: &Path) -> Result<(), Error> {
    let options = ManagerOptions::default().with_journal(JournalOptions::default().with_actor("adder"));
    let manager = TestArtifactsManager::new(DataDir::open(data_dir)?, options);
    let (session, collection) = (SessionId::new("s")?, CollectionId::new("c")?);
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(sources)? {
        files.push(entry?.path());
    }
    files.sort();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let new = NewSession::new(UpgradeId::new("up")?, "cluster");
        manager.ensure_session(session.clone(), new).await?;
        let new = NewCollection::new("Files").with_id(collection.clone());
        manager.ensure_collection(&session, new).await?;
        for file in &files {
            let added = manager
                .add_artifact(&session, &collection, file, NewArtifact::new())
                .await;
            tell(file, added)?;
        }
        let batch = files.iter().map(NewFile::new).collect();
        let added = manager.add_artifacts(&session, &collection, batch, |_| {}).await;
        for (file, added) in files.iter().zip(added) {
            tell(file, added)?;
        }
        let new = NewArtifact::new().with_name("output.log");
        let mut output = manager.begin_artifact(&session, &collection, new).await?;
        output.write_all(b"the last words")?;
        writeln!(std::io::stdout(), "written")?;
        tell(Path::new("output.log"), output.finish().await)?;
        manager.close().await?;
        Ok::<(), Error>(())
    })?;
    writeln!(std::io::stdout(), "peak {} kB", peak_memory_kib())?;
    Ok(())
}

/// Says what became of a file, before the next one is asked for.
fn tell(file: &Path, added: Result<Arc<Artifact>, ArtifactError>) -> Result<(), Error> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let mut out = std::io::stdout().lock();
    match added {
        Ok(artifact) => writeln!(out, "acked {}", artifact.artifact_id)?,
        Err(ArtifactError::Store(error)) => writeln!(out, "failed {name} {:?}", error.kind())?,
        Err(error) => writeln!(out, "failed {name} {error}")?,
    }
    Ok(out.flush()?)
}
