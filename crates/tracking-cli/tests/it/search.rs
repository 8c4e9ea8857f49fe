//! `search` and `stats`: what they find, how they show it, and what they say of what they cannot read.

use std::fs;

use crate::ekstrack::{Ekstrack, check};

/// A session with a few artifacts, some of them logs with texts.
fn filled() -> Ekstrack {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["session", "create", "prod", "--cluster", "prod-eu", "--id", "s"]);
    ekstrack.ok(&["collection", "create", "s", "Logs", "--id", "logs"]);
    let kubelet = "05:25:01 kubelet started\n05:25:02 node ip-10-0-1-7 is not ready: disk pressure\n05:25:09 node is ready\n";
    for (name, text, rest) in [
        (
            "kubelet.log",
            kubelet,
            &[
                "--tag",
                "node",
                "--tag",
                "zone-a",
                "--description",
                "kubelet of ip-10-0-1-7",
            ][..],
        ),
        ("proxy.log", "05:25:03 proxy ready\n", &["--tag", "node"]),
        ("ready.yaml", "replicas: 3\n", &["--tag", "traffic"]),
        ("shot.png", "\u{89}PNG ready", &[]),
    ] {
        fs::write(ekstrack.home().join(name), text).unwrap();
        ekstrack.ok(&[&["artifact", "add", "s", "logs", name], rest].concat());
    }
    ekstrack
}

#[test]
fn words_are_found_and_shown() {
    let ekstrack = filled();
    let stats = ekstrack.json(&["stats"]);
    let day = stats["by_day"][0]["day"].as_str().unwrap();
    check(
        "search",
        &ekstrack
            .transcript(&[
                &["search", "ready"],
                &["search", "ready", "--sort", "rank"],
                &["search", "\"not ready\" kube*"],
                &["search", "--", "-ready"],
                &["search", "ready", "--not-tag", "node"],
                &[
                    "search",
                    "--any-tag",
                    "traffic",
                    "--any-tag",
                    "zone-a",
                    "--sort",
                    "name",
                ],
                &["search", "absent"],
                &["stats"],
                &["stats", "--tag", "node"],
            ])
            .replace(&format!("\n{day} "), "\n<day>      "),
    );
}

#[test]
fn scripts_get_snippets_and_cursors() {
    let ekstrack = filled();
    let page = ekstrack.json(&["search", "ready", "--limit", "1"]);
    assert_eq!(page["artifacts"][0]["name"], "ready.yaml");
    assert_eq!(page["snippets"], serde_json::json!([null]));
    let next = page["next"].as_str().unwrap();
    let page = ekstrack.json(&["search", "ready", "--limit", "1", "--after", next]);
    assert_eq!(page["artifacts"][0]["name"], "proxy.log");
    assert_eq!(page["snippets"][0]["text"], "05:25:03 proxy ready ");
    assert_eq!(page["snippets"][0]["marks"], serde_json::json!([[15, 20]]));
    let next = page["next"].as_str().unwrap();
    let page = ekstrack.json(&["search", "ready", "--limit", "1", "--after", next]);
    assert_eq!(
        (&page["artifacts"][0]["name"], &page["next"]),
        (&"kubelet.log".into(), &serde_json::Value::Null)
    );
    let stats = ekstrack.json(&["stats"]);
    assert_eq!(stats["artifacts"], 4);
    assert_eq!(stats["by_type"]["log_file"]["artifacts"], 2);
    assert_eq!(stats["by_day"][0]["total_artifacts"], 4);
    assert_eq!(stats["largest"][0]["name"], "kubelet.log");
}

#[test]
fn queries_that_cannot_be_read() {
    let ekstrack = filled();
    check(
        "search-refused",
        &ekstrack.transcript(&[
            &["search", "node \"not ready"],
            &["search", "größe", "&&", "x"],
            &["search", "a*b"],
            &["--json", "search", "node \"not ready"],
            &["search", "--name", "[a"],
            &["search", "--name", "kube{let"],
            &["search", "--after", "somewhere"],
            &["search", "--sort", "size", "--after", "newest~1~a~s"],
            &["search", "--session", "unknown"],
            &["search", "--limit", "0"],
            &["stats", "\""],
        ]),
    );
}

