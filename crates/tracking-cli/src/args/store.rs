//! Commands over the whole data directory: verify, journal, import, export, sinks.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tracking_facade::ChainHash;
use tracking_model::{StreamId, UpgradeId};

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Whoever can write the files can also rewrite a whole chain: keep heads elsewhere and compare
with --head.

Examples:
  ekstrack verify                                      everything in the data directory
  ekstrack verify upgrade:prod-1.33 session:prod-1.33
  ekstrack verify upgrade:prod-1.33 --head 3f9a…       the stream still ends with, or contains, this hash")]
pub(crate) struct VerifyArgs {
    /// Streams, `upgrade:ID` or `session:ID` [default: all]
    #[arg(value_name = "STREAM")]
    pub(crate) streams: Vec<StreamId>,
    /// A hash that the chain must contain: 64 hexadecimal digits, kept from an earlier time
    #[arg(long, value_name = "HASH")]
    pub(crate) head: Option<ChainHash>,
}

/// What can be done with journals.
#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Salvage a damaged journal into a new one; the damaged file is kept beside it
    #[command(after_help = "\
Examples:
  ekstrack journal repair upgrade:prod-1.33
  ekstrack journal repair ekstrack-data/progress/upgrade_prod-1.33.jsonl")]
    Repair {
        /// The stream, `upgrade:ID` or `session:ID`, or the journal's file
        #[arg(value_name = "STREAM|PATH")]
        journal: String,
    },
}

/// Arguments of `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
PATH is a directory of the reference, the Python implementation that this replaces (its storage
path, or its artifacts' base directory), or one of its JSON files. The files are kept. What is
impossible in them is reported as a warning and kept.

Examples:
  ekstrack import ./progress_data
  ekstrack import ./test_artifacts --copy-from /var/lib/old-agent")]
pub(crate) struct ImportArgs {
    /// Files and directories
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Copy bytes of artifacts that lie outside PATH, if they are under this directory; may be given again
    #[arg(long, value_name = "ROOT")]
    pub(crate) copy_from: Vec<PathBuf>,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ekstrack export prod-1.33 > prod-1.33.json
  ekstrack export prod-1.33 | jq '[.tasks[].events | length] | add'")]
pub(crate) struct ExportArgs {
    /// The upgrade
    pub(crate) upgrade: UpgradeId,
}

/// Arguments of `sinks`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  ekstrack sinks
  ekstrack sinks retry                                 send what is parked again"
)]
pub(crate) struct SinksArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SinksCommand>,
}

/// What can be done with sinks.
#[derive(Debug, Subcommand)]
pub(crate) enum SinksCommand {
    /// Let the relays try again what is parked
    #[command(after_help = "\
Examples:
  ekstrack sinks retry
  ekstrack sinks retry --stream upgrade:prod-1.33 --sink audit")]
    Retry {
        /// Only of this stream
        #[arg(long)]
        stream: Option<StreamId>,
        /// Only of this sink
        #[arg(long)]
        sink: Option<String>,
    },
}
