//! `ekstrack verify`: hash chains and artifact digests.

use std::time::{Duration, Instant};

use serde::Serialize;
use tracking_facade::{
    Archive, ArchiveReport, ErrorKind, StreamId, StreamReport, TrackingError, VerifyReport,
};

use crate::args::VerifyArgs;
use crate::exit::{Failure, Kind, chain};
use crate::failure::cannot;
use crate::render::{Palette, bytes, one_line};
use crate::settings::Settings;
use crate::work::Work;

/// What `verify` found.
#[derive(Debug, Serialize)]
struct VerifyDocument {
    ok: bool,
    streams: Vec<StreamFinding>,
    artifacts: ArtifactFindings,
    #[serde(skip_serializing_if = "Option::is_none")]
    head_found_in: Option<HeadFound>,
}

/// What is to be said of one journal.
#[derive(Debug, Serialize)]
struct StreamFinding {
    stream: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<String>,
    /// Bytes of a commit that was never acknowledged, because its writer died.
    #[serde(skip_serializing_if = "Option::is_none")]
    torn_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<CheckpointProblem>,
    /// Whether the error is about its content, not about reaching it.
    #[serde(skip)]
    damaged: bool,
}

/// A checkpoint that says something else than its journal.
#[derive(Debug, Serialize)]
struct CheckpointProblem {
    path: String,
    problem: String,
}

#[derive(Debug, Serialize)]
struct ArtifactFindings {
    verified: u64,
    bytes: u64,
    without_bytes: u64,
    /// Entries that no record speaks of; not more than ten thousand of each session are among the problems.
    extras: u64,
    problems: Vec<FileProblem>,
    /// Files of adds that were interrupted before their record was written.
    unfinished: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FileProblem {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_id: Option<String>,
    problem: String,
    #[serde(skip)]
    is_extra: bool,
}

#[derive(Debug, Serialize)]
struct HeadFound {
    stream: String,
    seq: u64,
}

pub(crate) fn verify(args: VerifyArgs, settings: &Settings) -> Result<(), Failure> {
    let attempted = || match args.streams.as_slice() {
        [] => format!("verify {}", settings.data_dir.display()),
        streams => format!("verify {}", names(streams)),
    };
    let archive = settings.archive().map_err(cannot(attempted))?;
    let report = check(&archive, &args, settings).map_err(cannot(attempted))?;
    let document = VerifyDocument::new(&report, &args);
    settings
        .output
        .result(&document, |palette| document.to_text(palette))?;
    verdict(&report, &args, attempted)
}

fn names(streams: &[StreamId]) -> String {
    let names: Vec<String> = streams.iter().map(ToString::to_string).collect();
    names.join(", ")
}

fn check(archive: &Archive, args: &VerifyArgs, settings: &Settings) -> Result<ArchiveReport, TrackingError> {
    let work = Work::begin("verifying", settings.output);
    let shown = work.clone();
    let begin = Instant::now();
    let report = archive.verify(&args.streams, args.head, move |progress| {
        shown.say(&format!(
            "{} records, {} artifacts, {}{}",
            progress.records,
            progress.artifacts,
            bytes(progress.bytes),
            rate(progress.bytes, begin.elapsed())
        ));
    });
    work.end();
    report
}

/// `, 512.0 MiB/s`, once there is something to measure.
fn rate(read: u64, elapsed: Duration) -> String {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    match read.saturating_mul(1000).checked_div(millis) {
        Some(a_second) if millis >= 500 && read > 0 => format!(", {}/s", bytes(a_second)),
        _ => String::new(),
    }
}

/// The exit code: 4 for what is not as it was written, 5 for what could not be read.
fn verdict(report: &ArchiveReport, args: &VerifyArgs, attempted: impl Fn() -> String) -> Result<(), Failure> {
    let broken: Vec<&StreamReport> = report
        .streams
        .iter()
        .filter(|report| report.result.is_err())
        .collect();
    let first = broken.iter().find_map(|report| report.result.as_ref().err());
    if let Some(error) = first {
        let kind = match error.kind() {
            ErrorKind::Unavailable => Kind::Unavailable,
            ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Refused,
        };
        let failure = match (kind, report.streams.len()) {
            // What is wrong with each has been printed.
            (Kind::Refused, checked) if checked > 1 => {
                let names: Vec<String> = broken.iter().map(|report| report.stream.to_string()).collect();
                let cause = format!(
                    "{} of {checked} journals are not intact: {}",
                    names.len(),
                    names.join(", ")
                );
                Failure::new(kind, attempted(), cause)
            }
            _ => Failure::of(kind, attempted(), error),
        };
        return Err(match kind {
            Kind::Refused => {
                let stream = &broken[0].stream;
                failure.hint(format!(
                    "`ekstrack journal repair {stream}` salvages what is intact into a new file"
                ))
            }
            Kind::NotFound => failure.hint("`ekstrack verify` without streams verifies all there are"),
            _ => failure,
        });
    }
    let wrong = report.streams.iter().find_map(|report| {
        let checkpoint = report.checkpoint.as_ref()?;
        Some((&report.stream, checkpoint))
    });
    if let Some((stream, checkpoint)) = wrong {
        let cause = format!("the checkpoint of {stream} is wrong: {}", checkpoint.reason);
        let hint = format!(
            "the journal is intact: delete {}, which loses nothing",
            checkpoint.path.display()
        );
        return Err(Failure::new(Kind::Refused, attempted(), cause).hint(hint));
    }
    let files = &report.artifacts;
    if let Some(finding) = files.findings.first() {
        let others = match files.findings.len() - 1 {
            0 => String::new(),
            others => format!(", and {others} more files"),
        };
        let cause = format!("{} is {}{others}", one_line(&finding.local_path), finding.problem);
        return Err(Failure::new(Kind::Refused, attempted(), cause));
    }
    if let Some(unreadable) = files.unreadable.first() {
        return Err(Failure::of(Kind::Refused, attempted(), &unreadable.error));
    }
    match args.head {
        Some(head) if report.head_found().is_none() => {
            let cause =
                format!("no journal has a record with the hash {head}: it was rewritten, or is another one");
            Err(Failure::new(Kind::Refused, attempted(), cause))
        }
        _ => Ok(()),
    }
}

impl VerifyDocument {
    fn new(report: &ArchiveReport, args: &VerifyArgs) -> Self {
        let head_found_in = report.head_found().map(|(stream, seq)| HeadFound {
            stream: stream.to_string(),
            seq,
        });
        Self {
            ok: report.is_clean() && (args.head.is_none() || head_found_in.is_some()),
            streams: report.streams.iter().map(StreamFinding::new).collect(),
            artifacts: ArtifactFindings::new(&report.artifacts),
            head_found_in,
        }
    }

