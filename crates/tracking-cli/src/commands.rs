//! What each command does.

pub(crate) mod run;
mod show;
mod task;
mod upgrade;

use clap::CommandFactory;

use crate::args::{Cli, Command};
use crate::exit::{Failure, Kind};
use crate::settings::Settings;

/// Does what was asked, and returns the exit code.
pub(crate) fn dispatch(command: Command, settings: &Settings) -> Result<u8, Failure> {
    let done = match command {
        Command::Upgrade(command) => upgrade::upgrade(command, settings),
        Command::Task(command) => task::task(command, settings),
        Command::Run(args) => return run::run(args, settings),
        Command::Completions { shell } => completions(shell, settings),
        other => Err(Failure::new(
            Kind::Failed,
            format!("run {other:?}"),
            "this version does not have that command yet",
        )),
    };
    done.map(|()| 0)
}

fn completions(shell: clap_complete::Shell, settings: &Settings) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ekstrack", &mut script);
    settings.output.text(&String::from_utf8_lossy(&script))
}
