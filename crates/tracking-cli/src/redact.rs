//! Secrets are replaced in every message of this command, and, if asked for, in the output that `run` keeps.
//!
//! [`rules`] says what a secret looks like, [`stream`] replaces secrets in bytes that come in pieces, and [`messages`]
//! is the only way to stderr.

pub(crate) mod messages;
mod rules;
mod stream;

pub(crate) use rules::Rules;
pub(crate) use stream::Redactor;
