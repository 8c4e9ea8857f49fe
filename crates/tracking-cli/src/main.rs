//! The command `ekstrack`: follows upgrades of EKS clusters, keeps what they produce, and loses none of it.
//!
//! [`args`] says what can be asked, [`commands`] does it, [`render`] and [`output`] show the result, [`exit`] decides
//! how it ends.

mod args;
mod commands;
mod config_file;
mod exit;
mod failure;
mod files;
mod live;
mod output;
mod process;
mod redact;
mod render;
mod settings;
mod sinks;
mod work;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure, Kind};
use crate::settings::Settings;

fn main() -> ExitCode {
    redact::messages::take_over_panics();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(not_understood(&error, &arguments)),
    };
    log_to_stderr(cli.global.verbose);
    let json = cli.global.json;
    let runs = matches!(cli.command, Command::Run(_));
    let ended = Settings::resolve(cli.global).and_then(|settings| commands::dispatch(cli.command, settings));
    let exit = ended.unwrap_or_else(|failure| {
        let code = if runs {
            commands::run::REFUSED
        } else {
            failure.code()
        };
        failure.print(json, code);
        Exit::Code(code)
    });
    exit.end()
}

/// Says what is wrong with the command line, or prints the help that was asked for.
fn not_understood(error: &clap::Error, arguments: &[OsString]) -> u8 {
    let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let code = match (help, subcommand(arguments).as_deref()) {
        (true, _) => 0,
        (false, Some("run")) => commands::run::REFUSED,
        (false, _) => Kind::Usage.code(),
    };
    if !help && arguments.iter().any(|argument| argument == "--json") {
        Failure::new(Kind::Usage, "read the command line", what_is_wrong(error))
            .hint("try --help")
            .print(true, code);
    } else if print(error).is_err() {
        // Nobody is left to tell; the exit code still says it.
    }
    code
}

/// Prints what clap has to say where it belongs: help to stdout, an error to stderr.
fn print(error: &clap::Error) -> std::io::Result<()> {
    let text = |terminal: bool| {
        let text = error.render();
        if terminal && console::colors_enabled() {
            text.ansi().to_string()
        } else {
            text.to_string()
        }
    };
    if error.use_stderr() {
        redact::messages::write(&text(console::user_attended_stderr()));
        Ok(())
    } else {
        let mut stdout = output::stdout();
        stdout.write_all(text(console::user_attended()).as_bytes())?;
        stdout.flush()
    }
}

/// What clap says of it, but for the usage that follows.
fn what_is_wrong(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a subcommand is missing".to_owned();
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said: Vec<&str> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .collect();
    let said = said.join(" ");
    said.strip_prefix("error: ").unwrap_or(&said).to_owned()
}

/// The command that a command line names, though the rest of it is wrong.
fn subcommand(arguments: &[OsString]) -> Option<String> {
    let matches = Cli::command()
        .ignore_errors(true)
        .try_get_matches_from(arguments)
        .ok()?;
    matches.subcommand_name().map(str::to_owned)
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(redact::messages::Log)
        .with_ansi(redact::messages::is_terminal())
        .init();
}
