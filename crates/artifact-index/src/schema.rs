//! The tables, and the version that says which.
//!
//! An artifact's slot is the microsecond at which it was added, or the next one that is free. Its row number is the slot
//! with a minus sign, so every table and every list of full-text search comes out newest first by itself: full-text search
//! goes forwards faster than backwards, and skips many times faster. `late` is how much later than its time a slot is at
//! most; artifacts of one session never share a microsecond, so it is 0 but for what was taken over from elsewhere.
//!
//! `buried` has artifacts that were deleted before they were added, by the clock of another machine.

/// Changes with the tables and with whatever decides what stands in them: another one is built anew.
pub(crate) const VERSION: i32 = 6;
/// `eksx`: tells our file from other databases.
pub(crate) const APPLICATION: i32 = 0x656b_7378;

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
    upgrade INTEGER NOT NULL,
    status INTEGER NOT NULL,
    size INTEGER,
    name_key TEXT NOT NULL,
    artifact_id TEXT NOT NULL,
    record TEXT NOT NULL
);
CREATE INDEX artifact_by_id ON artifact (artifact_id);
CREATE TABLE buried (
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
CREATE VIRTUAL TABLE words USING fts5(list, content='', contentless_delete=1, tokenize=\"ascii tokenchars '.'\", detail=full);
CREATE VIRTUAL TABLE statuses USING fts5(list, content='', contentless_delete=1, tokenize='ascii', detail=none);
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, instance);
";

/// Larger pieces in memory before they are written, and fewer merges of them: faster where rows are written one by one, and
/// fewer pieces to look at in each query. Still larger ones are no faster.
pub(crate) const SETTINGS: &str = "
INSERT INTO words(words, rank) VALUES ('hashsize', 16777216), ('automerge', 8);
INSERT INTO statuses(statuses, rank) VALUES ('hashsize', 16777216), ('automerge', 8);
";

/// What sorting by size and by name needs. Names and sizes come in no order, so keeping these in order while very many
/// artifacts are taken up would write most of their pages again with each batch: they are dropped before, and made in one
/// go by the first query that needs them.
pub(crate) const SORTS: &str = "
CREATE INDEX IF NOT EXISTS artifact_by_size ON artifact (size DESC, id, upgrade);
CREATE INDEX IF NOT EXISTS artifact_by_name ON artifact (name_key, id, upgrade);
";
pub(crate) const NO_SORTS: &str = "
DROP INDEX IF EXISTS artifact_by_size;
DROP INDEX IF EXISTS artifact_by_name;
";
/// How many of [`SORTS`] there are.
pub(crate) const COUNT_SORTS: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name IN ('artifact_by_size', 'artifact_by_name')";
