//! `ekstrack import` and `ekstrack export`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tracking_facade::{
    ArchiveImport, DataDir, ErrorKind, ImportError, ImportSources, SessionId, SessionImport, SkipReason,
    UpgradeId, storage,
};

use crate::args::{ExportArgs, ImportArgs};
use crate::exit::{Failure, Kind, chain};
use crate::failure::cannot;
use crate::output::{note, path_text, stdout};
use crate::render::{Palette, one_line};
use crate::settings::Settings;
use crate::work::Work;

/// Prints the same with and without `--json`: what it exports is a JSON document.
pub(crate) fn export(args: &ExportArgs, settings: &Settings) -> Result<(), Failure> {
    let attempted = || format!("export upgrade {}", args.upgrade);
    let archive = settings.archive().map_err(cannot(attempted))?;
    let work = Work::begin("exporting", settings.output);
    let exported = archive.export(&args.upgrade, stdout());
    work.end();
    exported.map_err(settings.cannot(attempted))
}

/// What `import` did.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ImportDocument {
    upgrades: Vec<Imported>,
    sessions: Vec<ImportedSession>,
    skipped: Vec<Skipped>,
}

#[derive(Debug, Serialize)]
struct Imported {
    upgrade_id: UpgradeId,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_bytes: Option<Arc<str>>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ImportedSession {
    session_id: SessionId,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_bytes: Option<Arc<str>>,
    artifacts: usize,
    /// Artifacts whose bytes were not found.
    missing: usize,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Skipped {
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_bytes: Option<Arc<str>>,
    reason: String,
    /// Whether, and how, it could not be imported though it should have been.
    #[serde(serialize_with = "is_some")]
    failed: Option<Kind>,
}

pub(crate) fn import(args: ImportArgs, settings: &Settings) -> Result<(), Failure> {
    let paths: Vec<String> = args.paths.iter().map(|path| path.display().to_string()).collect();
    let attempted = || format!("import {}", paths.join(", "));
    for path in &args.paths {
        storage::named_metadata(path)
            .map_err(|error| Failure::of(Kind::NotFound, format!("import {}", path.display()), &error))?;
    }
    let made = Made::by_creating(&settings.data_dir);
    let dir = settings.create_data_dir().map_err(cannot(attempted))?;
    let mut sources = ImportSources::new(args.paths);
    sources.copy_from = args.copy_from;
    sources.actor = Arc::clone(&settings.actor);
    sources.lock_timeout = settings.lock_timeout;
    let work = Work::begin("importing", settings.output);
    let imported = settings.archive().and_then(|archive| archive.import(&sources));
    work.end();
    let imported = imported.map(ImportDocument::new);
    if imported.as_ref().map_or((0, 0), ImportDocument::counts) == (0, 0) {
        made.remove_unless_used(&dir);
    }
    let document = imported.map_err(cannot(attempted))?;
    settings
        .output
        .result(&document, |palette| document.to_text(palette))?;
    match document.skipped.iter().find(|skipped| skipped.failed.is_some()) {
        None => Ok(()),
        Some(skipped) => {
            let cause = format!("{}: {}", skipped.source, skipped.reason);
            let hint = match document.counts() {
                (0, 0) => "nothing was imported; mend it and import again",
                _ => "the other files were imported; mend it and import again",
            };
            let kind = skipped.failed.unwrap_or(Kind::Failed);
            Err(Failure::new(kind, attempted(), cause).hint(hint))
        }
    }
}

/// The directories that come to be with a data directory, itself first; none if it is there already.
struct Made(Vec<PathBuf>);

impl Made {
    fn by_creating(data_dir: &Path) -> Self {
        let missing = data_dir
            .ancestors()
            .take_while(|dir| !dir.as_os_str().is_empty() && !storage::exists(dir));
        Self(missing.map(Path::to_owned).collect())
    }

    /// Removes them again, but for those into which something was put.
    fn remove_unless_used(&self, dir: &DataDir) {
        if self.0.is_empty() {
            return;
        }
        let parts = [dir.progress_dir(), dir.artifacts_dir(), dir.cursors_dir()];
        for path in parts.iter().chain(&self.0) {
            match fs::remove_dir(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(error) => note("warning", &format!("{} is left behind: {error}", path.display())),
            }
        }
    }
}

/// For scripts it is a yes or no: the reason says how.
#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn is_some<S: Serializer>(failed: &Option<Kind>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(failed.is_some())
}

impl ImportDocument {
    pub(crate) fn new(report: ArchiveImport) -> Self {
        let mut document = Self::default();
        for one in report.upgrades.imported {
            let (source, source_bytes) = path_text(&one.source);
            document.upgrades.push(Imported {
                upgrade_id: one.upgrade_id,
                source,
                source_bytes,
                warnings: one.warnings,
            });
        }
        for one in report.upgrades.skipped {
            let (source, source_bytes) = path_text(&one.source);
            document.skipped.push(Skipped {
                failed: match &one.reason {
                    SkipReason::Failed(error) => Some(ErrorKind::from(error).into()),
                    SkipReason::NotAFile => Some(Kind::Failed),
                    _ => None,
                },
                reason: chain(&one.reason).join(": "),
                source,
                source_bytes,
            });
        }
        for report in report.sessions {
            document.add_sessions(report);
        }
        document
    }

