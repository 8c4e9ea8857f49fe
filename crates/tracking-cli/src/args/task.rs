//! `ekstrack task`.

use clap::{Args, Subcommand};
use tracking_model::{TaskId, TaskType, UpgradeId};

use super::value::{percentage, task_type, weight};
use super::{Deadline, KeyValue, PlainSteps};

/// A task and the upgrade that it belongs to.
#[derive(Debug, Args)]
pub(crate) struct TaskName {
    /// The upgrade
    pub(crate) upgrade: UpgradeId,
    /// The task
    pub(crate) task: TaskId,
}

/// What can be done with a task.
#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Add a task
    #[command(after_help = "\
Examples:
  ekstrack task add prod-1.33 nodes --name 'Upgrade nodes' --type upgrade_step
  ekstrack task add prod-1.33 drain --name 'Drain' --type upgrade_step --parent nodes --weight 3 --steps 12")]
    Add(TaskAddArgs),
    /// Start a task, or start a failed one again
    #[command(after_help = "Example:\n  ekstrack task start prod-1.33 drain --message 'first of 12 nodes'")]
    Start {
        #[command(flatten)]
        name: TaskName,
        /// In words
        #[arg(long, short)]
        message: Option<String>,
    },
    /// Report how far a task is; starts it if it has not started
    #[command(after_help = "\
Examples:
  ekstrack task progress prod-1.33 drain 40
  ekstrack task progress prod-1.33 drain 42.5 -m 'node 5 drained' --detail node=ip-10-0-1-7 --detail pods:=31")]
    Progress {
        #[command(flatten)]
        name: TaskName,
        /// Percentage, from 0 to 100
        #[arg(value_name = "PCT", value_parser = percentage, allow_negative_numbers = true)]
        percentage: f64,
        /// In words
        #[arg(long, short, default_value = "")]
        message: String,
        /// Detail, `key=text` or `key:=json`; may be given again
        #[arg(long, value_name = "KEY=VALUE")]
        detail: Vec<KeyValue>,
    },
    /// Report how many steps of a task are done
    #[command(after_help = "\
Examples:
  ekstrack task steps prod-1.33 drain 3/12
  ekstrack task steps prod-1.33 drain 4 --step 'ip-10-0-1-7'      the total was given before")]
    Steps {
        #[command(flatten)]
        name: TaskName,
        /// Steps done and in all
        #[arg(value_name = "DONE/TOTAL")]
        steps: PlainSteps,
        /// The step that runs, in words
        #[arg(long)]
        step: Option<String>,
    },
    /// Report that a task is alive
    #[command(after_help = "Example:\n  ekstrack task heartbeat prod-1.33 drain")]
    Heartbeat {
        #[command(flatten)]
        name: TaskName,
    },
    /// Report what a task waits for
    #[command(after_help = "\
Examples:
  ekstrack task wait prod-1.33 approve --reason 'approval of the change board' --until 2h
  ekstrack task wait prod-1.33 drain --reason 'pod disruption budget of payments'")]
    Wait {
        #[command(flatten)]
        name: TaskName,
        /// What for
        #[arg(long)]
        reason: String,
        /// When it should be over at the latest: a time, or a span from now such as 15m
        #[arg(long, value_name = "TIME")]
        until: Option<Deadline>,
    },
    /// Record that a task ended well
    #[command(after_help = "Example:\n  ekstrack task complete prod-1.33 drain")]
    Complete {
        #[command(flatten)]
        name: TaskName,
        /// In words
        #[arg(long, short)]
        message: Option<String>,
    },
    /// Record that a task ended badly
    #[command(
        after_help = "Example:\n  ekstrack task fail prod-1.33 drain --error 'node ip-10-0-1-7 is not ready'"
    )]
    Fail {
        #[command(flatten)]
        name: TaskName,
        /// Why
        #[arg(long)]
        error: String,
    },
    /// Start a failed task again
    #[command(after_help = "Example:\n  ekstrack task retry prod-1.33 drain")]
    Retry {
        #[command(flatten)]
        name: TaskName,
        /// In words
        #[arg(long, short)]
        message: Option<String>,
    },
    /// Mark a running task as paused
    #[command(after_help = "Example:\n  ekstrack task pause prod-1.33 drain --reason 'business hours'")]
    Pause {
        #[command(flatten)]
        name: TaskName,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let a paused task go on
    #[command(after_help = "Example:\n  ekstrack task resume prod-1.33 drain")]
    Resume {
        #[command(flatten)]
        name: TaskName,
    },
    /// Give a task up, for good
    #[command(after_help = "Example:\n  ekstrack task cancel prod-1.33 drain --reason 'not needed'")]
    Cancel {
        #[command(flatten)]
        name: TaskName,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// List the tasks of an upgrade
    #[command(after_help = "\
Examples:
  ekstrack task list prod-1.33
  ekstrack --json task list prod-1.33 | jq -r '.tasks[] | select(.status == \"failed\") | .task_id'")]
    List {
        /// The upgrade
        upgrade: UpgradeId,
    },
    /// Show a task, the logs of its attempts and its last events
    #[command(after_help = "\
Examples:
  ekstrack task show prod-1.33 drain
  ekstrack --json task show prod-1.33 drain | jq .percentage")]
    Show {
        #[command(flatten)]
        name: TaskName,
    },
}

/// Arguments of `task add`.
#[derive(Debug, Args)]
pub(crate) struct TaskAddArgs {
    #[command(flatten)]
    pub(crate) id: TaskName,
    /// Its display name
    #[arg(long)]
    pub(crate) name: String,
    /// Its type
    #[arg(long = "type", value_name = "TYPE", value_parser = task_type())]
    pub(crate) task_type: TaskType,
    /// The task that it is part of
    #[arg(long, value_name = "TASK")]
    pub(crate) parent: Option<TaskId>,
    /// Its share in its parent's percentage, relative to its siblings [default: 1]
    #[arg(long, value_parser = weight)]
    pub(crate) weight: Option<f64>,
    /// How many steps it has
    #[arg(long, value_name = "TOTAL", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) steps: Option<u64>,
    /// Seconds without a report after which it is shown as stalled [default: 300]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) heartbeat: Option<u32>,
}