#[test]
fn a_deleted_index_comes_back() {
    let ekstrack = filled();
    ekstrack.ok(&["search", "ready"]);
    let index = ekstrack.data().join("index.sqlite");
    fs::remove_file(&index).unwrap();
    assert_eq!(
        ekstrack.json(&["search", "ready"])["artifacts"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    fs::write(&index, "nonsense").unwrap();
    assert_eq!(
        ekstrack.json(&["search", "ready"])["artifacts"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn a_search_that_cannot_use_the_index_says_so_once() {
    let ekstrack = filled();
    let index = ekstrack.data().join("index.sqlite");
    fs::remove_file(&index).unwrap();
    fs::create_dir(&index).unwrap();
    for (args, said) in [(&["search", "ready"][..], "kubelet"), (&["stats"], "artifacts,")] {
        let output = ekstrack.output(args);
        assert!(output.status.success(), "{output:?}");
        assert!(
            String::from_utf8_lossy(&output.stdout).contains(said),
            "{output:?}"
        );
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(
            told.starts_with("ekstrack: warning: the search index cannot be used, which is slower: "),
            "{told}"
        );
    }
    fs::remove_dir(&index).unwrap();
    assert!(ekstrack.output(&["search", "ready"]).stderr.is_empty());
}

#[test]
fn how_much_of_a_text_is_searched_can_be_set() {
    let ekstrack = Ekstrack::new();
    let config = ekstrack.home().join("ekstrack.toml");
    fs::write(&config, "text_bytes = 16\n").unwrap();
    ekstrack.ok(&["session", "create", "up", "--cluster", "k", "--id", "s"]);
    ekstrack.ok(&["collection", "create", "s", "Logs", "--id", "c"]);
    fs::write(ekstrack.home().join("a.log"), "kubelet started\nproxy ready\n").unwrap();
    ekstrack.ok(&["artifact", "add", "s", "c", "a.log"]);
    let found = |word: &str| {
        ekstrack.json(&["search", word])["artifacts"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!((found("started"), found("proxy")), (1, 0));
    assert_eq!(ekstrack.json(&["search", "proxy"])["texts_were_cut"], true);
    let told = ekstrack.ok(&["search", "proxy"]);
    assert!(told.starts_with("nothing found; only the beginning"), "{told}");
    fs::write(&config, "").unwrap();
    fs::remove_file(ekstrack.data().join("index.sqlite")).unwrap();
    assert_eq!((found("started"), found("proxy")), (1, 1));
    assert_eq!(ekstrack.ok(&["search", "absent"]), "nothing found\n");
    fs::write(&config, "text_bytes = 1048577\n").unwrap();
    assert_eq!(ekstrack.output(&["stats"]).status.code(), Some(2));
}

/// Logs as programs write them, and words as people type them.
#[test]
fn what_people_type_is_found() {
    let ekstrack = Ekstrack::new();
    ekstrack.ok(&["session", "create", "up", "--cluster", "k", "--id", "s"]);
    ekstrack.ok(&["collection", "create", "s", "Logs", "--id", "c"]);
    let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let logs: [(&str, Vec<u8>); 6] = [
        ("colours.log", b"\x1b[31mFATAL\x1b[0m: etcd\n".to_vec()),
        ("lines.json", br#"{"message": "first\nSECOND\tTHIRD"}"#.to_vec()),
        (
            "times.log",
            b"2026-11-30T20:01:02.345Z kubelet started\n".to_vec(),
        ),
        ("cafe\u{301}.log", "gro\u{308}ße 日本語のログ\n".into()),
        ("windows.log", utf16("\u{feff}Dienst läuft\r\n")),
        ("latin.log", b"the service f\xfcr nodes is here\n".to_vec()),
    ];
    for (name, bytes) in logs {
        fs::write(ekstrack.home().join(name), bytes).unwrap();
        ekstrack.ok(&["artifact", "add", "s", "c", name]);
    }
    let found = |args: &[&str]| -> Vec<String> {
        let document = ekstrack.json(&[&["search"], args].concat());
        let artifacts = document["artifacts"].as_array().unwrap();
        artifacts
            .iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    for (words, name) in [
        ("fatal", "colours.log"),
        ("second third", "lines.json"),
        ("2026-11-30", "times.log"),
        ("20:01:02", "times.log"),
        ("2026-11-30T20:01", "times.log"),
        ("kubelet AND started", "times.log"),
        ("größe", "cafe\u{301}.log"),
        ("日本", "cafe\u{301}.log"),
        ("ログ", "cafe\u{301}.log"),
        ("läuft", "windows.log"),
        ("für", "latin.log"),
    ] {
        assert_eq!(found(&[words]), [name], "{words}");
    }
    assert_eq!(found(&["--name", "caf\u{e9}"]), ["cafe\u{301}.log"]);
    assert_eq!(
        found(&["--since", "2026-11-30", "--max-size", "1KiB", "kubelet"]),
        ["times.log"]
    );
    assert_eq!(found(&["--since", "1w", "kubelet"]), ["times.log"]);
    assert_eq!(found(&["--until", "2026-11-30", "kubelet"]), [""; 0]);
    let refused = ekstrack.output(&["search", "kubelet OR etcd"]);
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("OR is not supported"), "{told}");
}
