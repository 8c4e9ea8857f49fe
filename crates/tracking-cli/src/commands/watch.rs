//! `ekstrack watch`: follows an upgrade by its journal, whoever writes it.

use tokio::sync::mpsc;
use tracking_facade::{Archive, UpgradeId};

use crate::args::WatchArgs;
use crate::exit::{Failure, Kind, chain};
use crate::failure::cannot;
use crate::live::{Follow, Until};
use crate::output::note;
use crate::settings::Settings;

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
    Ok(runtime.block_on(follow.run(&archive, artifacts))?.exit_code())
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
