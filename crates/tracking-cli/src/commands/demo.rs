//! `ekstrack demo`: a whole simulated upgrade, with the real crates, on the embedded default.

mod agent;
mod evidence;
mod finale;
mod plan;

use serde_json::json;
use tokio::sync::mpsc;
use tracking_facade::{
    Clock, SearchResults, SessionId, Status, SystemClock, Timestamp, Tracking, TrackingError, UpgradeId,
};

use super::runtime::block_on;
use crate::args::DemoArgs;
use crate::exit::{Exit, Failure, Kind};
use crate::failure::cannot;
use crate::live::{End, Follow, Until};
use crate::output::note;
use crate::render::one_line;
use crate::settings::Settings;
use crate::sinks::tell_undrained;
use agent::Agent;
use finale::Finale;

/// The tag and the part of a name that are searched for in the end.
const TAG: &str = "nodes";
const NAME: &str = "*.xml";

/// Returns the exit code: 0 once it is complete and verified, 128 + n after signal n.
pub(crate) fn demo(args: &DemoArgs, settings: &Settings) -> Result<Exit, Failure> {
    let id = format!("demo-{}", compact(SystemClock.now()));
    let attempted = || "run the demo".to_owned();
    if !settings.output.is_json() {
        settings.output.text(&format!(
            "Blue/green upgrade of {} from {} to {}: simulated, hours compressed to about {} s.\n\
             All of it is recorded for real, in {}. Ctrl-C cancels it.\n\n",
            plan::CLUSTER,
            plan::FROM,
            plan::TO,
            (20.0 / args.speed).ceil(),
            one_line(&settings.data_dir.display().to_string()),
        ))?;
    }
    let finale = match block_on(simulate(&id, args.speed, settings))?? {
        Simulated::Done(upgrade, found) => Finale::new(upgrade, *found, settings),
        Simulated::Stopped(End::Upgrade(status)) => {
            let cause = format!("upgrade {id} is {status}: somebody else ended it");
            return Err(Failure::new(Kind::Failed, attempted(), cause));
        }
        Simulated::Stopped(end) => {
            note("demo", &format!("upgrade {id} was cancelled"));
            return Ok(end.exit());
        }
    };
    finale.map_err(cannot(attempted))?.show(settings)?;
    Ok(Exit::Code(0))
}

/// How the simulation ended.
enum Simulated {
    /// As planned; and what was found by tag and by name.
    Done(UpgradeId, Box<[SearchResults; 2]>),
    Stopped(End),
}

/// Runs the agent and shows what it does, side by side.
async fn simulate(id: &str, speed: f64, settings: &Settings) -> Result<Simulated, Failure> {
    let attempted = || "run the demo".to_owned();
    let tracking = settings
        .sinks
        .configure(Tracking::builder())
        .data_dir(&settings.data_dir)
        .actor(&*settings.actor)
        .lock_timeout(settings.lock_timeout)
        .upgrade(id, plan::PLAN_ID, plan::CLUSTER)
        .metadata("simulated", true)
        .metadata("versions", json!({ "from": plan::FROM, "to": plan::TO }))
        .build()
        .await
        .map_err(cannot(attempted))?;
    let upgrade = tracking.progress().upgrade_id().clone();
    let ended = run(&tracking, &upgrade, speed, settings).await;
    let simulated = match ended {
        Ok(End::Upgrade(Status::Completed)) => {
            let found = search(&tracking, &upgrade).await;
            found.map(|found| Simulated::Done(upgrade, Box::new(found)))
        }
        Ok(end) => stop(&tracking, end).await.map(|()| Simulated::Stopped(end)),
        Err(failure) => return give_up(&tracking, failure).await,
    };
    let report = tracking.shutdown().await;
    for problem in &report.problems {
        note("warning", &problem.to_string());
    }
    tell_undrained(&report.undrained, settings.sinks.bucket.as_ref());
    simulated.map_err(cannot(attempted))
}

async fn run(
    tracking: &Tracking,
    upgrade: &UpgradeId,
    speed: f64,
    settings: &Settings,
) -> Result<End, Failure> {
    let attempted = || "run the demo".to_owned();
    let (kept, artifacts) = mpsc::unbounded_channel();
    let agent = Agent {
        tracking,
        session: session(upgrade).map_err(cannot(attempted))?,
        speed,
        kept,
    };
    let follow = Follow {
        upgrade: upgrade.clone(),
        output: settings.output,
        since: (!settings.output.is_live()).then_some(0),
        until: Until::UpgradeEnds,
    };
    let mut shown = std::pin::pin!(follow.run(tracking.archive(), artifacts));
    tokio::select! {
        end = &mut shown => end,
        worked = agent.work() => {
            worked.map_err(cannot(attempted))?;
            shown.await
        }
    }
}

/// The session has the id of its upgrade, as those of `run`.
fn session(upgrade: &UpgradeId) -> Result<SessionId, TrackingError> {
    Ok(SessionId::new(upgrade.as_str()).map_err(tracking_facade::ProgressError::from)?)
}

async fn search(tracking: &Tracking, upgrade: &UpgradeId) -> Result<[SearchResults; 2], TrackingError> {
    let session = session(upgrade)?;
    let artifacts = tracking.artifacts();
    let by_tag = tracking_facade::ArtifactQuery::new()
        .with_tag(TAG)
        .in_session(session.clone());
    Ok([
        artifacts.search_artifacts(by_tag).await?,
        artifacts.search_by_name(NAME, Some(session)).await?,
    ])
}

/// Leaves no upgrade behind that looks as if its agent had died.
async fn stop(tracking: &Tracking, end: End) -> Result<(), TrackingError> {
    match end {
        End::Signal(incoming) => {
            let reason = format!("the demo was stopped by {}", incoming.name());
            Ok(tracking.progress().cancel(Some(&reason)).await?)
        }
        End::Upgrade(_) => Ok(()),
    }
}

/// As [`stop`], where the reason is worth more than a failure to note it.
async fn give_up(tracking: &Tracking, failure: Failure) -> Result<Simulated, Failure> {
    let ended = tracking.progress().read(|state| state.status.is_final());
    if !ended && let Err(error) = tracking.progress().cancel(Some("the demo failed")).await {
        note("warning", &error.to_string());
    }
    Err(failure)
}

/// `20250131-052501-056`.
fn compact(at: Timestamp) -> String {
    let digits: Vec<char> = at.to_rfc3339().chars().filter(char::is_ascii_digit).collect();
    let part = |from: usize, to: usize| digits.iter().skip(from).take(to - from).collect::<String>();
    format!("{}-{}-{}", part(0, 8), part(8, 14), part(14, 17))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_tell_when() {
        let at = Timestamp::from_micros(1_738_301_101_056_236);
        assert_eq!(compact(at), "20250131-052501-056");
    }
}
