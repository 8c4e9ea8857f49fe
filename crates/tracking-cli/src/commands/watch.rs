//! `ekstrack watch`: follows an upgrade by its journal, whoever writes it.

use serde::Serialize;
use tracking_facade::{
    Archive, Clock, Commit, Follower, ProgressEventMessage, Status, StreamId, Summary, SystemClock,
    UpgradeEvent, UpgradeId, UpgradeProgress,
};

use crate::args::WatchArgs;
use crate::exit::{Failure, Kind};
use crate::failure::cannot;
use crate::output::Output;
use crate::render::{Palette, one_line, time};
use crate::settings::Settings;

pub(crate) fn watch(args: WatchArgs, settings: &Settings) -> Result<(), Failure> {
    let archive = settings
        .archive()
        .map_err(cannot(|| "watch an upgrade".to_owned()))?;
    let id = match args.upgrade {
        Some(id) => id,
        None => latest(&archive, settings)?,
    };
    let attempted = || format!("watch upgrade {id}");
    let follower = archive.follow(&id).map_err(cannot(attempted))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Failure::of(Kind::Failed, attempted(), &error))?;
    let watcher = Watcher {
        id: &id,
        stream: StreamId::Upgrade(id.clone()).to_string(),
        output: settings.output,
    };
    runtime.block_on(watcher.lines(follower))
}

fn latest(archive: &Archive, settings: &Settings) -> Result<UpgradeId, Failure> {
    let attempted = || "choose an upgrade to watch".to_owned();
    let latest = archive.latest_upgrade().map_err(cannot(attempted))?;
    latest.ok_or_else(|| {
        let cause = format!("there is no upgrade in {}", settings.data_dir.display());
        Failure::new(Kind::NotFound, attempted(), cause).hint("`ekstrack upgrade start` starts one")
    })
}

/// Whether nothing more is to be expected.
pub(crate) const fn has_ended(status: Status) -> bool {
    matches!(status, Status::Completed | Status::Failed | Status::Cancelled)
}

/// The messages that live viewers get over the wire, one a line.
#[derive(Debug, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum Message<'a> {
    ProgressSummary {
        stream: &'a str,
        epoch: String,
        seq: u64,
        head: String,
        #[serde(flatten)]
        summary: Summary,
    },
    ProgressEvent {
        stream: &'a str,
        epoch: String,
        seq: u64,
        #[serde(flatten)]
        event: &'a ProgressEventMessage,
    },
}

struct Watcher<'a> {
    id: &'a UpgradeId,
    stream: String,
    output: Output,
}

impl Watcher<'_> {
    /// A line for each event, until the upgrade has ended.
    async fn lines(&self, mut follower: Follower<UpgradeProgress>) -> Result<(), Failure> {
        self.summary(&follower)?;
        while !has_ended(follower.state().status) {
            let commit = follower.next().await;
            let commit = commit.map_err(cannot(|| format!("watch upgrade {}", self.id)))?;
            self.events(&commit)?;
        }
        Ok(())
    }

    fn summary(&self, follower: &Follower<UpgradeProgress>) -> Result<(), Failure> {
        let summary = Summary::of(follower.state(), SystemClock.now());
        let head = follower.head();
        if !self.output.is_json() {
            let line = format!(
                "upgrade {} is {}, at {}%\n",
                self.id, summary.status, summary.overall_percentage
            );
            return self.output.text(&line);
        }
        self.output.document(&Message::ProgressSummary {
            stream: &self.stream,
            epoch: head.epoch.to_string(),
            seq: head.seq,
            head: head.hash.to_string(),
            summary,
        })
    }

    fn events(&self, commit: &Commit<UpgradeEvent>) -> Result<(), Failure> {
        for record in &commit.records {
            let Some(event) = ProgressEventMessage::new(self.id, &record.meta, &record.event) else {
                continue;
            };
            if self.output.is_json() {
                self.output.document(&Message::ProgressEvent {
                    stream: &self.stream,
                    epoch: commit.head.epoch.to_string(),
                    seq: record.meta.seq,
                    event: &event,
                })?;
            } else {
                self.output.text(&event_line(&event, self.output.palette()))?;
            }
        }
        Ok(())
    }
}

fn event_line(event: &ProgressEventMessage, palette: Palette) -> String {
    let subject = event.task_id.as_ref().map_or("upgrade", |task| task.as_str());
    let percent = event
        .percentage
        .map_or_else(String::new, |percent| format!("{percent}%"));
    format!(
        "{}  {percent:>6}  {}  {}\n",
        palette.dim(&time(event.timestamp)),
        palette.status(event.status, subject),
        one_line(&event.message),
    )
}
