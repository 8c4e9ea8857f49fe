//! Arguments of `sync`.

use clap::Args;
use tracking_model::{SessionId, Span};

use super::value::age;

/// Arguments of `sync`.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs --s3, or [s3] in ekstrack.toml. Uploads the bytes of artifacts that are not in the bucket, whatever became
of earlier attempts, and the records and summaries that are not. What is there is not sent again, and
what was interrupted goes on by part. While an agent runs it does so by itself.

Examples:
  ekstrack --s3 s3://team-bucket/upgrades sync
  ekstrack sync prod-1.33                     one session
  ekstrack sync --timeout 10m")]
pub(crate) struct SyncArgs {
    /// The session [default: everything]
    pub(crate) session: Option<SessionId>,
    /// How long to try to deliver records
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = age)]
    pub(crate) timeout: Span,
}
