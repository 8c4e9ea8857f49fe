//! `ekstrack import` and `ekstrack export`.

use std::io;

use crate::args::ExportArgs;
use crate::exit::Failure;
use crate::failure::cannot;
use crate::settings::Settings;

/// Prints the same with and without `--json`: what it exports is a JSON document.
pub(crate) fn export(args: &ExportArgs, settings: &Settings) -> Result<(), Failure> {
    let attempted = || format!("export upgrade {}", args.upgrade);
    let archive = settings.archive().map_err(cannot(attempted))?;
    archive
        .export(&args.upgrade, io::stdout().lock())
        .map_err(cannot(attempted))
}
