//! The command line, as clap reads it.

mod artifact;
mod gc;
mod logs;
mod run;
mod search;
mod serve;
mod store;
mod sync;
mod task;
mod upgrade;
mod value;

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

pub(crate) use artifact::{
    ArtifactAdd, ArtifactCommand, ArtifactListArgs, ArtifactRef, CollectionCommand, SessionCommand,
};
pub(crate) use gc::GcArgs;
pub(crate) use logs::LogsArgs;
pub(crate) use run::RunArgs;
pub(crate) use search::{CriteriaArgs, SearchArgs, StatsArgs};
pub(crate) use serve::ServeArgs;
pub(crate) use store::{ExportArgs, ImportArgs, JournalCommand, SinksArgs, SinksCommand, VerifyArgs};
pub(crate) use sync::SyncArgs;
pub(crate) use task::{TaskAddArgs, TaskCommand, TaskName};
pub(crate) use upgrade::UpgradeCommand;
pub(crate) use value::{Deadline, KeyValue, PlainSteps};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Follows upgrades of EKS clusters, keeps what they produce, and loses none of it.
#[derive(Debug, Parser)]
#[command(
    name = "ekstrack",
    version,
    styles = STYLES,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Examples:
  ekstrack demo                                        a simulated upgrade, live, in about 20 s
  ekstrack upgrade start prod-1.33 --plan plan-7 --cluster prod
  ekstrack run prod-1.33 drain --name 'Drain old nodes' -- kubectl drain -l group=blue
  ekstrack watch prod-1.33                             follow it live in another terminal
  ekstrack --json upgrade show prod-1.33 | jq .overall_percentage

Exit codes:
  0 done   1 failed   2 wrong usage   3 not found   4 refused by a rule   5 a backend is unavailable"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Directory that holds the journals and artifacts [default: ./ekstrack-data]
    #[arg(long, global = true, value_name = "DIR", env = "EKSTRACK_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Print one JSON document (watch: one per line) on stdout; errors are JSON on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Configuration file; flags and environment win over it [default: ./ekstrack.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "EKSTRACK_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Who is recorded as the author of changes; USER at HOST unless given
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) actor: Option<String>,

    /// Seconds to wait for another process that writes the same upgrade [default: 5]
    #[arg(long, global = true, value_name = "SECONDS", allow_negative_numbers = true, value_parser = value::seconds)]
    pub(crate) lock_timeout: Option<std::time::Duration>,

    /// Bucket that the team shares: what is kept goes there too
    #[arg(long, global = true, value_name = "s3://BUCKET/PREFIX", env = "EKSTRACK_S3")]
    pub(crate) s3: Option<String>,

    /// Read the bucket of the team and not the data directory; with gc, session pin and session
    /// complete, change what is in the bucket
    #[arg(long, global = true)]
    pub(crate) remote: bool,

    /// Bus of EventBridge, by name or ARN, on which changes are announced
    #[arg(long, global = true, value_name = "BUS", env = "EKSTRACK_EVENTBRIDGE")]
    pub(crate) eventbridge: Option<String>,

    /// Log to stderr; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a whole simulated upgrade: live progress, artifacts, search, verification
    #[command(after_help = "\
Examples:
  ekstrack demo
  ekstrack demo --speed 4                              four times as fast
  ekstrack --data-dir /tmp/demo demo                   keep its data elsewhere")]
    Demo(DemoArgs),

    /// Start, show and steer upgrades
    #[command(subcommand)]
    Upgrade(UpgradeCommand),

    /// Add, report on and steer the tasks of an upgrade
    #[command(subcommand)]
    Task(TaskCommand),

    /// Run a command as a task: its output is kept, its exit status decides the task's state
    Run(RunArgs),

    /// Print what the command of a task wrote
    Logs(LogsArgs),

    /// Follow an upgrade live
    #[command(after_help = "\
Without UPGRADE, follows the one that started last and is not finished, else the one that ended last.
Ends, with exit code 0, when the upgrade is completed, failed or cancelled. On a terminal it shows a tree,
elsewhere a line for each change of state. With --json it prints a summary, then every event, one a line;
each has its `seq`, from which --since goes on.

With --url it needs no data directory: a server (`ekstrack serve`, or an agent that serves) tells what happens. When the
connection breaks it comes back and continues where it was, and says meanwhile that what it shows is stale.

Examples:
  ekstrack watch --url ws://localhost:8765
  ekstrack watch --url wss://ops.example.com --token-file token prod-1.33
  ekstrack watch prod-1.33
  ekstrack watch --since 0 prod-1.33                   all that happened, then what happens
  ekstrack --json watch prod-1.33 | jq -r .data.message")]
    Watch(WatchArgs),

    /// Show the upgrades of the data directory live to whoever connects
    Serve(ServeArgs),

    /// Create, show, complete and pin sessions of artifacts
    #[command(subcommand)]
    Session(SessionCommand),

    /// Create and list collections within a session
    #[command(subcommand)]
    Collection(CollectionCommand),

    /// Add, list, show, print, tag, verify, fetch and delete artifacts
    #[command(subcommand)]
    Artifact(ArtifactCommand),

    /// Find artifacts by words, also of their texts, and by what they are
    Search(SearchArgs),

    /// Count artifacts and their bytes
    Stats(StatsArgs),

    /// Delete what was kept for long enough
    Gc(GcArgs),

    /// Check the hash chain of journals and the digest of every artifact
    Verify(VerifyArgs),

    /// Look after journals
    #[command(subcommand)]
    Journal(JournalCommand),

    /// Take over files of the reference
    Import(ImportArgs),

    /// Print an upgrade with all of its events, as the reference wrote it
    Export(ExportArgs),

    /// Put into the bucket of the team, and announce on the bus, what is not there yet
    Sync(SyncArgs),

    /// Show how far each sink got with each stream, and what is parked
    Sinks(SinksArgs),

    /// Print completions for a shell
    #[command(after_help = "\
Examples:
  ekstrack completions bash > ~/.local/share/bash-completion/completions/ekstrack
  ekstrack completions zsh > ~/.zfunc/_ekstrack")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many times as fast as the normal 20 s
    #[arg(long, default_value_t = 1.0, value_parser = value::speed)]
    pub(crate) speed: f64,
}

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The upgrade
    pub(crate) upgrade: Option<tracking_model::UpgradeId>,

    /// Print the events after this sequence first, from 0 on; a terminal gets lines then, no tree
    #[arg(long, value_name = "SEQ")]
    pub(crate) since: Option<u64>,

    /// Go on when the upgrade has ended, until Ctrl-C
    #[arg(long)]
    pub(crate) keep: bool,

    /// Watch by a server's live stream instead of the data directory; see `ekstrack serve`
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,

    /// File with the token that the server demands
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(crate) token_file: Option<std::path::PathBuf>,

    /// PEM file with the certificates that sign the server's; those that this machine trusts unless given
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(crate) ca_file: Option<std::path::PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent_and_every_command_shows_examples() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} says nothing");
            if command.get_subcommands().next().is_none() || command.get_name() == "sinks" {
                let help = command
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(help.contains("Example"), "{path} shows no example");
            }
            command
                .get_subcommands()
                .for_each(|command| check(command, &path));
        }
        Cli::command().debug_assert();
        check(&Cli::command(), "");
    }
}
