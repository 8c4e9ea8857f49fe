//! Output that is being written, to be read while it grows.

use std::io;
use std::path::Path;

use tracking_journal::storage;
use tracking_model::{CollectionId, SessionId};

use crate::{ArtifactError, ArtifactReader, TestArtifactsManager};

/// The directory of a session in which live writers write, and what the names of their files begin with; the encoded id
/// of the collection follows, then a UUID v7, between tildes.
const INCOMING: &str = ".incoming";
const LIVE: &str = "live~";

impl TestArtifactsManager {
    /// Unfinished output of a collection's [`ArtifactWriter`](crate::ArtifactWriter)s: their process is
    /// at work, or died and nobody has added to the session since. In the order in which they were begun.
    ///
    /// # Errors
    /// [`ArtifactError::Io`] if the files cannot be listed or opened.
    pub async fn live_output(
        &self,
        session_id: &SessionId,
        collection_id: &CollectionId,
    ) -> Result<Vec<ArtifactReader>, ArtifactError> {
        let prefix = format!("{LIVE}{}~", collection_id.encoded());
        let session = session_id.encoded();
        self.run(move |inner| {
            let incoming = inner
                .sessions
                .data_dir()
                .artifacts_dir()
                .join(session)
                .join(INCOMING);
            open_all(&incoming, &prefix).map_err(|source| ArtifactError::Io {
                operation: "read",
                path: incoming,
                source,
            })
        })
        .await
    }
}

fn open_all(incoming: &Path, prefix: &str) -> io::Result<Vec<ArtifactReader>> {
    let mut paths = Vec::new();
    match storage::read_dir(incoming) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry?;
                if entry
                    .file_name()
                    .to_str()
                    .is_some_and(|name| name.starts_with(prefix))
                {
                    paths.push(entry.path());
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    paths.sort();
    let mut readers = Vec::new();
    for path in paths {
        match storage::open(&path) {
            Ok(file) => readers.push(ArtifactReader {
                size: file.metadata()?.len(),
                reader: file,
            }),
            // It was finished meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(readers)
}