    fn add_sessions(&mut self, report: SessionImport) {
        for one in report.sessions {
            let (source, source_bytes) = path_text(&one.file);
            self.sessions.push(ImportedSession {
                session_id: one.session_id,
                source,
                source_bytes,
                artifacts: one.artifacts,
                missing: one.missing,
                warnings: one.warnings,
            });
        }
        for session_id in report.existing {
            self.skipped.push(Skipped {
                source: format!("session {session_id}"),
                source_bytes: None,
                reason: "it is in the data directory already".to_owned(),
                failed: None,
            });
        }
        for one in report.failures {
            let (source, source_bytes) = path_text(&one.file);
            self.skipped.push(Skipped {
                source,
                source_bytes,
                reason: chain(&one.error).join(": "),
                failed: Some(match &one.error {
                    ImportError::Artifact(error) => ErrorKind::from(error).into(),
                    _ => Kind::Failed,
                }),
            });
        }
    }

    /// What there is to say of files that were taken over in passing: what was impossible in them, and those that
    /// could not be.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let upgrades = self.upgrades.iter().map(|one| (&one.source, &one.warnings));
        let sessions = self.sessions.iter().map(|one| (&one.source, &one.warnings));
        let of_files = upgrades.chain(sessions).flat_map(|(source, warnings)| {
            warnings
                .iter()
                .map(move |warning| format!("{source}: {}", one_line(warning)))
        });
        let failed = self.skipped.iter().filter(|one| one.failed.is_some());
        let not_taken = failed.map(|one| format!("{} is not taken over: {}", one.source, one.reason));
        of_files.chain(not_taken).collect()
    }

    /// How many upgrades and sessions were taken over.
    pub(crate) const fn counts(&self) -> (usize, usize) {
        (self.upgrades.len(), self.sessions.len())
    }

    fn to_text(&self, palette: Palette) -> String {
        let mut text = String::new();
        let mut told = |what: String, warnings: &[String]| {
            text.push_str(&format!("{} {what}\n", palette.good("imported")));
            for warning in warnings {
                text.push_str(&format!("  {} {}\n", palette.warn("warning:"), one_line(warning)));
            }
        };
        for one in &self.upgrades {
            told(
                format!("{} as upgrade {}", one_line(&one.source), one.upgrade_id),
                &one.warnings,
            );
        }
        for one in &self.sessions {
            let ImportedSession {
                session_id,
                artifacts,
                missing,
                ..
            } = one;
            let what = format!(
                "{} as session {session_id}: {artifacts} artifacts, {missing} without bytes",
                one_line(&one.source)
            );
            told(what, &one.warnings);
        }
        for one in &self.skipped {
            text.push_str(&format!(
                "{} {}: {}\n",
                palette.warn("skipped"),
                one_line(&one.source),
                one_line(&one.reason)
            ));
        }
        if text.is_empty() {
            text.push_str("nothing to import was found\n");
        }
        text
    }
}
