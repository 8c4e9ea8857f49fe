//! Files of the reference whose names our snapshots take: a copy of each is kept first.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::storage;

/// If `file` is what `snapshot` names, keeps its `content` durably as `<file>.reference`, and tells that name; `None` if
/// the snapshot takes nothing's place. A copy of the same content is not made twice; an earlier one of other content
/// stays, and the new one is numbered: `<file>.reference-2`.
///
/// # Errors
/// As the system says, also where it cannot tell whether the two are one; nothing half is left under such a name.
pub fn keep_original(file: &Path, snapshot: &Path, content: &[u8]) -> io::Result<Option<PathBuf>> {
    let replaced = match snapshot.canonicalize() {
        Ok(snapshot) => snapshot == file.canonicalize()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if !replaced {
        return Ok(None);
    }
    let mut n = 1_u32;
    loop {
        let suffix = if n == 1 {
            ".reference".to_owned()
        } else {
            format!(".reference-{n}")
        };
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        let copy = PathBuf::from(name);
        match holds(&copy, content) {
            Ok(true) => return Ok(Some(copy)),
            Ok(false) => n += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_durably(&copy, content)?;
                return Ok(Some(copy));
            }
            Err(error) => return Err(error),
        }
    }
}

fn holds(copy: &Path, content: &[u8]) -> io::Result<bool> {
    match storage::read(copy, content.len() as u64) {
        Ok(held) => Ok(held == content),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let unique = tracking_model::new_uuid().simple();
    let temporary = directory.join(format!(".{}.{unique}.tmp", name.to_string_lossy()));
    let written = storage::create_anew(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| storage::sync_directory(directory));
    if written.is_err()
        && let Err(error) = fs::remove_file(&temporary)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(path = %temporary.display(), %error, "leaving half a copy behind");
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn originals_are_kept_once_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("session_s.json");
        fs::write(&file, "one").unwrap();
        let elsewhere = folder.path().join("session_t.json");
        assert_eq!(keep_original(&file, &elsewhere, b"one").unwrap(), None);
        for _ in 0..2 {
            let kept = keep_original(&file, &file, b"one").unwrap();
            assert_eq!(kept, Some(folder.path().join("session_s.json.reference")));
        }
        let kept = keep_original(&file, &file, b"two").unwrap();
        assert_eq!(kept, Some(folder.path().join("session_s.json.reference-2")));
        assert_eq!(
            fs::read(folder.path().join("session_s.json.reference")).unwrap(),
            b"one"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
