//! `ekstrack run`.

use std::ffi::OsString;

use clap::Args;
use tracking_model::{CollectionId, SessionId, TaskId, TaskType, UpgradeId};

use super::value::task_type;

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "\
The task is created if the upgrade has none of this id, started, and started again if it failed before. \
The command's stdout and stderr pass through unchanged and are kept as the artifacts `stdout.log` and \
`stderr.log` (where it wrote any); `output-times.jsonl` says when each piece of them came. --artifact GLOB \
keeps files that the command has left when it ends. While it runs, heartbeats are sent. Exit status 0 \
completes the task, any other fails it. If the upgrade is paused or cancelled meanwhile, the command goes on.

If tracking itself fails (disk full, journal locked or damaged), the command runs all the same, with a \
warning.

With --if-needed a completed task is skipped, with a note and exit code 0: a script of such steps can be \
killed anywhere and run again. A second run of a task that a living run holds is refused; --anyway overrides.

Exits as the command does, and with 125 if refused before the start (unknown upgrade, completed task), \
126 if the command cannot be executed, 127 if it is not found. If a signal killed the command, the same one \
kills `run`: a shell shows 128+n.

Examples:
  ekstrack run prod-1.33 build -- cargo build --release
  ekstrack run prod-1.33 drain --name 'Drain blue nodes' -- kubectl drain -l group=blue
  ekstrack run prod-1.33 auth --redact --redact-pattern 'pin: ([0-9]+)' -- ./log-in.sh
  ekstrack run prod-1.33 e2e --type validation --artifact 'reports/*.xml' -- ./e2e.sh")]
pub(crate) struct RunArgs {
    /// The upgrade
    pub(crate) upgrade: UpgradeId,
    /// The task
    pub(crate) task: TaskId,
    /// Display name of the task if it is created [default: TASK]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Type of the task if it is created
    #[arg(long = "type", value_name = "TYPE", default_value = "upgrade_step", value_parser = task_type())]
    pub(crate) task_type: TaskType,
    /// The task that it is part of if it is created
    #[arg(long, value_name = "TASK")]
    pub(crate) parent: Option<TaskId>,
    /// The session that keeps the output, created if absent [default: UPGRADE]
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<SessionId>,
    /// The collection that keeps the output, created if absent [default: TASK]
    #[arg(long, value_name = "ID")]
    pub(crate) collection: Option<CollectionId>,
    /// Files to keep after the command has ended; may be given again
    #[arg(long, value_name = "GLOB")]
    pub(crate) artifact: Vec<String>,
    /// Run the command on a terminal of its own: colours and progress bars stay, and stdout.log has both streams
    #[arg(long)]
    pub(crate) tty: bool,
    /// Do nothing, with exit code 0, if the task is completed already
    #[arg(long)]
    pub(crate) if_needed: bool,
    /// Run it although another `ekstrack run` runs the task
    #[arg(long)]
    pub(crate) anyway: bool,
    /// Replace known kinds of secrets in the logs that are kept, not on the terminal
    #[arg(long)]
    pub(crate) redact: bool,
    /// Replace what matches in the logs that are kept: a regular expression, applied within a line, whose
    /// first group is the secret if it has one; may be given again
    #[arg(long, value_name = "REGEX")]
    pub(crate) redact_pattern: Vec<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}
