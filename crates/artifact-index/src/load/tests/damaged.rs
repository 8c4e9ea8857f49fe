//! What somebody tampered with, or a disk lost, is told or harmless.

use super::*;

/// Seven segments, so that one more load merges them.
fn nearly_full(page_bytes: usize) -> Pair {
    let pair = Pair::new(page_bytes);
    for load in 0..7 {
        let words = |row: i64| format!("common x{row} a ab abc {}", "abd ".repeat(50));
        pair.load(&(0..4).map(|row| (row - 4 * load, words(row))).collect(), 3, &[]);
    }
    pair
}

/// Loads one more row; what that leads to is not kept.
fn load_one(pair: &Pair) -> Result<(), Cause> {
    let mut connection = pair.connect();
    let transaction = connection.transaction()?;
    let mut loader = Loader::new(&transaction)?;
    let mut sorter = Sorter::default();
    loader.count(-1000, sorter.add(-1000, "common abc"))?;
    loader.add(std::mem::take(&mut sorter))?;
    loader.finish()
}

#[test]
fn a_damaged_list_of_segments_is_told() {
    let pair = Pair::new(PAGE_BYTES);
    pair.load(&BTreeMap::from([(1, "common".to_owned())]), 1, &[]);
    let connection = pair.connect();
    let record: Vec<u8> = connection
        .query_row("SELECT block FROM words_data WHERE id = 10", [], |row| row.get(0))
        .unwrap();
    for length in 0..record.len() {
        connection
            .execute(
                "UPDATE words_data SET block = ?1 WHERE id = 10",
                [&record[..length]],
            )
            .unwrap();
        assert!(Structure::read(&connection).unwrap_err().is_ruined(), "{length}");
    }
}

#[test]
fn a_page_that_is_missing_is_told() {
    let pair = nearly_full(SMALL);
    load_one(&pair).unwrap();
    let second = "DELETE FROM words_data WHERE id = (1 << 37) + 2";
    assert_eq!(pair.connect().execute(second, []).unwrap(), 1);
    assert!(load_one(&pair).unwrap_err().is_ruined());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Merging what somebody tampered with ends, with an error that has the index built anew, or with what was made of it.
    #[test]
    fn damaged_pages_are_harmless(
        page in any::<proptest::sample::Index>(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        page_bytes in select(&[SMALL, PAGE_BYTES][..]),
    ) {
        let pair = nearly_full(page_bytes);
        let connection = pair.connect();
        let ids: Vec<i64> = connection
            .prepare("SELECT id FROM words_data ORDER BY id")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let id = page.get(&ids);
        let mut bytes: Vec<u8> = connection
            .query_row("SELECT block FROM words_data WHERE id = ?1", [id], |row| row.get(0))
            .unwrap();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        connection.execute("UPDATE words_data SET block = ?1 WHERE id = ?2", params![bytes, id]).unwrap();
        if let Err(cause) = load_one(&pair) {
            prop_assert!(cause.is_ruined(), "{cause:?}");
        }
    }
}

#[test]
fn what_stands_where_a_segment_is_to_be_is_told() {
    for (table, left) in [
        (
            "data",
            "INSERT INTO words_data (id, block) VALUES ((8 << 37) + 1, x'00')",
        ),
        (
            "idx",
            "INSERT INTO words_idx (segid, term, pgno) VALUES (8, x'', 2)",
        ),
        (
            "docsize",
            "INSERT INTO words_docsize (id, sz, origin) VALUES (-1000, x'01', 1)",
        ),
        ("structure", "DELETE FROM words_data WHERE id = 10"),
        ("averages", "UPDATE words_data SET block = NULL WHERE id = 1"),
    ] {
        let pair = nearly_full(PAGE_BYTES);
        pair.connect().execute_batch(left).unwrap();
        assert!(load_one(&pair).unwrap_err().is_ruined(), "{table}");
    }
}

/// A segment of its own as it is not to be: its pages are replaced, with header and list of terms.
#[test]
fn terms_and_rows_that_are_out_of_order_are_told() {
    for (wrong, body, terms) in [
        (
            "a term twice",
            &b"\x020b\x01\x02\x02\x02\x00\x01\x02\x02"[..],
            &[4, 6][..],
        ),
        (
            "terms that go down",
            b"\x020b\x01\x02\x02\x01\x01a\x01\x02\x02",
            &[4, 6],
        ),
        ("a term without rows", b"\x020b\x01\x01c\x01\x02\x02", &[4, 3]),
        ("rows that go down", b"\x020b\x01\x02\x02\x00\x02\x02", &[4]),
    ] {
        let pair = nearly_full(PAGE_BYTES);
        let end = u8::try_from(4 + body.len()).unwrap();
        let page = [&[0, 0, 0, end], body, terms].concat();
        pair.connect()
            .execute(
                "UPDATE words_data SET block = ?1 WHERE id = (3 << 37) + 1",
                [page],
            )
            .unwrap();
        let loaded = load_one(&pair);
        assert!(loaded.is_err_and(|cause| cause.is_ruined()), "{wrong}");
    }
}

/// No number ends in them: they would all be of one page.
#[test]
fn places_that_do_not_end_are_told() {
    let pair = nearly_full(PAGE_BYTES);
    let connection = pair.connect();
    let pages: u8 = 20;
    let put = |number: u8, page: Vec<u8>| {
        connection
            .execute(
                "REPLACE INTO words_data (id, block) VALUES ((3 << 37) + ?1, ?2)",
                params![number, page],
            )
            .unwrap();
    };
    let mut body = b"\x020a\x01".to_vec();
    varint::put(&mut body, 2 * 4000 * u64::from(pages - 1));
    let end = u8::try_from(4 + body.len()).unwrap();
    put(1, [&[0, 0, 0, end], body.as_slice(), &[4]].concat());
    for number in 2..=pages {
        let end = 4004_u16.to_be_bytes();
        put(
            number,
            [&[0, 0, end[0], end[1]], [0x81; 4000].as_slice()].concat(),
        );
    }
    let mut structure = Structure::read(&connection).unwrap();
    structure.set_pages(3, pages.into());
    structure.write(&connection).unwrap();
    assert!(load_one(&pair).unwrap_err().is_ruined());
}
