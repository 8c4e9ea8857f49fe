//! `ekstrack watch`: follows an upgrade by its journal, whoever writes it.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::mpsc;
use tracking_facade::s3::RemoteArchive;
use tracking_facade::{Archive, StreamId, UpgradeId};

use crate::args::WatchArgs;
use crate::exit::{Failure, Kind, chain};
use crate::failure::cannot;
use crate::live::{Follow, Until};
use crate::output::note;
use crate::settings::Settings;

use super::remote::tell_unreadable;

/// How often the bucket is looked at: writers close a segment within 5 s.
const BETWEEN: Duration = Duration::from_secs(5);

/// Returns the exit code: 0 once the upgrade has ended, 128 + n after signal n.
pub(crate) fn watch(args: WatchArgs, settings: &Settings) -> Result<u8, Failure> {
    let archive = settings
        .archive()
        .map_err(cannot(|| "watch an upgrade".to_owned()))?;
    let upgrade = match args.upgrade {
        Some(id) => id,
        None => latest(&archive, settings)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::of(Kind::Failed, format!("watch upgrade {upgrade}"), &error))?;
    let stream = StreamId::Upgrade(upgrade.clone());
    let follow = Follow {
        upgrade,
        output: settings.output,
        since: args.since,
        until: if args.keep {
            Until::Interrupted
        } else {
            Until::UpgradeEnds
        },
    };
    // Artifacts are not followed: only who adds them knows of them at once.
    let (_, artifacts) = mpsc::unbounded_channel();
    let following = follow.run(&archive, artifacts);
    let ended = runtime.block_on(async {
        match &settings.remote {
            None => following.await,
            Some(remote) => tokio::select! {
                ended = following => ended,
                never = keep_reading(remote, &stream) => match never {},
            },
        }
    });
    Ok(ended?.exit_code())
}

/// Takes up what comes to the bucket, again and again. What does not work now may work the next time.
async fn keep_reading(remote: &RemoteArchive, stream: &StreamId) -> Infallible {
    let mut failing = false;
    loop {
        tokio::time::sleep(BETWEEN).await;
        match remote.refresh(Some(stream), None).await {
            Ok(report) => {
                tell_unreadable(&report);
                if std::mem::take(&mut failing) {
                    note("note", "the bucket can be read again");
                }
            }
            Err(error) if !failing => {
                failing = true;
                let why = chain(&error).join(": ");
                note("warning", &format!("what is shown gets no newer: {why}"));
            }
            Err(_) => {}
        }
    }
}

fn latest(archive: &Archive, settings: &Settings) -> Result<UpgradeId, Failure> {
    let attempted = || "choose an upgrade to watch".to_owned();
    let latest = archive.latest_upgrade().map_err(cannot(attempted))?;
    let mut unreadable = latest.unreadable.into_iter();
    if let Some(upgrade) = latest.upgrade_id {
        for (id, error) in unreadable {
            let why = chain(&error).join(": ");
            note("warning", &format!("upgrade {id} cannot be read: {why}"));
        }
        return Ok(upgrade);
    }
    match unreadable.next() {
        Some((id, error)) => Err(cannot(|| format!("watch upgrade {id}"))(error)),
        None => {
            let cause = format!("there is no upgrade in {}", settings.data_dir.display());
            Err(Failure::new(Kind::NotFound, attempted(), cause).hint("`ekstrack upgrade start` starts one"))
        }
    }
}
