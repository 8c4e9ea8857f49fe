//! Commands that find artifacts: search, stats.

use clap::Args;
use tracking_facade::{PageCursor, Sort};
use tracking_model::{ArtifactStatus, ArtifactType, CollectionId, SessionId, TaskId, UpgradeId};

use super::value::{Moment, artifact_status, artifact_type, size, sort};

/// Arguments of `search`.
#[derive(Debug, Args)]
#[command(after_help = "\
TEXT finds whole words, without regard to case, in names, descriptions, tags and the texts of logs:
  kubelet ready      both words            kube*              words that begin so
  '\"not ready\"'      words side by side    -- -debug          all but those with this word

Examples:
  ekstrack search kubelet '\"not ready\"'
  ekstrack search --tag node --upgrade prod-1.33 --since 2d
  ekstrack search --name '*.xml' --type test_result --sort size
  ekstrack search timeout --sort rank --limit 10
  ekstrack --json search report | jq -r '.artifacts[].artifact_id'")]
pub(crate) struct SearchArgs {
    #[command(flatten)]
    pub(crate) criteria: CriteriaArgs,
    /// In which order; `rank` ranks the newest 10,000 matches
    #[arg(long, default_value = "newest", value_parser = sort())]
    pub(crate) sort: Sort,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
    /// Go on after a page: what the search before, the same but for its limit, said to be next
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<PageCursor>,
}

/// Arguments of `stats`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ekstrack stats
  ekstrack stats --upgrade prod-1.33 --since 7d
  ekstrack --json stats | jq '.by_type.log_file.bytes'")]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) criteria: CriteriaArgs,
}

/// Which artifacts.
#[derive(Debug, Args)]
pub(crate) struct CriteriaArgs {
    /// Words in names, descriptions, tags and the texts of logs
    pub(crate) text: Vec<String>,
    /// The name matches: a part of it, or a glob over the whole
    #[arg(long, value_name = "PATTERN")]
    pub(crate) name: Option<String>,
    /// Has this tag; may be given again, then all are needed
    #[arg(long)]
    pub(crate) tag: Vec<String>,
    /// Has this tag; may be given again, then any will do
    #[arg(long, value_name = "TAG")]
    pub(crate) any_tag: Vec<String>,
    /// Has not this tag; may be given again, then none is allowed
    #[arg(long, value_name = "TAG")]
    pub(crate) not_tag: Vec<String>,
    /// Has this type; may be given again, then any will do
    #[arg(long = "type", value_name = "TYPE", value_parser = artifact_type())]
    pub(crate) artifact_type: Vec<ArtifactType>,
    /// Has this status; may be given again [default: any but deleted]
    #[arg(long, value_parser = artifact_status())]
    pub(crate) status: Vec<ArtifactStatus>,
    /// Belongs to this upgrade
    #[arg(long)]
    pub(crate) upgrade: Option<UpgradeId>,
    /// Belongs to an upgrade of this cluster
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// Is in this session
    #[arg(long)]
    pub(crate) session: Option<SessionId>,
    /// Is in this collection
    #[arg(long)]
    pub(crate) collection: Option<CollectionId>,
    /// Belongs to this task
    #[arg(long)]
    pub(crate) task: Option<TaskId>,
    /// Belongs to this step
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// Has at least so many bytes
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) min_size: Option<u64>,
    /// Has at most so many bytes
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) max_size: Option<u64>,
    /// Was added then or later: a time, or a span before now such as 2h
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Moment>,
    /// Was added before then: a time, or a span before now
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<Moment>,
}
