//! `ekstrack sinks`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tracking_facade::{Archive, SinkName, SinkStatus, StreamId};

use crate::args::{SinksArgs, SinksCommand};
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::render::{Cell, Palette, Table, one_line, time};
use crate::settings::Settings;

pub(crate) fn sinks(args: SinksArgs, settings: &Settings) -> Result<(), Failure> {
    let attempted = || format!("look at the sinks in {}", settings.data_dir.display());
    let archive = settings.archive().map_err(cannot(attempted))?;
    let statuses = archive.sinks().map_err(cannot(attempted))?;
    match args.command {
        None => show(&statuses, settings),
        Some(SinksCommand::Retry { stream, sink }) => {
            let chosen = choose(&archive, &statuses, stream.as_ref(), sink.as_deref())?;
            retry(&archive, &chosen, settings)
        }
    }
}

/// The cursors that are meant; an error where nothing can be.
fn choose<'a>(
    archive: &Archive,
    statuses: &'a [SinkStatus],
    stream: Option<&StreamId>,
    sink: Option<&str>,
) -> Result<Vec<&'a SinkStatus>, Failure> {
    let attempted = || match (stream, sink) {
        (Some(stream), Some(sink)) => format!("retry what {sink} has parked of {stream}"),
        (Some(stream), None) => format!("retry what is parked of {stream}"),
        (None, Some(sink)) => format!("retry what {sink} has parked"),
        (None, None) => "retry what is parked".to_owned(),
    };
    if let Some(stream) = stream {
        let streams = archive.streams().map_err(cannot(attempted))?;
        if !streams.contains(stream) && statuses.iter().all(|status| status.stream != *stream) {
            return Err(
                Failure::new(Kind::NotFound, attempted(), format!("there is no {stream}"))
                    .hint("`ekstrack upgrade list` and `ekstrack session list` show those there are"),
            );
        }
    }
    let of_stream = |status: &&SinkStatus| stream.is_none_or(|stream| status.stream == *stream);
    let of_sink = |status: &&SinkStatus| sink.is_none_or(|sink| status.sink.as_str() == sink);
    let chosen: Vec<_> = statuses.iter().filter(of_stream).filter(of_sink).collect();
    if !chosen.is_empty() || (stream.is_none() && sink.is_none()) {
        return Ok(chosen);
    }
    let there: BTreeSet<&str> = statuses
        .iter()
        .filter(of_stream)
        .map(|status| status.sink.as_str())
        .collect();
    let fed_from = stream.map_or_else(|| "this data directory".to_owned(), ToString::to_string);
    let cause = match sink {
        Some(sink) => format!("no sink {sink} has been fed from {fed_from}"),
        None => format!("no sink has been fed from {fed_from}"),
    };
    let failure = Failure::new(Kind::NotFound, attempted(), cause);
    Err(if there.is_empty() {
        failure.hint("`ekstrack sinks` shows what has been fed")
    } else {
        let there: Vec<&str> = there.into_iter().collect();
        failure.hint(format!("there are: {}", there.join(", ")))
    })
}

fn show(statuses: &[SinkStatus], settings: &Settings) -> Result<(), Failure> {
    let document = json!({"sinks": statuses.iter().map(describe).collect::<Vec<_>>()});
    settings
        .output
        .result(&document, |palette| text(statuses, palette))
}

fn describe(status: &SinkStatus) -> Value {
    json!({
        "stream": status.stream.to_string(),
        "sink": status.sink.as_str(),
        "lag": status.lag,
        "running": status.holder.is_some(),
        "pid": status.holder.and_then(|holder| holder.pid),
        "cursor": status.cursor,
        "problem": status.problem,
    })
}

fn text(statuses: &[SinkStatus], palette: Palette) -> String {
    if statuses.is_empty() {
        return "no sinks have been fed from this data directory\n".to_owned();
    }
    let mut table = Table::new([
        "STREAM", "SINK", "SEQ", "LAG", "PARKED", "FED BY", "UPDATED", "TROUBLE",
    ]);
    for status in statuses {
        let cursor = &status.cursor;
        let fed_by = match status.holder {
            None => "nobody".to_owned(),
            Some(holder) => holder
                .pid
                .map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}")),
        };
        let failure = cursor.last_error.as_ref().map(|failure| failure.reason.clone());
        let trouble = status.problem.clone().or(failure).unwrap_or_default();
        table.row([
            status.stream.to_string().into(),
            status.sink.as_str().into(),
            cursor.seq.to_string().into(),
            status.lag.to_string().into(),
            Cell::painted(&cursor.parked.len().to_string(), |text| {
                if cursor.parked.is_empty() {
                    text.to_owned()
                } else {
                    palette.warn(text)
                }
            }),
            fed_by.into(),
            time(cursor.updated_at).into(),
            Cell::painted(&trouble, |text| palette.warn(text)),
        ]);
    }
    let mut text = table.render(palette);
    for status in statuses {
        for parked in &status.cursor.parked {
            text.push_str(&format!(
                "{} {} {}: record {} ({}): {}\n",
                palette.warn("parked"),
                status.stream,
                status.sink,
                parked.seq,
                parked.kind,
                one_line(&parked.reason)
            ));
        }
    }
    text
}

fn retry(archive: &Archive, chosen: &[&SinkStatus], settings: &Settings) -> Result<(), Failure> {
    let mut asked = Vec::new();
    for status in chosen {
        let (stream, sink): (_, &SinkName) = (&status.stream, &status.sink);
        let request = archive
            .retry_parked(stream, sink)
            .map_err(cannot(|| format!("retry what {sink} has parked of {stream}")))?;
        if request.parked > 0 {
            asked.push(json!({
                "stream": stream.to_string(), "sink": sink.as_str(), "parked": request.parked,
                "running": request.holder.is_some(),
            }));
        }
    }
    let records: usize = chosen.iter().map(|status| status.cursor.parked.len()).sum();
    let document = json!({"requested": asked});
    settings.output.result(&document, |_| match records {
        0 => "nothing is parked\n".to_owned(),
        1 => "1 parked record will be sent again by the relay that runs, or the next one\n".to_owned(),
        records => {
            format!("{records} parked records will be sent again by the relay that runs, or the next one\n")
        }
    })
}
