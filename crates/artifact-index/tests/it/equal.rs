//! The index on SQLite and the one in memory answer alike, whatever they were fed and are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use artifact_core::{ArtifactIndex, ArtifactQuery, Matches, MemoryIndex, NamePattern, Sort, TextQuery};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use tracking_journal::Committed;
use tracking_model::{ArtifactStatus, ArtifactType, SessionEvent, SessionId, Timestamp};

use crate::support::{Texts, batch, created, index, record};

const WORDS: [&str; 14] = [
    "node",
    "Nodes",
    "kubelet",
    "ready",
    "not ready",
    "x",
    "größe",
    "7",
    "node-7",
    "ſ",
    "İstanbul",
    "日本",
    "err",
    "error",
];
const NAMES: [&str; 12] = [
    "node.log",
    "Node-7.LOG",
    "kubelet.log.gz",
    "größe.txt",
    "a",
    "ab",
    "日本語.png",
    "x[1].yaml",
    "İ.txt",
    "ſs.txt",
    "node.log",
    "50%_done",
];
const TAGS: [&str; 5] = ["node", "NODE", "not ready", "über", "x"];
const IDS: [&str; 6] = ["a", "b", "c", "d:1", "e", "f"];
const SESSIONS: [&str; 3] = ["s1", "s2", "s:3"];
/// Few and close together, so that many are equal.
const TIMES: [i64; 7] = [-5, 0, 1, 2, 3, 1_700_000_000_000_000, 1_700_000_000_000_001];

/// What happens to the indexes.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Added {
        session: &'static str,
        artifact: Value,
    },
    Changed {
        session: &'static str,
        id: &'static str,
        status: ArtifactStatus,
        tags: Option<Vec<&'static str>>,
    },
    Forgotten(&'static str),
}

fn text(words: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(select(&WORDS[..]), 0..words).prop_map(|words| words.join(" - "))
}

fn tags() -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(&TAGS[..], 0..=3)
}

