//! What is loaded is what FTS5 would have made of the same rows, whatever FTS5 does before, between and after.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use artifact_core::ArtifactTexts;
use proptest::prelude::*;
use proptest::sample::select;
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tracking_model::Artifact;

use super::*;
use crate::ahead::Parts;
use crate::schema;

mod damaged;

/// Pages that even short lists fill.
const SMALL: usize = 64;

/// Two full-text indexes, of which the one is never loaded.
struct Pair {
    _dir: TempDir,
    loaded: PathBuf,
    usual: Connection,
    page_bytes: usize,
}

fn create(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(&format!("PRAGMA journal_mode = WAL; {}", schema::TABLES))
        .unwrap();
    connection
}

fn add_usually(at: &Connection, rows: &BTreeMap<i64, String>) {
    for (row, words) in rows {
        at.execute(
            "INSERT INTO words (rowid, list) VALUES (?1, ?2)",
            params![row, words],
        )
        .unwrap();
    }
}

fn delete(at: &Connection, rows: &[i64]) {
    for row in rows {
        at.execute("DELETE FROM words WHERE rowid = ?1", [row]).unwrap();
    }
}

/// A place of a word.
type Place = (String, i64, i64);

fn places(at: &Connection) -> Vec<Place> {
    at.execute_batch("INSERT INTO words(words) VALUES ('integrity-check')")
        .unwrap();
    at.prepare("SELECT term, doc, offset FROM vocabulary ORDER BY term, doc, offset")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn rows_of(at: &Connection, word: &str, low: i64, high: i64, order: &str) -> Vec<i64> {
    let sql = format!(
        "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid {order}"
    );
    at.prepare(&sql)
        .unwrap()
        .query_map(params![word, low, high], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

impl Pair {
    fn new(page_bytes: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let loaded = dir.path().join("loaded.sqlite");
        create(&loaded);
        Self {
            usual: create(&dir.path().join("usual.sqlite")),
            loaded,
            _dir: dir,
            page_bytes,
        }
    }

    fn connect(&self) -> Connection {
        Connection::open(&self.loaded).unwrap()
    }

    /// Loads rows, some at a time sorted; `deleted` before in the same transaction.
    fn load(&self, rows: &BTreeMap<i64, String>, at_once: usize, deleted: &[i64]) {
        let mut connection = self.connect();
        let transaction = connection.transaction().unwrap();
        delete(&transaction, deleted);
        let mut loader = Loader::new(&transaction).unwrap();
        loader.page_bytes = self.page_bytes;
        let mut sorter = Sorter::default();
        for (number, (row, words)) in rows.iter().enumerate() {
            let count = sorter.add(*row, words);
            loader.count(*row, count).unwrap();
            if number % at_once == at_once - 1 {
                loader.add(std::mem::take(&mut sorter)).unwrap();
            }
        }
        if let Some(rest) = sorter.rest() {
            loader.add(rest).unwrap();
        }
        loader.finish().unwrap();
        transaction.commit().unwrap();
        delete(&self.usual, deleted);
        add_usually(&self.usual, rows);
    }

    fn both(&self, work: impl Fn(&Connection)) {
        work(&self.connect());
        work(&self.usual);
    }

    fn assert_equal(&self) {
        let loaded = self.connect();
        let (found, expected) = (places(&loaded), places(&self.usual));
        let different = found.iter().zip(&expected).find(|(one, other)| one != other);
        assert_eq!(different, None);
        assert_eq!(found.len(), expected.len());
        for word in ["common", "x1"] {
            for order in ["", "DESC"] {
                for (low, high) in [(i64::MIN, i64::MAX), (-40, 40), (3, 3)] {
                    assert_eq!(
                        rows_of(&loaded, word, low, high, order),
                        rows_of(&self.usual, word, low, high, order)
                    );
                }
            }
        }
        let counts = |at: &Connection| -> (Vec<u8>, String) {
            let averages = at.query_row("SELECT block FROM words_data WHERE id = 1", [], |row| row.get(0));
            let sizes = "SELECT coalesce(group_concat(id || ' ' || hex(sz)), '') FROM words_docsize";
            (
                averages.unwrap(),
                at.query_row(sizes, [], |row| row.get(0)).unwrap(),
            )
        };
        assert_eq!(counts(&loaded), counts(&self.usual));
    }

    fn segments(&self) -> Vec<usize> {
        Structure::read(&self.connect()).unwrap().sizes()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Loaded {
        rows: BTreeMap<i64, String>,
        at_once: usize,
        deleted: Vec<i64>,
    },
    Added(BTreeMap<i64, String>),
    Deleted(Vec<i64>),
    Merged,
    Optimized,
}

fn words() -> impl Strategy<Value = String> {
    let word = select(
        &[
            "common", "common", "x1", "x2", ".sff", "größe", "日本", "a", "ab", "abc", "abd", "0",
        ][..],
    );
    let rare = (0..200_u32).prop_map(|number| format!("r{number}"));
    let words = proptest::collection::vec(prop_oneof![word.prop_map(str::to_owned), rare], 0..30);
    (words, prop_oneof![9 => Just(1_usize), 1 => Just(40)])
        .prop_map(|(words, times)| vec![words.join(" "); times].join("  "))
}

fn rows() -> impl Strategy<Value = BTreeMap<i64, String>> {
    let row = prop_oneof![
        -200..200_i64,
        select(&[i64::MIN, -1_735_000_000_000_000, i64::MAX][..])
    ];
    proptest::collection::btree_map(row, words(), 0..40)
}

fn step() -> impl Strategy<Value = Step> {
    let some = || proptest::collection::vec(-200..200_i64, 0..5);
    prop_oneof![
        8 => (rows(), 1..20_usize, some()).prop_map(|(rows, at_once, deleted)| Step::Loaded { rows, at_once, deleted }),
        2 => rows().prop_map(Step::Added),
        1 => some().prop_map(Step::Deleted),
        1 => Just(Step::Merged),
        1 => Just(Step::Optimized),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_found_alike(
        steps in proptest::collection::vec(step(), 1..25),
        page_bytes in select(&[SMALL, 200, PAGE_BYTES][..]),
    ) {
        let pair = Pair::new(page_bytes);
        let mut there: Vec<i64> = Vec::new();
        // A row that is there is not added again: the index takes it away before.
        let fresh = |rows: BTreeMap<i64, String>, there: &mut Vec<i64>| -> BTreeMap<i64, String> {
            let rows: BTreeMap<_, _> = rows.into_iter().filter(|(row, _)| !there.contains(row)).collect();
            there.extend(rows.keys());
            rows
        };
        for step in steps {
            match step {
                Step::Loaded { rows, at_once, deleted } => {
                    there.retain(|row| !deleted.contains(row));
                    pair.load(&fresh(rows, &mut there), at_once, &deleted);
                }
                Step::Added(rows) => {
                    let rows = fresh(rows, &mut there);
                    pair.both(|at| add_usually(at, &rows));
                }
                Step::Deleted(rows) => {
                    there.retain(|row| !rows.contains(row));
                    pair.both(|at| delete(at, &rows));
                }
                Step::Merged => pair.both(|at| at.execute_batch("INSERT INTO words(words, rank) VALUES ('merge', 5)").unwrap()),
                Step::Optimized => pair.both(|at| at.execute_batch("INSERT INTO words(words) VALUES ('optimize')").unwrap()),
            }
        }
        pair.assert_equal();
        pair.both(|at| at.execute_batch("INSERT INTO words(words) VALUES ('optimize')").unwrap());
        pair.assert_equal();
    }
}

/// A list of so many pages that the index of them has three heights, and rows that go over several.
#[test]
fn long_lists_can_be_skipped_through() {
    let pair = Pair::new(SMALL);
    let rows = |from: i64| -> BTreeMap<i64, String> {
        (from..from + 6000)
            .map(|row| {
                let times = if row % 500 == 0 {
                    400
                } else {
                    1 + row.unsigned_abs() as usize % 3
                };
                (row, vec!["common"; times].join(" "))
            })
            .collect()
    };
    pair.load(&rows(-6000), 700, &[]);
    pair.assert_equal();
    pair.load(&rows(0), 6000, &[]);
    pair.assert_equal();
    for row in [-5999, -2001, -1, 0, 777, 5999] {
        let loaded = pair.connect();
        assert_eq!(rows_of(&loaded, "common", row, row, ""), [row]);
        assert_eq!(rows_of(&loaded, "common", row, i64::MAX, "LIMIT 1"), [row]);
        assert_eq!(rows_of(&loaded, "common", i64::MIN, row, "DESC LIMIT 1"), [row]);
    }
}

#[test]
fn full_levels_are_merged() {
    let pair = Pair::new(PAGE_BYTES);
    let mut seen = Vec::new();
    for load in 0..65 {
        let rows = (0..5)
            .map(|row| (row - 5 * load, format!("common x{load}")))
            .collect();
        pair.load(&rows, 2, &[]);
        seen.push(pair.segments());
    }
    assert_eq!(seen[0], [1]);
    assert_eq!(seen[6], [7]);
    assert_eq!(seen[7], [0, 1]);
    assert_eq!(seen[62], [7, 7]);
    assert_eq!(seen[63], [0, 0, 1]);
    assert_eq!(seen[64], [1, 0, 1]);
    pair.assert_equal();
}

#[test]
fn what_has_tombstones_is_left_to_fts5() {
    let pair = Pair::new(PAGE_BYTES);
    for load in 0..10 {
        let rows = (0..5).map(|row| (row - 5 * load, "common".to_owned())).collect();
        pair.load(&rows, 5, if load == 3 { &[-4] } else { &[] });
    }
    // Seven are there before the eighth, and one of them is not to be merged but by FTS5.
    assert_eq!(pair.segments(), [3, 1]);
    pair.assert_equal();
}

#[test]
fn nothing_stays_of_a_load_that_is_not_committed() {
    let pair = Pair::new(PAGE_BYTES);
    let one = BTreeMap::from([(1, "common".to_owned())]);
    pair.load(&one, 1, &[]);
    let mut connection = pair.connect();
    let transaction = connection.transaction().unwrap();
    let mut loader = Loader::new(&transaction).unwrap();
    let mut sorter = Sorter::default();
    loader.count(0, sorter.add(0, "common")).unwrap();
    loader.add(std::mem::take(&mut sorter)).unwrap();
    loader.finish().unwrap();
    drop(transaction);
    pair.assert_equal();
}

/// What FTS5 merges little by little goes on while nothing but loads comes, and what was deleted from does not stay in the way.
#[test]
fn levels_that_only_fts5_may_merge_do_not_grow_without_end() {
    for deletes in [false, true] {
        let pair = Pair::new(PAGE_BYTES);
        let rows = |load: i64| -> BTreeMap<i64, String> {
            let words = |row: i64| (0..40).map(|word| format!("w{}x{word} ", row + 9000)).collect();
            (0..50)
                .map(|row| (row - 50 * load, words(row - 50 * load)))
                .collect()
        };
        for load in 0..5 {
            pair.load(&rows(load), 50, &[]);
        }
        if deletes {
            pair.load(&BTreeMap::new(), 1, &[3]);
        } else {
            pair.both(|at| {
                at.execute_batch("INSERT INTO words(words, rank) VALUES ('merge', 1)")
                    .unwrap();
            });
            let structure = Structure::read(&pair.connect()).unwrap();
            assert!(structure.is_merging());
        }
        for load in 5..70 {
            pair.load(&rows(load), 50, &[]);
        }
        let segments = pair.segments();
        assert!(segments.iter().all(|count| *count <= 8), "{segments:?}");
        pair.assert_equal();
    }
}

/// Gives every artifact the same text.
#[derive(Debug)]
struct Text(String);

impl ArtifactTexts for Text {
    fn text(&self, _: &Artifact) -> Option<String> {
        Some(self.0.clone())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Words are told apart by spaces here, and by its tokeniser in FTS5.
    #[test]
    fn any_artifact_has_the_same_words(
        name in any::<String>(),
        tag in any::<String>(),
        text in prop_oneof![any::<String>(), "[ a-zA-Z.\u{0}-\u{2f}\u{7f}-\u{a0}İẞK\u{2028}\u{E000}-\u{E080}]{0,60}"],
    ) {
        let artifact = serde_json::json!({
            "artifact_id": "a", "session_id": "s", "collection_id": "c", "upgrade_id": "u", "name": name,
            "description": text, "tags": [tag], "artifact_type": "log_file", "status": "created",
            "created_at": "2025-01-31T05:25:01Z"
        });
        let Ok(artifact) = serde_json::from_value::<Artifact>(artifact) else {
            return Err(TestCaseError::reject("no such artifact"));
        };
        let words = Parts::of(&artifact, &Text(text)).unwrap().words;
        let pair = Pair::new(PAGE_BYTES);
        pair.load(&BTreeMap::from([(-1, words)]), 1, &[]);
        pair.assert_equal();
    }
}
