//! A data directory with many artifacts, each with a text of 1 KiB like those of logs.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tracking_journal::{DataDir, Journal, JournalOptions};
use tracking_model::{Artifact, ImportSession, Session, SessionCommand, SessionId, StreamId, Timestamp};

pub(crate) const TEXT_BYTES: usize = 1024;
/// Sessions of a directory: artifacts go round them, so that neighbours in time are of different sessions.
pub(crate) const SESSIONS: usize = 20;
/// Most files that are written; with more artifacts, several have the same text.
const FILES: usize = 100_000;
const START: i64 = 1_735_000_000_000_000;
const MILLISECOND: i64 = 1_000;

/// Numbers that look random and are the same in each run.
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Small ones more often than large ones, as words are used.
    pub(crate) const fn word(&mut self, words: u64) -> u64 {
        let (one, other) = (self.below(words), self.below(words));
        one * other / words
    }
}

const SYLLABLES: [&str; 16] = [
    "ku", "be", "let", "no", "de", "po", "dra", "in", "re", "dy", "sche", "du", "ler", "vol", "um", "net",
];

/// One of 4,000 words; those with small numbers are common.
pub(crate) fn word(number: u64) -> String {
    let syllable = |at: u64| SYLLABLES.get(usize::try_from(at % 16).unwrap()).copied().unwrap();
    format!(
        "{}{}{}",
        syllable(number),
        syllable(number / 16),
        syllable(number / 256 + 3)
    )
}

/// Lines of a log: times, addresses and numbers of their own, and words.
pub(crate) fn text(number: usize) -> String {
    let mut numbers = Numbers::new(number as u64 + 1);
    let mut text = String::with_capacity(TEXT_BYTES + 128);
    while text.len() < TEXT_BYTES {
        write!(
            text,
            "2025-01-31T05:{:02}:{:02}.{:06}Z INFO kubelet[{}]:",
            numbers.below(60),
            numbers.below(60),
            numbers.below(1_000_000),
            numbers.below(30_000)
        )
        .unwrap();
        for _ in 0..10 {
            text.push(' ');
            text.push_str(&word(numbers.word(4000)));
        }
        writeln!(
            text,
            " node ip-10-0-{}-{} is ready",
            numbers.below(256),
            numbers.below(256)
        )
        .unwrap();
    }
    text.truncate(TEXT_BYTES);
    text
}

pub(crate) fn session_id(number: usize) -> SessionId {
    SessionId::new(format!("session-{number}")).unwrap()
}

fn artifact(number: usize) -> Artifact {
    let mut numbers = Numbers::new(number as u64 + 7);
    let session = number % SESSIONS;
    let kinds = [
        "log_file",
        "test_result",
        "configuration",
        "metrics_data",
        "report",
        "diagnostic",
    ];
    let kind = kinds[usize::try_from(numbers.word(6)).unwrap()];
    let (upgrade, node) = (session / 2, numbers.below(5_000));
    let magnitude = numbers.below(30);
    // A file of the same session: it is read as the artifact's own.
    let file = number % FILES;
    let artifact = json!({
        "artifact_id": uuid::Uuid::from_u64_pair((number as u64) << 8 | 0x0190_0000_0000_7000, numbers.next()),
        "session_id": session_id(session), "collection_id": format!("collection-{}", numbers.below(50)),
        "upgrade_id": format!("upgrade-{upgrade}"), "name": format!("node-{node}-{}.log", word(numbers.word(4000))),
        "description": format!("output of {} on node {node}", word(numbers.word(4000))),
        "artifact_type": kind, "local_path": format!("artifacts/{}/texts/{file}.log", session_id(session)),
        "file_size": numbers.below(1 << magnitude).max(1), "file_hash": "0".repeat(64),
        "created_at": Timestamp::from_micros(START + number as i64 * 10 * MILLISECOND),
        "status": if numbers.below(10) == 0 { "uploaded" } else { "created" },
        "task_id": format!("task-{}", numbers.below(200)), "step_id": format!("step {}", numbers.below(20)),
        "tags": [format!("node-{}", numbers.below(500)), format!("zone-{}", numbers.below(3))]
    });
    let mut artifact: Artifact = serde_json::from_value(artifact).unwrap();
    artifact.collection_id = "texts".parse().unwrap();
    artifact
}

/// Writes the journals and the texts.
pub(crate) fn create(data_dir: &Path, count: usize) -> DataDir {
    let dir = DataDir::open(data_dir).unwrap();
    for session in 0..SESSIONS {
        let id = session_id(session);
        let texts = dir.artifacts_dir().join(id.as_str()).join("texts");
        fs::create_dir_all(&texts).unwrap();
        for number in (session..count.min(FILES)).step_by(SESSIONS) {
            fs::write(texts.join(format!("{number}.log")), text(number)).unwrap();
        }
        import(
            &dir,
            session,
            (session..count)
                .step_by(SESSIONS)
                .map(|number| Arc::new(artifact(number)))
                .collect(),
        );
    }
    dir
}

fn import(dir: &DataDir, session: usize, artifacts: Vec<Arc<Artifact>>) {
    let id = session_id(session);
    let upgrade = format!("upgrade-{}", session / 2);
    let created = json!({
        "session_id": id, "name": "n", "upgrade_id": upgrade, "cluster_name": format!("cluster-{}", session % 4),
        "started_at": "2025-01-31T05:00:00Z", "retention_days": 30
    });
    let collection = json!({
        "collection_id": "texts", "session_id": id, "name": "Texts", "upgrade_id": upgrade,
        "created_at": "2025-01-31T05:00:00Z"
    });
    let import = ImportSession {
        session: serde_json::from_value(json!({"session": created, "state": {}})).unwrap(),
        collections: vec![serde_json::from_value(collection).unwrap()],
        artifacts,
    };
    let options = JournalOptions::default().with_actor("bench");
    let journal = Journal::<Session>::open(dir, StreamId::Session(id), options).unwrap();
    journal
        .submit(SessionCommand::Import(Box::new(import)))
        .wait()
        .unwrap();
    journal.close_blocking();
}
