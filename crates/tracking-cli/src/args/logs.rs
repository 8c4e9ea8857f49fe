//! `ekstrack logs`.

use clap::Args;

use super::TaskName;

/// Arguments of `logs`.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the bytes as the command wrote them. Of a task whose command runs, it prints what there is
so far. Of an attempt that was interrupted (kill -9, a power cut) nothing tells the two streams
apart, so both are printed, one after the other.

Examples:
  ekstrack logs prod-1.33 drain                    stdout of the last attempt that has any
  ekstrack logs prod-1.33 drain --stderr
  ekstrack logs prod-1.33 drain --attempt 1 | less
  ekstrack --remote logs prod-1.33 drain           from the bucket of the team")]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) name: TaskName,
    /// Which attempt, from 1; `task show` names them [default: the last that has output]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) attempt: Option<u32>,
    /// Print stderr of the command instead of stdout
    #[arg(long)]
    pub(crate) stderr: bool,
}
