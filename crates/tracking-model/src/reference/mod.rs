//! The reference's files in: reading everything that the Python implementation ever wrote.
//!
//! What is impossible in a file is kept under the upgrade's `metadata` and reported as a warning; only what is no such
//! file at all is an error.

mod json;
mod read;
mod session;
mod task;
mod tree;
mod upgrade;

use json::Json;

pub use session::{ReferenceArtifact, ReferenceSession};

/// What one of the reference's files holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReferenceKind {
    /// The progress of an upgrade: `upgrade_<id>.json`.
    Upgrade,
    /// A session of artifacts: `session_<id>.json`.
    Session,
}

impl ReferenceKind {
    /// Tells from a file's content what it holds.
    ///
    /// # Errors
    /// [`ReferenceError`] if it is no JSON object or names neither an upgrade nor a session.
    pub fn of(file: &[u8]) -> Result<Self, ReferenceError> {
        let (json, _) = Json::parse(file)?;
        let Json::Object(entries) = &json else {
            return Err(ReferenceError::NotAnObject { found: json.kind() });
        };
        let has = |key: &str| entries.iter().any(|(name, _)| name == key);
        if has("session_id") {
            Ok(Self::Session)
        } else if has("upgrade_id") {
            Ok(Self::Upgrade)
        } else {
            Err(ReferenceError::NoId {
                field: "session_id or upgrade_id",
            })
        }
    }
}

/// Why a file is none of the reference's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// It is not JSON; a file that was cut short is not either.
    #[error("not JSON at line {line}, column {column}: {reason}")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column in bytes, from 1; 0 before the line's first byte.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// It holds something else than an object.
    #[error("holds {found} where an upgrade's or a session's file holds an object")]
    NotAnObject {
        /// What it holds.
        found: &'static str,
    },
    /// It does not say which upgrade or session it is about.
    #[error("has no {field}: it is neither an upgrade's nor a session's file")]
    NoId {
        /// The key that is missing.
        field: &'static str,
    },
}

impl ReferenceError {
    fn not_json(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or_default().to_owned();
        Self::NotJson { line, column, reason }
    }
}
