//! `ekstrack gc`.

use clap::Args;
use tracking_facade::s3::StorageClass;
use tracking_model::{ArtifactStatus, SessionId, Span};

use super::value::{age, deletable_status, size, storage_class};

/// Arguments of `gc`.
#[derive(Debug, Args)]
#[command(after_help = "\
A session is kept for as many days after its completion as it says, three times as long if its
upgrade failed. Open and pinned sessions are always left alone. What is deleted leaves its record:
what it was, when it was deleted, by whom and why.

Examples:
  ekstrack gc --dry-run                       show what would be deleted and why
  ekstrack gc
  ekstrack gc --max-total-size 50G            make room: what would expire first goes first
  ekstrack gc --status uploaded               only what has a copy in S3
  ekstrack gc --orphans                       also remove files that no record speaks of
  ekstrack --remote gc --dry-run              what the bucket of the team would lose too
  ekstrack --remote gc                        delete it there, and prove by listing that it is gone
  ekstrack --remote gc --archive GLACIER_IR   there, move it to a cheaper storage class instead
  ekstrack --remote gc --incomplete prod-1.32 of a session whose beginning is lost, delete the rest")]
pub(crate) struct GcArgs {
    /// Show the plan and change nothing
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Keep all sessions for so many days, whatever they say themselves
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(0..=36_500))]
    pub(crate) retention_days: Option<u32>,
    /// Delete until artifacts have no more bytes than this
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) max_total_size: Option<u64>,
    /// How many times longer sessions of failed upgrades are kept
    #[arg(long, value_name = "N", default_value_t = tracking_facade::DEFAULT_FAILED_FACTOR, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) failed_factor: u32,
    /// Delete nothing that was completed more recently, by whatever rule
    #[arg(long, value_name = "SPAN", default_value = "1d", value_parser = age)]
    pub(crate) min_age: Span,
    /// Delete only artifacts of this status; may be given again [default: any]
    #[arg(long, value_parser = deletable_status())]
    pub(crate) status: Vec<ArtifactStatus>,
    /// In the bucket, move objects to this storage class instead of deleting them
    #[arg(long, value_name = "CLASS", value_parser = storage_class())]
    pub(crate) archive: Option<StorageClass>,
    /// In the bucket, clean up this session too although not all of it can be read; if its beginning
    /// is gone, what is left is deleted once nothing of it is younger than the rules allow; may be
    /// given again
    #[arg(long, value_name = "SESSION")]
    pub(crate) incomplete: Vec<SessionId>,
    /// Remove files, links and pipes older than a day that no record speaks of, and the directories
    /// that are empty then, in completed sessions
    #[arg(long)]
    pub(crate) orphans: bool,
}
