//! `ekstrack import` and `ekstrack export`.

use std::io;
use std::path::PathBuf;

use serde::Serialize;
use tracking_facade::{ImportReport, SkipReason, UpgradeId};

use crate::args::{ExportArgs, ImportArgs};
use crate::exit::{Failure, Kind, chain};
use crate::failure::cannot;
use crate::render::Palette;
use crate::settings::Settings;
use crate::work::Work;

/// Prints the same with and without `--json`: what it exports is a JSON document.
pub(crate) fn export(args: &ExportArgs, settings: &Settings) -> Result<(), Failure> {
    let attempted = || format!("export upgrade {}", args.upgrade);
    let archive = settings.archive().map_err(cannot(attempted))?;
    let work = Work::begin("exporting", settings.output);
    let exported = archive.export(&args.upgrade, io::stdout().lock());
    work.end();
    exported.map_err(cannot(attempted))
}

/// What `import` did.
#[derive(Debug, Serialize)]
struct ImportDocument {
    imported: Vec<Imported>,
    skipped: Vec<Skipped>,
}

#[derive(Debug, Serialize)]
struct Imported {
    upgrade_id: UpgradeId,
    source: PathBuf,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Skipped {
    source: PathBuf,
    reason: String,
    /// Whether it should have been imported and could not be.
    failed: bool,
}

pub(crate) fn import(args: &ImportArgs, settings: &Settings) -> Result<(), Failure> {
    let attempted = || {
        let paths: Vec<String> = args.paths.iter().map(|path| path.display().to_string()).collect();
        format!("import {}", paths.join(", "))
    };
    for path in &args.paths {
        path.symlink_metadata()
            .map_err(|error| Failure::of(Kind::NotFound, format!("import {}", path.display()), &error))?;
    }
    settings.create_data_dir().map_err(cannot(attempted))?;
    let archive = settings.archive().map_err(cannot(attempted))?;
    let work = Work::begin("importing", settings.output);
    let imported = archive.import(&args.paths, &settings.tracker_options());
    work.end();
    let document = ImportDocument::new(imported.map_err(cannot(attempted))?);
    settings
        .output
        .result(&document, |palette| document.to_text(palette))?;
    match document.skipped.iter().find(|skipped| skipped.failed) {
        None => Ok(()),
        Some(skipped) => {
            let cause = format!("{}: {}", skipped.source.display(), skipped.reason);
            Err(Failure::new(Kind::Failed, attempted(), cause)
                .hint("the other files were imported; mend it and import again"))
        }
    }
}

impl ImportDocument {
    fn new(report: ImportReport) -> Self {
        let imported = report.imported.into_iter().map(|one| Imported {
            upgrade_id: one.upgrade_id,
            source: one.source,
            warnings: one.warnings,
        });
        let skipped = report.skipped.into_iter().map(|one| Skipped {
            failed: matches!(one.reason, SkipReason::Failed(_) | SkipReason::NotAFile),
            reason: chain(&one.reason).join(": "),
            source: one.source,
        });
        Self {
            imported: imported.collect(),
            skipped: skipped.collect(),
        }
    }

    fn to_text(&self, palette: Palette) -> String {
        let mut text = String::new();
        for one in &self.imported {
            text.push_str(&format!(
                "{} {} as upgrade {}\n",
                palette.good("imported"),
                one.source.display(),
                one.upgrade_id
            ));
            for warning in &one.warnings {
                text.push_str(&format!("  {} {warning}\n", palette.warn("warning:")));
            }
        }
        for one in &self.skipped {
            text.push_str(&format!(
                "{} {}: {}\n",
                palette.warn("skipped"),
                one.source.display(),
                one.reason
            ));
        }
        if text.is_empty() {
            text.push_str("nothing to import was found\n");
        }
        text
    }
}
