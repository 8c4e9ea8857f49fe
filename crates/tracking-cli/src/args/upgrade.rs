//! `ekstrack upgrade`.

use clap::Subcommand;
use tracking_model::{PlanId, Status, UpgradeId};

use super::KeyValue;

/// What can be done with an upgrade.
#[derive(Debug, Subcommand)]
pub(crate) enum UpgradeCommand {
    /// Create an upgrade and start it; start a failed one again
    #[command(after_help = "\
Examples:
  ekstrack upgrade start prod-1.33 --plan plan-7 --cluster prod-eu-west-1
  ekstrack upgrade start prod-1.33 --plan plan-7 --cluster prod --phase Planning --meta ticket=OPS-12
  ekstrack upgrade start prod-1.33 --plan plan-7 --cluster prod --if-needed")]
    Start {
        /// Its id: letters, digits, '.', '_', ':' and '-'
        id: UpgradeId,
        /// The plan that it follows
        #[arg(long, value_name = "ID")]
        plan: PlanId,
        /// The cluster that it upgrades
        #[arg(long, value_name = "NAME")]
        cluster: String,
        /// The phase that it begins with
        #[arg(long, default_value = "Initialization")]
        phase: String,
        /// Do nothing if it is in progress, paused or completed already, for scripts that are run again
        #[arg(long)]
        if_needed: bool,
        /// Metadata of the upgrade, `key=text` or `key:=json`; may be given again
        #[arg(long, value_name = "KEY=VALUE")]
        meta: Vec<KeyValue>,
    },
    /// Enter another phase
    #[command(after_help = "Example:\n  ekstrack upgrade phase prod-1.33 'Traffic shifting'")]
    Phase {
        /// The upgrade
        id: UpgradeId,
        /// The phase
        phase: String,
    },
    /// Record that it ended well
    #[command(after_help = "\
Examples:
  ekstrack upgrade complete prod-1.33
  ekstrack upgrade complete prod-1.33 --allow-unfinished   keeps its real percentage")]
    Complete {
        /// The upgrade
        id: UpgradeId,
        /// Complete it although tasks are unfinished or failed
        #[arg(long)]
        allow_unfinished: bool,
        /// Do nothing if it is completed already, for scripts that are run again
        #[arg(long)]
        if_needed: bool,
    },
    /// Record that it ended badly
    #[command(
        after_help = "Example:\n  ekstrack upgrade fail prod-1.33 --error 'control plane does not answer'"
    )]
    Fail {
        /// The upgrade
        id: UpgradeId,
        /// Why
        #[arg(long)]
        error: String,
    },
    /// Ask its agent to wait
    #[command(
        after_help = "Example:\n  ekstrack upgrade pause prod-1.33 --reason 'change freeze until Monday'"
    )]
    Pause {
        /// The upgrade
        id: UpgradeId,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let its agent go on
    #[command(after_help = "Example:\n  ekstrack upgrade resume prod-1.33")]
    Resume {
        /// The upgrade
        id: UpgradeId,
    },
    /// Give it up, for good
    #[command(
        after_help = "Example:\n  ekstrack upgrade cancel prod-1.33 --reason 'superseded by prod-1.34'"
    )]
    Cancel {
        /// The upgrade
        id: UpgradeId,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// List the upgrades of the data directory
    #[command(after_help = "\
Examples:
  ekstrack upgrade list
  ekstrack upgrade list --status in_progress
  ekstrack --json upgrade list | jq -r '.upgrades[].upgrade_id'")]
    List {
        /// Only those with this status
        #[arg(long)]
        status: Option<Status>,
    },
    /// Show an upgrade as a tree of tasks
    #[command(after_help = "\
Examples:
  ekstrack upgrade show prod-1.33
  ekstrack --json upgrade show prod-1.33 | jq .current_task")]
    Show {
        /// The upgrade
        id: UpgradeId,
    },
    /// Delete the journal of an upgrade that has ended
    #[command(after_help = "\
Its sessions and artifacts stay. An upgrade that has not ended needs --force, and so does one that a newer
program wrote.

Example:
  ekstrack upgrade rm prod-1.33")]
    Rm {
        /// The upgrade
        id: UpgradeId,
        /// Delete it although it has not ended, or a newer program wrote it
        #[arg(long)]
        force: bool,
    },
}
