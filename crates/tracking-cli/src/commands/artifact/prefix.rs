//! Artifacts named by the beginning of their id.

use std::sync::Arc;

use tracking_facade::{Artifact, ArtifactError, ArtifactId, ArtifactQuery, TestArtifactsManager};

use crate::commands::pages::Pages;
use crate::commands::runtime::block_on;
use crate::exit::{Failure, Kind};
use crate::render::one_line;
use crate::settings::Settings;

/// The shortest beginning that is looked for.
const SHORTEST: usize = 4;
/// So many candidates are named.
const NAMED: usize = 10;

/// The artifact of this id, else the only one whose id begins so. Deleted ones are found by their whole id alone.
pub(in crate::commands) fn resolve(
    settings: &Settings,
    manager: &TestArtifactsManager,
    id: &ArtifactId,
    attempted: impl Fn() -> String,
) -> Result<Arc<Artifact>, Failure> {
    let unknown = match block_on(manager.artifact(id))? {
        Err(error @ ArtifactError::UnknownArtifact(_)) if id.as_str().len() >= SHORTEST => error,
        found => return found.map_err(settings.cannot(attempted)),
    };
    let mut candidates = Vec::new();
    Pages::new(manager, ArtifactQuery::new(), attempted()).each(
        |failure| failure,
        |page| {
            let begin_so = page
                .iter()
                .filter(|artifact| artifact.artifact_id.as_str().starts_with(id.as_str()));
            candidates.extend(begin_so.cloned());
            Ok(())
        },
    )?;
    match candidates.as_slice() {
        [] => Err(settings.cannot(attempted)(unknown)),
        [one] => Ok(Arc::clone(one)),
        several => {
            let named = several
                .iter()
                .take(NAMED)
                .map(|artifact| format!("{} ({})", artifact.artifact_id, one_line(&artifact.name)));
            let mut named = named.collect::<Vec<_>>().join(", ");
            if several.len() > NAMED {
                named.push_str(", …");
            }
            let cause = format!("the ids of {} artifacts begin with {id}: {named}", several.len());
            Err(Failure::new(Kind::Usage, attempted(), cause).hint("give more of the id"))
        }
    }
}