fn added() -> impl Strategy<Value = Step> {
    let who = (
        select(&SESSIONS[..]),
        select(&IDS[..]),
        select(&["c", "d"][..]),
        select(&["u1", "u2"][..]),
    );
    let what = (
        select(&NAMES[..]),
        proptest::option::of(text(3)),
        select(&ArtifactType::ALL[..]),
        proptest::option::of(select(&[0_u64, 1, 2, 7, 8, 1000, 1 << 40][..])),
        tags(),
    );
    let whence = (
        select(&TIMES[..]),
        proptest::option::of(select(&["t1", "t2"][..])),
        proptest::option::of(Just("step 1")),
    );
    (who, what, whence).prop_map(|((session, id, collection, upgrade), (name, about, kind, size, tags), (at, task, step))| {
        let mut artifact = json!({
            "artifact_id": id, "session_id": session, "collection_id": collection, "upgrade_id": upgrade,
            "name": name, "artifact_type": kind, "created_at": Timestamp::from_micros(at), "status": "created",
            "tags": tags
        });
        let optional = [
            ("description", json!(about)), ("file_size", json!(size)), ("task_id", json!(task)), ("step_id", json!(step)),
        ];
        for (key, value) in optional {
            if !value.is_null() {
                artifact[key] = value;
            }
        }
        Step::Added { session, artifact }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let changed = (
        select(&SESSIONS[..]),
        select(&IDS[..]),
        select(&ArtifactStatus::ALL[..]),
        proptest::option::of(tags()),
    );
    prop_oneof![
        8 => added(),
        3 => changed.prop_map(|(session, id, status, tags)| Step::Changed { session, id, status, tags }),
        1 => select(&SESSIONS[..]).prop_map(Step::Forgotten),
    ]
}

fn text_query() -> impl Strategy<Value = TextQuery> {
    let terms = select(
        &[
            "node",
            "nod*",
            "-node",
            "\"not ready\"",
            "-\"not ready\"",
            "node-7",
            "node-7*",
            "error",
            "err*",
            "größ*",
            "i*",
            "日本",
            "ready",
            "absent",
            "-err*",
            "x",
            "7",
            "log",
        ][..],
    );
    proptest::collection::vec(terms, 1..4).prop_map(|terms| TextQuery::new(terms.join(" ")).unwrap())
}

fn query() -> impl Strategy<Value = ArtifactQuery> {
    const PATTERNS: [&str; 15] = [
        "log",
        "LOG",
        "*.log",
        "node*",
        "n",
        "no",
        "*[1]*",
        "{a,ab}",
        "größe",
        "İ*",
        "S.T",
        "T.log.",
        "?????????*",
        "%_",
        "*",
    ];
    let place = (
        proptest::option::of(select(&SESSIONS[..])),
        proptest::option::weighted(0.2, select(&["c", "d", "none"][..])),
        proptest::option::weighted(0.2, select(&["u1", "u2"][..])),
        proptest::option::weighted(0.2, select(&["prod s1", "prod s2", "none"][..])),
        proptest::option::weighted(0.2, select(&["t1", "t2"][..])),
        proptest::option::weighted(0.2, Just("step 1")),
    );
    let kind = (
        subsequence(&ArtifactType::ALL[..], 0..=3),
        subsequence(&ArtifactStatus::ALL[..], 0..=5),
        subsequence(&TAGS[..], 0..=1),
        subsequence(&TAGS[..], 0..=2),
        subsequence(&TAGS[..], 0..=1),
    );
    let range = (
        proptest::option::weighted(0.2, select(&[0_u64, 1, 5, 8][..])),
        proptest::option::weighted(0.2, select(&[1_u64, 7, 999, u64::MAX][..])),
        proptest::option::weighted(0.2, select(&TIMES[..])),
        proptest::option::weighted(0.2, select(&TIMES[..])),
    );
    let rest = (
        proptest::option::of(text_query()),
        proptest::option::weighted(0.3, select(&PATTERNS[..])),
        select(&[Sort::Newest, Sort::Oldest, Sort::Rank, Sort::Size, Sort::Name][..]),
        select(&[1_usize, 2, 3, 100][..]),
    );
    (place, kind, range, rest).prop_map(|(place, kind, range, (text, pattern, sort, limit))| {
        let mut query = ArtifactQuery::new().with_sort(sort).with_limit(limit);
        let (session, collection, upgrade, cluster, task, step) = place;
        query.session_id = session.map(|id| id.parse().unwrap());
        query.collection_id = collection.map(|id| id.parse().unwrap());
        query.upgrade_id = upgrade.map(|id| id.parse().unwrap());
        query.cluster_name = cluster.map(Arc::from);
        query.task_id = task.map(|id| id.parse().unwrap());
        query.step_id = step.map(Arc::from);
        let (types, statuses, all, any, none) = kind;
        let arcs = |tags: Vec<&str>| tags.into_iter().map(Arc::from).collect();
        (query.types, query.statuses) = (types, statuses);
        (query.all_tags, query.any_tags, query.no_tags) = (arcs(all), arcs(any), arcs(none));
        (query.min_size, query.max_size) = (range.0, range.1);
        query.since = range.2.map(Timestamp::from_micros);
        query.until = range.3.map(Timestamp::from_micros);
        query.text = text;
        query.name = pattern.map(|pattern| NamePattern::new(pattern).unwrap());
        query
    })
}

/// Feeds both indexes; batches end where a session changes.
pub(crate) struct Feeder<'a> {
    pub(crate) indexes: [&'a dyn ArtifactIndex; 2],
    pub(crate) texts: Texts,
    /// For each session the next sequence, and the records that wait.
    pub(crate) sessions: BTreeMap<&'static str, (u64, Vec<Committed<SessionEvent>>)>,
}

impl Feeder<'_> {
    pub(crate) fn push(&mut self, session: &'static str, kind: &str, data: &Value) {
        let (seq, waiting) = self.sessions.entry(session).or_insert_with(|| {
            let first = created(&session.parse().unwrap(), &format!("prod {session}"));
            (1, vec![record(1, "session.created", &first)])
        });
        *seq += 1;
        waiting.push(record(*seq, kind, data));
    }

    pub(crate) fn flush(&mut self, session: &'static str) {
        let id: SessionId = session.parse().unwrap();
        if let Some((_, waiting)) = self.sessions.get_mut(session) {
            let batch = batch(&id, std::mem::take(waiting));
            for index in self.indexes {
                let batch = std::slice::from_ref(&batch);
                index.apply(batch, &self.texts).unwrap();
                // What was taken already changes nothing.
                index.apply(batch, &self.texts).unwrap();
            }
        }
    }

    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Added { session, artifact } => self.push(session, "artifact.added", &artifact),
            Step::Changed {
                session,
                id,
                status,
                tags,
            } => {
                let mut change = json!({
                    "artifact_id": id, "session_id": session, "collection_id": "c", "upgrade_id": "u1", "name": "n",
                    "artifact_type": "log_file", "from": "created", "status": status
                });
                if let Some(tags) = tags {
                    change["tags"] = json!(tags);
                }
                let kind = match status {
                    ArtifactStatus::Created => "artifact.tagged",
                    ArtifactStatus::Uploaded => "artifact.uploaded",
                    ArtifactStatus::Archived => "artifact.archived",
                    ArtifactStatus::Failed => "artifact.failed",
                    ArtifactStatus::Deleted => "artifact.deleted",
                };
                self.push(session, kind, &change);
            }
            Step::Forgotten(session) => {
                self.flush(session);
                self.sessions.remove(session);
                let id = session.parse().unwrap();
                for index in self.indexes {
                    index.forget(&id).unwrap();
                }
            }
        }
    }
}

