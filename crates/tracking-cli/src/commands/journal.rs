//! `ekstrack journal`.

use std::path::Path;

use serde_json::json;
use tracking_facade::{Archive, Salvage, StreamId};

use crate::args::JournalCommand;
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::output::path_text;
use crate::render::one_line;
use crate::settings::Settings;

pub(crate) fn journal(command: JournalCommand, settings: &Settings) -> Result<(), Failure> {
    let JournalCommand::Repair { journal } = command;
    repair(&journal, settings)
}

fn repair(journal: &str, settings: &Settings) -> Result<(), Failure> {
    let attempted = || format!("repair {journal}");
    let (archive, stream) = match journal.parse::<StreamId>() {
        Ok(stream) => (settings.archive().map_err(cannot(attempted))?, stream),
        Err(_) => locate(Path::new(journal))?,
    };
    let salvage = archive
        .repair(&stream, settings.lock_timeout)
        .map_err(cannot(attempted))?;
    let mut document = match &salvage {
        Salvage::Intact(head) => json!({
            "stream": stream.to_string(), "repaired": false, "seq": head.seq, "head": head.hash.to_string(),
        }),
        Salvage::Repaired(report) => json!({
            "stream": stream.to_string(), "repaired": true, "seq": report.head.seq,
            "head": report.head.hash.to_string(), "epoch": report.head.epoch.to_string(),
            "kept": report.kept, "unverified": report.unverified, "missing": report.missing,
            "dropped_lines": report.dropped_lines, "dropped_bytes": report.dropped_bytes,
            "damaged_file": path_text(&report.damaged_file).0,
        }),
    };
    if let Salvage::Repaired(report) = &salvage
        && let (_, Some(bytes)) = path_text(&report.damaged_file)
    {
        document["damaged_file_bytes"] = json!(bytes);
    }
    settings.output.result(&document, |_| match &salvage {
        Salvage::Intact(head) => format!("{stream} is intact, with {} records; nothing was changed\n", head.seq),
        Salvage::Repaired(report) => format!(
            "{stream} is repaired: {} records kept ({} of them could not be verified), {} missing, {} lines dropped\n\
             the damaged file is kept as {}\n",
            report.kept,
            report.unverified,
            report.missing,
            report.dropped_lines,
            one_line(&report.damaged_file.display().to_string()),
        ),
    })
}

/// The data directory and the stream of a journal's file: `<data-dir>/progress/upgrade_<id>.jsonl`.
fn locate(path: &Path) -> Result<(Archive, StreamId), Failure> {
    let attempted = || format!("repair {}", path.display());
    let stem = path
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_suffix(".jsonl"));
    let stream = stem.and_then(|stem| StreamId::from_file_stem(stem).ok());
    let Some(stream) = stream else {
        return Err(Failure::new(
            Kind::Usage,
            attempted(),
            "it is neither a stream nor the file of a journal",
        )
        .hint("give upgrade:ID, session:ID, or a path that ends in upgrade_ID.jsonl or session_ID.jsonl"));
    };
    let absolute = path
        .canonicalize()
        .map_err(|error| Failure::of(Kind::NotFound, attempted(), &error))?;
    let data_dir = absolute.ancestors().nth(2).unwrap_or(Path::new("/"));
    let archive = Archive::open(data_dir).map_err(cannot(attempted))?;
    if archive.data_dir().journal_path(&stream) != absolute {
        let cause = format!("it is not where {stream} of a data directory would be");
        return Err(Failure::new(Kind::Usage, attempted(), cause));
    }
    Ok((archive, stream))
}
