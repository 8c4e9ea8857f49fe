//! The tables of the index, and their version.
//!
//! An artifact's slot is the microsecond at which it was added, or a later one that is free. Its row number is the
//! negative slot, so every table and every result of full-text search comes newest first. `latest.late` is the most by
//! which a slot is later than its time; artifacts of one session never share a microsecond, so it is 0 unless sessions
//! were imported or merged.
//!
//! Columns that searches filter and sort by are in `artifact`, the records in `record`, so that sorting many artifacts
//! reads few pages. `tombstone` has artifacts that were deleted before they were added, by the clock of another machine.

/// Changes with the tables and with everything that decides what is in them. A file of another version is built anew.
pub(crate) const VERSION: i32 = 7;
/// `eksx`: tells our file from other databases.
pub(crate) const APPLICATION: i32 = 0x656b_7378;
/// The size of an artifact whose size is not known; sorted behind all others.
pub(crate) const UNKNOWN_SIZE: i64 = -1;

pub(crate) const TABLES: &str = "
CREATE TABLE session (
    id INTEGER PRIMARY KEY,
    session_id TEXT NOT NULL UNIQUE,
    cluster_name TEXT NOT NULL,
    seq INTEGER NOT NULL,
    position TEXT
);
CREATE TABLE artifact (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    status INTEGER NOT NULL,
    size INTEGER NOT NULL,
    name_key TEXT NOT NULL,
    artifact_id TEXT NOT NULL
);
CREATE INDEX artifact_by_id ON artifact (artifact_id);
CREATE INDEX artifact_by_session ON artifact (session);
CREATE INDEX artifact_by_status ON artifact (status);
CREATE INDEX artifact_by_size ON artifact (size DESC);
CREATE INDEX artifact_by_name ON artifact (name_key);
CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    json TEXT NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE TABLE tombstone (
    session INTEGER NOT NULL,
    artifact_id TEXT NOT NULL,
    PRIMARY KEY (session, artifact_id)
) WITHOUT ROWID;
CREATE TABLE tally (
    session INTEGER NOT NULL,
    upgrade_id TEXT NOT NULL,
    type INTEGER NOT NULL,
    status INTEGER NOT NULL,
    day INTEGER NOT NULL,
    artifacts INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (session, upgrade_id, type, status, day)
) WITHOUT ROWID;
CREATE TABLE latest (late INTEGER NOT NULL);
INSERT INTO latest VALUES (0);
CREATE VIRTUAL TABLE words USING fts5(list, content='', contentless_delete=1, tokenize=\"ascii tokenchars '.'\");
INSERT INTO words(words, rank) VALUES ('hashsize', 16777216), ('automerge', 8);
";