    fn to_text(&self, palette: Palette) -> String {
        let mut lines = Vec::new();
        for finding in &self.streams {
            lines.push(match (&finding.error, finding.records) {
                (None, Some(records)) => {
                    let torn = finding.torn_bytes.filter(|torn| *torn > 0);
                    let torn = torn.map_or_else(String::new, |torn| {
                        format!(", and {torn} bytes of a commit that was never acknowledged")
                    });
                    let head = finding.head.as_deref().unwrap_or_default();
                    let intact = palette.good("intact");
                    format!(
                        "{intact}   {}: {records} records, head {}{torn}",
                        finding.stream,
                        palette.dim(head)
                    )
                }
                (error, _) => {
                    let error = one_line(error.as_deref().unwrap_or("it is empty"));
                    {
                        let head = if finding.damaged { "damaged" } else { "unread " };
                        format!("{}  {}: {error}", palette.error(head), finding.stream)
                    }
                }
            });
        }
        for wrong in self
            .streams
            .iter()
            .filter_map(|finding| finding.checkpoint.as_ref())
        {
            lines.push(format!(
                "{}  {}: {}; deleting the file loses nothing",
                palette.error("damaged"),
                one_line(&wrong.path),
                one_line(&wrong.problem)
            ));
        }
        let files = &self.artifacts;
        for problem in &files.problems {
            lines.push(format!(
                "{}  {}: {}",
                palette.error("damaged"),
                one_line(&problem.path),
                problem.problem
            ));
        }
        for path in &files.unfinished {
            lines.push(format!("{}  {}", palette.warn("unfinished"), one_line(path)));
        }
        if !files.unfinished.is_empty() {
            lines.push(
                "a killed command left unfinished files; the next add to the session, or its completion, keeps live output and removes the rest, and a repeated import takes up those of an import"
                    .to_owned(),
            );
        }
        let named = files.problems.iter().filter(|problem| problem.is_extra).count() as u64;
        if files.extras > named {
            let more = files.extras - named;
            lines.push(format!("and {more} more that no record speaks of"));
        }
        let without = match files.without_bytes {
            0 => String::new(),
            count => format!("; {count} without bytes here"),
        };
        lines.push(format!(
            "{} artifacts verified, {}{without}",
            files.verified,
            bytes(files.bytes)
        ));
        if let Some(found) = &self.head_found_in {
            lines.push(format!("the head is record {} of {}", found.seq, found.stream));
        }
        format!("{}\n", lines.join("\n"))
    }
}

impl StreamFinding {
    fn new(report: &StreamReport) -> Self {
        let stream = report.stream.to_string();
        match &report.result {
            Ok(verified) => Self {
                stream,
                ok: report.is_clean(),
                records: Some(verified.head.seq),
                head: Some(verified.head.hash.to_string()),
                torn_bytes: Some(verified.torn_bytes),
                error: None,
                checkpoint: report.checkpoint.as_ref().map(|wrong| CheckpointProblem {
                    path: wrong.path.display().to_string(),
                    problem: wrong.reason.clone(),
                }),
                damaged: false,
            },
            Err(error) => Self {
                stream,
                ok: false,
                records: None,
                head: None,
                torn_bytes: None,
                error: Some(chain(error).join(": ")),
                checkpoint: None,
                damaged: error.kind() == ErrorKind::Refused,
            },
        }
    }
}

impl ArtifactFindings {
    fn new(report: &VerifyReport) -> Self {
        let problem = |finding: &tracking_facade::Finding| FileProblem {
            path: finding.local_path.to_string(),
            artifact_id: finding
                .artifact
                .as_ref()
                .map(|artifact| artifact.artifact_id.to_string()),
            problem: finding.problem.to_string(),
            is_extra: finding.is_extra(),
        };
        Self {
            verified: report.artifacts,
            bytes: report.bytes,
            without_bytes: report.without_bytes,
            extras: report.extras,
            unfinished: report.unfinished.iter().map(ToString::to_string).collect(),
            problems: report.findings.iter().map(problem).collect(),
        }
    }
}
