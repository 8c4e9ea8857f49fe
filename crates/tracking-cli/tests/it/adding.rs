//! What cannot be added, and names that are no text.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tracking_model::percent_decode;

use crate::ekstrack::{Ekstrack, held_back};

/// With the session `s` and its collection `c`.
fn prepared() -> Ekstrack {
    let ekstrack = Ekstrack::new();
    ekstrack.ok(&["session", "create", "up", "--cluster", "k", "--id", "s"]);
    ekstrack.ok(&["collection", "create", "s", "Logs", "--id", "c"]);
    ekstrack
}

fn write(ekstrack: &Ekstrack, path: impl AsRef<Path>) {
    let path = ekstrack.home().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "bytes").unwrap();
}

fn forbid(ekstrack: &Ekstrack, path: &str, mode: u32) {
    fs::set_permissions(ekstrack.home().join(path), fs::Permissions::from_mode(mode)).unwrap();
}

fn odd(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// The names of what was kept and the paths of what was not.
fn added(output: &Output) -> (Vec<String>, Vec<String>) {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let texts = |list: &str, field: &str| {
        let list = document[list].as_array().cloned().unwrap_or_default();
        let text = |one: &Value| one[field].as_str().unwrap().to_owned();
        list.iter().map(text).collect::<Vec<_>>()
    };
    (texts("artifacts", "name"), texts("failed", "path"))
}

#[test]
fn each_failure_of_a_batch_is_told_and_the_rest_is_kept() {
    let ekstrack = prepared();
    for path in ["secret", "dd/a.log", "dd/in/hidden.log", "dd/z/b.log"] {
        write(&ekstrack, path);
    }
    forbid(&ekstrack, "secret", 0o000);
    forbid(&ekstrack, "dd/in", 0o000);
    let add = [
        "--json",
        "artifact",
        "add",
        "s",
        "c",
        "secret",
        "dd",
        "none*",
        "dd/**/*.log",
    ];
    let output = ekstrack.output_by(held_back(), &add);
    forbid(&ekstrack, "dd/in", 0o700);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let (kept, failed) = added(&output);
    assert_eq!(kept, ["a.log", "b.log", "a.log", "b.log"]);
    assert_eq!(failed, ["secret", "dd/in", "none*", "dd/in"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("4 of 8 files were not added; the other 4 are kept"),
        "{told}"
    );
}

#[test]
fn a_collection_that_is_not_there_is_told_once() {
    let ekstrack = prepared();
    write(&ekstrack, "a.log");
    write(&ekstrack, "b.log");
    let output = ekstrack.output(&["artifact", "add", "s", "none", "a.log", "b.log"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.matches("has no collection none").count(), 1, "{told}");
    assert!(told.contains("ekstrack session show s"), "{told}");
}

#[test]
fn what_lies_too_deep_is_told_and_the_rest_is_kept() {
    let ekstrack = prepared();
    write(&ekstrack, "dd/a.log");
    let script = "cd dd && n=$(printf %0200d 0) && for i in $(seq 25); do mkdir $n && cd $n || exit 1; done";
    let made = Command::new("bash")
        .args(["-c", script])
        .current_dir(ekstrack.home())
        .status()
        .unwrap();
    assert!(made.success());
    let output = ekstrack.output(&["--json", "artifact", "add", "s", "c", "dd"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let (kept, failed) = added(&output);
    assert_eq!((kept, failed.len()), (vec!["a.log".to_owned()], 1));
}

#[test]
fn a_run_keeps_what_it_can_reach() {
    let ekstrack = Ekstrack::started();
    for path in ["lo/a/1.xml", "lo/b/2.xml", "lo/in/3.xml"] {
        write(&ekstrack, path);
    }
    symlink("1.xml", ekstrack.home().join("lo/a/link.xml")).unwrap();
    forbid(&ekstrack, "lo/in", 0o000);
    let run = [
        "--json",
        "run",
        "prod",
        "t",
        "--artifact",
        "lo/**/*.xml",
        "--",
        "true",
    ];
    let output = ekstrack.output_by(held_back(), &run);
    forbid(&ekstrack, "lo/in", 0o700);
    assert!(output.status.success(), "{output:?}");
    let (kept, _) = added(&output);
    let kept: Vec<_> = kept.iter().filter(|name| name.ends_with(".xml")).collect();
    assert_eq!(kept, ["1.xml", "2.xml"]);
    let told = String::from_utf8_lossy(&output.stderr);
    for part in ["cannot list lo/in", "lo/a/link.xml is not kept"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn what_a_glob_matches_is_never_passed_over() {
    let ekstrack = prepared();
    write(&ekstrack, "g/a.log");
    symlink("a.log", ekstrack.home().join("g/l.log")).unwrap();
    let pipe = ekstrack.home().join("g/p.log");
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    write(&ekstrack, "g/d.log/passed-over");
    fs::create_dir(ekstrack.home().join("g/empty.log")).unwrap();
    let add = |args: &[&str]| ekstrack.output(&[&["--json", "artifact", "add", "s", "c"], args].concat());

    let output = add(&["g/*.log"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let refused = names(&["g/d.log", "g/l.log", "g/p.log"]);
    assert_eq!(added(&output), (names(&["a.log"]), refused));
    let output = add(&["--follow", "g/l*.log"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(added(&output), (names(&["l.log"]), names(&[])));
    for refused in ["g/l*.log", "g/l.log", "g/p.log"] {
        let output = add(&[refused]);
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    let told = add(&["g/l.log"]).stderr;
    assert!(
        String::from_utf8_lossy(&told).contains("--follow adds"),
        "{told:?}"
    );
    symlink("round.log", ekstrack.home().join("round.log")).unwrap();
    let output = add(&["--follow", "round.log"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}

/// Else each add of `.` would keep all that the ones before it kept.
#[test]
fn the_data_directory_is_left_out_where_it_is_come_across() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["session", "create", "prod", "--cluster", "k", "--id", "s"]);
    ekstrack.ok(&["collection", "create", "s", "Logs", "--id", "c"]);
    write(&ekstrack, "a.log");
    write(&ekstrack, "in/data/b.log");
    symlink("data", ekstrack.home().join("link")).unwrap();
    ekstrack.ok(&["artifact", "add", "s", "c", "a.log"]);
    let both = vec!["a.log".to_owned(), "b.log".to_owned()];
    for given in [".", "..", "**"] {
        let mut add = ekstrack.command(&["--json", "artifact", "add", "s", "c", given]);
        let output = add
            .current_dir(ekstrack.home().join(if given == ".." { "in" } else { "" }))
            .output()
            .unwrap();
        let (mut kept, _) = added(&output);
        kept.sort();
        assert_eq!(kept, both, "{given}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("it is the data directory"), "{given}: {told}");
    }
    let output = ekstrack.output(&["--json", "artifact", "add", "s", "c", "[a-d]*"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(added(&output).0, ["a.log"]);
    let run = [
        "--json",
        "run",
        "prod",
        "t",
        "--artifact",
        "**/*.log",
        "--",
        "true",
    ];
    let (kept, _) = added(&ekstrack.output(&run));
    assert_eq!(kept, ["stdout.log", "a.log", "b.log"]);
}

/// Else what is named of it would be kept in it once more, and twice by the next add.
#[test]
fn nothing_of_the_data_directory_is_added_to_it() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["session", "create", "prod", "--cluster", "k", "--id", "s"]);
    ekstrack.ok(&["collection", "create", "s", "Logs", "--id", "c"]);
    write(&ekstrack, "a.log");
    write(&ekstrack, "dd/b.log");
    ekstrack.ok(&["artifact", "add", "s", "c", "a.log"]);
    let link = |to: &str, name: &str| symlink(ekstrack.home().join(to), ekstrack.home().join(name)).unwrap();
    link("data", "link");
    link("data/artifacts/s/c/a.log", "dd/stored.log");
    link("dd/b.log", "b.log");
    let add = |given: &[&str], failed: &[&str], dir: &str| {
        let mut add =
            ekstrack.command(&[&["--json", "artifact", "add", "s", "c", "--follow"], given].concat());
        let output = add.current_dir(ekstrack.home().join(dir)).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{given:?}: {output:?}");
        let (kept, refused) = added(&output);
        assert_eq!(kept, ["b.log"], "{given:?}");
        assert_eq!(refused, failed, "{given:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            told.contains("leads into the data directory, which is not added to itself"),
            "{told}"
        );
    };
    for given in [
        "data",
        "./data/",
        "dd/../data/artifacts",
        "data/**/*",
        "data/artifacts/s/c/a*.log",
        "data/artifacts/s/c/a.log",
        "link",
        "link/artifacts/*/*/a.log",
        "dd/stored.log",
    ] {
        add(&[given, "b.log"], &[given], "");
    }
    add(&["dd"], &["dd/stored.log"], "");
    add(&["dd/*"], &["dd/stored.log"], "");
    add(&[".", "../../b.log"], &["."], "data/artifacts");
    add(&["**/*.log", "../b.log"], &["**/*.log"], "data");
    let output = ekstrack.output(&["artifact", "add", "s", "c", "link/artifacts/s/c/a.log"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let run = [
        "--json",
        "run",
        "prod",
        "t",
        "--artifact",
        "data/**/*.log",
        "--",
        "true",
    ];
    let output = ekstrack.output(&run);
    assert_eq!(added(&output).0, ["stdout.log"], "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("data/**/*.log is not kept"), "{told}");
}

/// Somebody may work in the data directory itself.
#[test]
fn what_others_put_into_the_data_directory_is_added() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["session", "create", "prod", "--cluster", "k", "--id", "s"]);
    ekstrack.ok(&["collection", "create", "s", "Logs", "--id", "c"]);
    write(&ekstrack, "data/report.log");
    write(&ekstrack, "data/logs/node.log");
    for (given, files) in [
        ("report.log", &["report.log"][..]),
        ("*.log", &["report.log"]),
        ("**/*.log", &["node.log", "report.log"]),
        (".", &["node.log", "report.log"]),
    ] {
        let mut add = ekstrack.command(&["--json", "--data-dir", ".", "artifact", "add", "s", "c", given]);
        let output = add.current_dir(ekstrack.home().join("data")).output().unwrap();
        assert!(output.status.success(), "{given}: {output:?}");
        assert_eq!(added(&output).0, files, "{given}");
    }
}

/// Runs `artifact add` with `bytes` on stdin.
fn add_stdin(ekstrack: &Ekstrack, args: &[&str]) -> Output {
    write(ekstrack, "stdin");
    let stdin = fs::File::open(ekstrack.home().join("stdin")).unwrap();
    let mut add = ekstrack.command(&[&["artifact", "add", "s", "c"], args].concat());
    add.stdin(stdin).output().unwrap()
}

#[test]
fn standard_input_has_a_limit_where_one_is_given() {
    let ekstrack = prepared();
    let output = add_stdin(&ekstrack, &["-", "--name", "in", "--max-bytes", "4"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("longer than the 4 bytes that are allowed"),
        "{told}"
    );
    assert!(told.contains("--max-bytes"), "{told}");
    let count = |ekstrack: &Ekstrack| ekstrack.json(&["stats"])["artifacts"].clone();
    assert_eq!(count(&ekstrack), 0);
    ekstrack.ok(&["verify"]);
    let output = add_stdin(&ekstrack, &["-", "--name", "in", "--max-bytes", "1k"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(count(&ekstrack), 1);
    let output = add_stdin(&ekstrack, &["stdin", "--max-bytes", "4"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("--max-bytes limits standard input"), "{told}");
    assert_eq!(count(&ekstrack), 1);
}

#[test]
fn names_that_are_no_text_are_in_documents_all_the_same() {
    let ekstrack = prepared();
    let name = odd(b"bad\xff\xfe.log");
    write(&ekstrack, name);
    write(&ekstrack, Path::new("dd").join(odd(b"sub\xff")).join("x.log"));
    let mut add = ekstrack.command(&["--json", "artifact", "add", "s", "c"]);
    let output = add.arg(odd(b"miss\xff")).arg(name).arg("dd").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["failed"][0]["path"], "miss\u{FFFD}");
    assert_eq!(document["failed"][0]["path_bytes"], "miss%FF");
    let metadata = &document["artifacts"][1]["metadata"];
    assert_eq!(metadata["relative_path_bytes"], "sub%FF%2Fx.log");
    let mut add = ekstrack.command(&["--json", "artifact", "add", "s", "c"]);
    let output = add.arg(odd(b"dd/sub\xff/*.log")).output().unwrap();
    assert_eq!(added(&output), (vec!["x.log".to_owned()], vec![]), "{output:?}");

    let id = document["artifacts"][0]["artifact_id"].as_str().unwrap();
    fs::create_dir(ekstrack.home().join("o2")).unwrap();
    let download = |dest: &[u8]| -> Value {
        let mut download = ekstrack.command(&["--json", "artifact", "download", id]);
        let output = download.arg(odd(dest)).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    for dest in [&b"o2"[..], b"dest\xff"] {
        let document = download(dest);
        let bytes = percent_decode(document["path_bytes"].as_str().unwrap()).unwrap();
        assert_eq!(fs::read(ekstrack.home().join(odd(&bytes))).unwrap(), b"bytes");
        assert!(document["path"].as_str().unwrap().contains('\u{FFFD}'));
    }
    assert_eq!(download(b"plain").get("path_bytes"), None);
    ekstrack.ok(&["artifact", "download", id, "text"]);
}

#[test]
fn files_to_import_may_have_any_name() {
    let ekstrack = Ekstrack::new();
    let dir = ekstrack.home().join("imp");
    fs::create_dir(&dir).unwrap();
    let upgrade = r#"{"upgrade_id":"old","plan_id":"p","cluster_name":"c","status":"completed","tasks":{}}"#;
    fs::write(dir.join(odd(b"upgrade_\xff.json")), upgrade).unwrap();
    let session = r#"{"session_id":"s1","name":"n","upgrade_id":"old","cluster_name":"c","collections":{},
        "started_at":"2025-01-31 05:25:00+00:00","completed_at":null,"base_directory":"/srv/base/s1"}"#;
    fs::write(dir.join(odd(b"session_\xff.json")), session).unwrap();
    fs::write(dir.join(odd(b"session_\xfe.json")), "{").unwrap();

    let output = ekstrack.output(&["--json", "import", "imp"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["upgrades"][0]["source_bytes"], "imp%2Fupgrade_%FF.json");
    assert_eq!(document["sessions"][0]["source"], "imp/session_\u{FFFD}.json");
    assert_eq!(document["sessions"][0]["source_bytes"], "imp%2Fsession_%FF.json");
    assert_eq!(document["skipped"][0]["source_bytes"], "imp%2Fsession_%FE.json");

    let mut import = ekstrack.command(&["--json", "import"]);
    let output = import.arg(odd(b"imp/session_\xff.json")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["skipped"][0]["source"], "session s1");
}

#[test]
fn a_broken_file_is_named_by_what_it_should_have_been() {
    let ekstrack = Ekstrack::new();
    for (name, kind) in [
        ("session_x.json", "a session of artifacts"),
        ("upgrade_x.json", "an upgrade's progress"),
    ] {
        fs::write(ekstrack.home().join(name), "{").unwrap();
        let output = ekstrack.output(&["--json", "import", name]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let reason = document["skipped"][0]["reason"].as_str().unwrap();
        assert!(
            reason.contains(&format!("not a file of {kind}: not JSON at line 1")),
            "{reason}"
        );
    }
}

#[test]
fn a_damaged_journal_below_a_directory_of_any_name_is_repaired() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["upgrade", "phase", "prod", "Nodes"]);
    let lines = fs::read_to_string(ekstrack.journal()).unwrap();
    fs::write(ekstrack.journal(), lines.replacen("plan-7", "plan-8", 1)).unwrap();
    let data = ekstrack.home().join(odd(b"data\xff"));
    fs::rename(ekstrack.data(), &data).unwrap();
    let mut repair = ekstrack.command(&["--json", "journal", "repair", "upgrade:prod", "--data-dir"]);
    let output = repair.arg(data).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let bytes = percent_decode(document["damaged_file_bytes"].as_str().unwrap()).unwrap();
    assert!(Path::new(odd(&bytes)).exists(), "{document}");
}

#[test]
fn names_cannot_steer_a_terminal() {
    let ekstrack = prepared();
    let name = "gpj\u{202E}\u{1b}c.exe";
    write(&ekstrack, name);
    let missing = "miss\u{1b}c\u{202E}";
    let output = ekstrack.output(&["artifact", "add", "s", "c", name, missing]);
    assert_eq!(output.status.code(), Some(3));
    for text in [
        &output.stdout,
        &output.stderr,
        &ekstrack.output(&["search", "--name", "gpj"]).stdout,
    ] {
        let text = String::from_utf8_lossy(text);
        assert!(text.contains('\u{FFFD}'), "{text:?}");
        assert!(!text.contains(['\u{202E}', '\u{1b}']), "{text:?}");
    }
}

#[test]
fn where_a_copy_is_cannot_steer_a_terminal() {
    let ekstrack = prepared();
    write(&ekstrack, "a\nb\u{1b}c.exe");
    let id = ekstrack.json(&["artifact", "add", "s", "c", "a\nb\u{1b}c.exe"])["artifact_id"].clone();
    fs::create_dir(ekstrack.home().join("out")).unwrap();
    let told = ekstrack.ok(&["artifact", "download", id.as_str().unwrap(), "out"]);
    assert_eq!(told, "out/a b\u{FFFD}c.exe\n");
    assert!(ekstrack.home().join("out/a\nb\u{1b}c.exe").exists());
}

#[test]
fn streams_of_the_shell_are_kept_as_standard_input_is() {
    let ekstrack = Ekstrack::started();
    ekstrack.ok(&["session", "create", "prod", "--cluster", "prod-eu", "--id", "s"]);
    ekstrack.ok(&["collection", "create", "s", "C", "--id", "c"]);
    let shell = |script: &str| {
        let plain = ekstrack.command(&[]);
        let output = std::process::Command::new("bash")
            .args(["-c", script, plain.get_program().to_str().unwrap()])
            .current_dir(ekstrack.home())
            .env_clear()
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), errors)
    };
    for script in [
        "\"$0\" artifact add s c <(printf 'a stream') --name one.txt",
        "printf 'a stream' | \"$0\" artifact add s c /dev/stdin --name two.txt",
        "printf 'a stream' | \"$0\" artifact add s c /proc/self/fd/0 --name three.txt",
    ] {
        assert_eq!(shell(script), (0, String::new()), "{script}");
    }
    for name in ["one.txt", "two.txt", "three.txt"] {
        let stored = std::fs::read(ekstrack.data().join("artifacts/s/c").join(name)).unwrap();
        assert_eq!(stored, b"a stream", "{name}");
    }
    for (script, code, why) in [
        ("\"$0\" artifact add s c <(printf x)", 2, "give one with --name"),
        ("\"$0\" artifact add s c /dev/fd/99 --name x", 3, "No such file"),
        ("mkfifo f; \"$0\" artifact add s c f", 4, "is a named pipe"),
        (
            "\"$0\" artifact add s c <(printf 123456) --name x --max-bytes 5",
            4,
            "longer than the 5 bytes",
        ),
    ] {
        let (found, errors) = shell(script);
        assert!(errors.contains(why), "{script}: {errors}");
        assert_eq!(found, code, "{script}: {errors}");
    }
}
