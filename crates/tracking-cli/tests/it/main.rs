//! The command as people and scripts run it: the real binary, in a directory of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adding;
mod demo;
mod documents;
mod ekstrack;
mod reading;
mod refusals;
mod rerun;
mod retention;
mod run;
mod run_again;
mod run_limits;
mod run_output;
mod run_signals;
mod run_terminal;
mod run_tty;
mod search;
mod secrets;
mod serve;
mod sinks;
mod terminal;
mod threads;
mod watch;
mod watch_url;
