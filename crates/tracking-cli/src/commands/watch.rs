//! `ekstrack watch`: follows an upgrade by its journal, whoever writes it.

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::mpsc;
use tracking_facade::live::protocol::Query;
use tracking_facade::live::{ClientOptions, Roots};
use tracking_facade::s3::RemoteArchive;
use tracking_facade::{Archive, StreamId, UpgradeId};

use crate::args::WatchArgs;
use crate::exit::{Exit, Failure, Kind, chain};
use crate::failure::cannot;
use crate::live::{Follow, RemoteFollow, Until, shown};
use crate::output::note;
use crate::settings::Settings;

use super::remote::{tell_unreadable, unread};
use super::runtime::block_on;
use super::serve::token;

/// How often the bucket is looked at: writers close a segment within 5 s.
const BETWEEN: Duration = Duration::from_secs(5);

/// Returns the exit code: 0 once the upgrade has ended, 128 + n after signal n.
pub(crate) fn watch(args: WatchArgs, settings: &Settings) -> Result<Exit, Failure> {
    if let Some(url) = &args.url {
        return watch_url(url, &args, settings);
    }
    let archive = settings
        .archive()
        .map_err(cannot(|| "watch an upgrade".to_owned()))?;
    let upgrade = match args.upgrade {
        Some(id) => id,
        None => latest(&archive, settings)?,
    };
    let runtime = tracking_facade::runtime::on_this_thread()
        .map_err(|error| Failure::of(Kind::Failed, format!("watch upgrade {upgrade}"), &error))?;
    if settings.remote.is_some() {
        // One that is not in the bucket is told as such.
        let there = archive.upgrade(&upgrade);
        there.map_err(settings.cannot(|| format!("watch upgrade {upgrade}")))?;
    }
    let stream = StreamId::Upgrade(upgrade.clone());
    let follow = Follow {
        upgrade,
        output: settings.output,
        since: args.since,
        until: until(args.keep),
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
    Ok(ended?.exit())
}

const fn until(keep: bool) -> Until {
    if keep {
        Until::Interrupted
    } else {
        Until::UpgradeEnds
    }
}

fn watch_url(url: &str, args: &WatchArgs, settings: &Settings) -> Result<Exit, Failure> {
    if url.contains('?') && (args.upgrade.is_some() || args.since.is_some()) {
        let cause = "the URL has a query of its own";
        return Err(Failure::new(Kind::Usage, format!("watch {}", shown(url)), cause)
            .hint("name the upgrade, and --since, outside of the URL"));
    }
    let query = url.split_once('?').map(|(_, query)| Query::parse(query));
    if matches!(query, Some(Ok(Query { nothing: true, .. }))) {
        let cause =
            "`upgrade=none` in a URL is for viewers that say later what they want, and watches nothing";
        return Err(Failure::new(Kind::Usage, format!("watch {}", shown(url)), cause)
            .hint("name the upgrade outside of the URL, or none for the latest"));
    }
    let mut options = ClientOptions::default();
    if let Some(path) = &args.token_file {
        options = options.with_token(token(path)?);
    }
    if let Some(path) = &args.ca_file {
        let attempted = format!("read certificates from {}", path.display());
        let roots = Roots::from_pem_file(path);
        options = options.with_roots(roots.map_err(|error| Failure::of(Kind::Usage, attempted, &error))?);
    }
    let follow = RemoteFollow {
        url: url.to_owned(),
        upgrade: args.upgrade.clone(),
        output: settings.output,
        since: args.since,
        until: until(args.keep),
        options,
    };
    Ok(block_on(follow.run())??.exit())
}

/// Takes up what comes to the bucket, again and again. What does not work now may work the next time.
async fn keep_reading(remote: &RemoteArchive, stream: &StreamId) -> Infallible {
    let (mut failing, mut told) = (false, HashSet::new());
    loop {
        tokio::time::sleep(BETWEEN).await;
        let failure = match remote.refresh(Some(stream), None).await {
            Ok(report) => {
                let failed = report.failed.first().map(|(_, error)| chain(error).join(": "));
                let mut unread = unread(report, &remote.bucket().location());
                unread.retain(|one| failed.is_none() && told.insert(one.error.clone()));
                tell_unreadable(&unread);
                failed
            }
            Err(error) => Some(chain(&error).join(": ")),
        };
        match &failure {
            Some(why) if !failing => note("warning", &format!("what is shown gets no newer: {why}")),
            None if failing => note("note", "the bucket can be read again"),
            _ => {}
        }
        failing = failure.is_some();
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
            let cause = format!("there is no upgrade in {}", settings.place());
            Err(Failure::new(Kind::NotFound, attempted(), cause).hint("`ekstrack upgrade start` starts one"))
        }
    }
}
