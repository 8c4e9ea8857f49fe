//! Which key an object gets where the wanted one is taken, or where being taken cannot be noticed.

use artifact_core::{ArtifactKey, KeyError, PutMode};
use tracking_model::{ArtifactId, numbered_file_name};

/// How many names are tried: a server that takes every one for taken must not be asked for ever.
const MOST_NAMES: u64 = 1000;
/// The longest file name.
const MAX_NAME_BYTES: usize = 255;

/// The keys to try, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    wanted: ArtifactKey,
    mode: PutMode,
    number: u64,
}

impl Names {
    /// For a server that tells when a key is taken.
    pub(crate) fn new(wanted: &ArtifactKey, mode: PutMode) -> Self {
        Self {
            wanted: wanted.clone(),
            mode,
            number: 1,
        }
    }

    /// The key to try now.
    pub(crate) fn current(&self) -> Result<ArtifactKey, KeyError> {
        with_name(
            &self.wanted,
            numbered_file_name(self.wanted.file_name(), self.number),
        )
    }

    /// Goes on to the next; `false` if there is none.
    pub(crate) fn advance(&mut self) -> bool {
        self.number += 1;
        self.mode == PutMode::Numbered && self.number <= MOST_NAMES
    }
}

/// A key that no other writer uses: `{stem}~{artifact_id}{ext}`, with an id of its own where the artifact has none.
pub(crate) fn own_key(wanted: &ArtifactKey, id: Option<&ArtifactId>) -> Result<ArtifactKey, KeyError> {
    let id = id.map_or_else(|| tracking_model::new_uuid().to_string(), ArtifactId::encoded);
    let name = wanted.file_name();
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
        _ => (name, String::new()),
    };
    if stem.strip_suffix(&id).is_some_and(|rest| rest.ends_with('~')) {
        return Ok(wanted.clone());
    }
    // Names are ASCII. The id is what makes the name one's own, so the stem gives way.
    let room = MAX_NAME_BYTES
        .saturating_sub(1 + id.len() + extension.len())
        .max(1);
    let stem: String = stem.chars().take(room).collect();
    let extension = if stem.len() + 1 + id.len() + extension.len() > MAX_NAME_BYTES {
        String::new()
    } else {
        extension
    };
    with_name(wanted, format!("{stem}~{id}{extension}"))
}

fn with_name(key: &ArtifactKey, name: String) -> Result<ArtifactKey, KeyError> {
    ArtifactKey::new(key.session_id().clone(), key.collection_id().clone(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_names_are_numbered() {
        let mut names = Names::new(&"s/c/log.txt".parse().unwrap(), PutMode::Numbered);
        assert_eq!(names.current().unwrap().to_string(), "s/c/log.txt");
        assert!(names.advance());
        assert_eq!(names.current().unwrap().to_string(), "s/c/log-2.txt");
        assert!(!Names::new(&"s/c/x".parse().unwrap(), PutMode::Create).advance());
    }

    #[test]
    fn own_names_have_the_id() {
        let id = ArtifactId::new("a:1").unwrap();
        let own = |name: &str| own_key(&format!("s/c/{name}").parse().unwrap(), Some(&id)).unwrap();
        assert_eq!(own("log.txt").file_name(), "log~a%3A1.txt");
        assert_eq!(own("core").file_name(), "core~a%3A1");
        assert_eq!(
            own("log~a%3A1.txt").file_name(),
            "log~a%3A1.txt",
            "it is its own already"
        );
        let long = own(&format!("{}.log", "x".repeat(251)));
        assert_eq!(long.file_name().len(), MAX_NAME_BYTES);
        assert!(long.file_name().ends_with("~a%3A1.log"));
        let longest = ArtifactId::new("a".repeat(128)).unwrap();
        let key: ArtifactKey = format!("s/c/x.{}", "y".repeat(240)).parse().unwrap();
        assert!(
            own_key(&key, Some(&longest))
                .unwrap()
                .file_name()
                .ends_with(longest.as_str())
        );
    }
}
