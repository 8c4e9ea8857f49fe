//! The command as people and scripts run it: the real binary, in a directory of its own.

mod demo;
mod documents;
mod ekstrack;
mod refusals;
mod run;
mod watch;
