//! What each command does.

mod artifact;
mod artifact_add;
mod demo;
mod gc;
mod journal;
mod logs;
mod pages;
pub(crate) mod remote;
pub(crate) mod run;
pub(crate) mod runtime;
mod search;
mod serve;
mod session;
mod show;
mod sinks;
mod sync;
mod task;
pub(crate) mod transfer;
mod upgrade;
mod verify;
mod watch;

use clap::CommandFactory;
use serde_json::json;

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::settings::Settings;

/// Does what was asked, lets the sinks know, and tells how to end.
pub(crate) fn dispatch(command: Command, settings: Settings) -> Result<Exit, Failure> {
    let settings = remote::attach(&command, settings)?;
    let has_signals = matches!(command, Command::Run(_));
    let done = perform(command, &settings);
    settings.deliver_changes(has_signals);
    done
}

fn perform(command: Command, settings: &Settings) -> Result<Exit, Failure> {
    let done = match command {
        Command::Upgrade(command) => upgrade::upgrade(command, settings),
        Command::Task(command) => task::task(command, settings),
        Command::Run(args) => return run::run(args, settings),
        Command::Demo(args) => return demo::demo(&args, settings),
        Command::Watch(args) => return watch::watch(args, settings),
        Command::Gc(args) => gc::gc(args, settings),
        Command::Serve(args) => serve::serve(&args, settings),
        Command::Verify(args) => verify::verify(args, settings),
        Command::Journal(command) => journal::journal(command, settings),
        Command::Sinks(args) => sinks::sinks(args, settings),
        Command::Sync(args) => sync::sync(&args, settings),
        Command::Import(args) => transfer::import(args, settings),
        Command::Export(args) => transfer::export(&args, settings),
        Command::Session(command) => session::session(command, settings),
        Command::Collection(command) => session::collection(command, settings),
        Command::Artifact(command) => artifact::artifact(command, settings),
        Command::Logs(args) => logs::logs(&args, settings),
        Command::Search(args) => search::search(args, settings),
        Command::Stats(args) => search::stats(args, settings),
        Command::Completions { shell } => completions(shell, settings),
    };
    done.map(|()| Exit::Code(0))
}

fn completions(shell: clap_complete::Shell, settings: &Settings) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ekstrack", &mut script);
    let script = String::from_utf8_lossy(&script);
    let document = json!({ "shell": shell.to_string(), "script": script });
    settings.output.result(&document, |_| script.to_string())
}