/// All pages of a query, one after the other.
pub(crate) fn pages(index: &dyn ArtifactIndex, query: &ArtifactQuery) -> Vec<Matches> {
    let mut query = query.clone();
    let mut pages = Vec::new();
    loop {
        let page = index.query(&query).unwrap();
        assert_eq!(page.more, page.next.is_some());
        let next = page.next.clone();
        pages.push(page);
        match next {
            Some(next) => query.after = Some(next.to_string().parse().unwrap()),
            None => return pages,
        }
    }
}

fn found_alike(
    memory: &MemoryIndex,
    sqlite: &dyn ArtifactIndex,
    query: &ArtifactQuery,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(pages(memory, query), pages(sqlite, query), "{:?}", query);
    prop_assert_eq!(
        memory.statistics(query).unwrap(),
        sqlite.statistics(query).unwrap(),
        "{:?}",
        query
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_indexes_answer_alike(
        steps in proptest::collection::vec((step(), proptest::bool::ANY), 0..40),
        texts in proptest::collection::vec(text(12), IDS.len()),
        queries in proptest::collection::vec(query(), 12),
    ) {
        let (memory, (_dir, sqlite)) = (MemoryIndex::new(), index());
        let texts = IDS.iter().zip(texts).filter(|(id, _)| **id != "f");
        let texts = Texts(texts.map(|(id, text)| ((*id).to_owned(), text)).collect());
        let mut feeder = Feeder { indexes: [&memory, &sqlite], texts, sessions: BTreeMap::new() };
        let mut deleted = BTreeSet::new();
        for (step, flushed) in steps {
            match &step {
                Step::Changed { session, id, status: ArtifactStatus::Deleted, .. } => {
                    deleted.insert((*session, *id));
                }
                Step::Forgotten(session) => deleted.retain(|(of, _)| of != session),
                Step::Added { .. } | Step::Changed { .. } => {}
            }
            let session = match &step {
                Step::Added { session, .. } | Step::Changed { session, .. } | Step::Forgotten(session) => *session,
            };
            feeder.step(step);
            if flushed {
                feeder.flush(session);
            }
        }
        SESSIONS.into_iter().for_each(|session| feeder.flush(session));
        prop_assert_eq!(memory.sessions().unwrap(), sqlite.sessions().unwrap());
        for id in IDS {
            let id = id.parse().unwrap();
            prop_assert_eq!(memory.artifact(&id).unwrap(), sqlite.artifact(&id).unwrap());
        }
        for (session, id) in deleted {
            // Whatever came first, and whatever came after.
            let alive = ArtifactQuery::new().in_session(session.parse().unwrap()).with_limit(100);
            for index in [&memory as &dyn ArtifactIndex, &sqlite] {
                let alive = index.query(&alive).unwrap().artifacts;
                prop_assert!(alive.iter().all(|one| one.artifact_id.as_str() != id), "{session} {id}");
            }
        }
        for query in &queries {
            found_alike(&memory, &sqlite, query)?;
        }
    }
}

/// More where more was asked for.
#[expect(
    clippy::disallowed_methods,
    reason = "the task that runs long tests says so in the environment"
)]
fn cases() -> u32 {
    if std::env::var_os("EKSTRACK_FAULTS_LONG").is_some() {
        1_000
    } else {
        60
    }
}
