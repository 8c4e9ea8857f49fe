//! Counting: from what was counted when it was taken up where that tells, else artifact by artifact.

use artifact_core::{Amount, ArtifactQuery, Day, Group, LARGEST, Sort, Statistics};
use rusqlite::Connection;
use tracking_model::{ArtifactStatus, ArtifactType, SessionId, UpgradeId};

use crate::error::Cause;
use crate::search::{Search, find};

pub(crate) fn statistics(at: &Connection, query: &ArtifactQuery) -> Result<Statistics, Cause> {
    let mut all = query.clone();
    all.after = None;
    let mut statistics = Statistics::default();
    if is_counted(&all) {
        add_counts(at, &all, &mut statistics)?;
    } else {
        all.sort = Sort::Newest;
        Search::new(at, &all)?.all(|artifact| statistics.add(artifact))?;
    }
    let largest = all.with_sort(Sort::Size).with_limit(LARGEST);
    statistics.largest = find(at, &largest)?.artifacts;
    Ok(statistics)
}

/// True if the tally answers all criteria of the query.
fn is_counted(query: &ArtifactQuery) -> bool {
    query.text.is_none()
        && query.name.is_none()
        && query.all_tags.is_empty()
        && query.any_tags.is_empty()
        && query.no_tags.is_empty()
        && query.task_id.is_none()
        && query.step_id.is_none()
        && query.collection_id.is_none()
        && query.min_size.is_none()
        && query.max_size.is_none()
        && query.since.is_none()
        && query.until.is_none()
}

fn add_counts(at: &Connection, query: &ArtifactQuery, statistics: &mut Statistics) -> Result<(), Cause> {
    let mut statement = at.prepare_cached(
        "SELECT session_id, cluster_name, upgrade_id, type, status, day, artifacts, CAST(bytes AS INTEGER) \
         FROM tally JOIN session ON session.id = tally.session WHERE artifacts > 0",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let impossible = || Cause::Foreign("it has counts of what cannot be");
        let group = Group {
            session_id: SessionId::new(row.get::<_, String>(0)?).map_err(|_| impossible())?,
            upgrade_id: UpgradeId::new(row.get::<_, String>(2)?).map_err(|_| impossible())?,
            artifact_type: *ArtifactType::ALL
                .get(row.get::<_, usize>(3)?)
                .ok_or_else(impossible)?,
            status: *ArtifactStatus::ALL
                .get(row.get::<_, usize>(4)?)
                .ok_or_else(impossible)?,
            day: Day::new(row.get(5)?),
        };
        let cluster = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        if is_wanted(query, &group, cluster) {
            let amount = Amount {
                artifacts: row.get(6)?,
                bytes: row.get(7)?,
            };
            statistics.add_group(group, amount);
        }
    }
    Ok(())
}

fn is_wanted(query: &ArtifactQuery, group: &Group, cluster_name: &str) -> bool {
    let status = match query.statuses.as_slice() {
        [] => group.status != ArtifactStatus::Deleted,
        statuses => statuses.contains(&group.status),
    };
    status
        && query.session_id.as_ref().is_none_or(|id| *id == group.session_id)
        && query.upgrade_id.as_ref().is_none_or(|id| *id == group.upgrade_id)
        && query
            .cluster_name
            .as_deref()
            .is_none_or(|name| name == cluster_name)
        && (query.types.is_empty() || query.types.contains(&group.artifact_type))
}
