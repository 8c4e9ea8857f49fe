//! Links and FIFOs in place of files of a data directory: nothing is read or written through them, and
//! nothing waits for them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use test_servers::FsServer;

use crate::machine::Machine;

/// No command of these tests takes nearly as long.
const DEADLINE: Duration = Duration::from_secs(100);
const SECRET: &str = "root:$6$secret:19000:0:99999:7:::";
/// How many data directories are tried at a time: each waits for the relays of its commands most of the time.
const AT_ONCE: usize = 8;

/// The files of a data directory that commands look for by their names; `*` stands for the name of each sink.
const NAMES: [&str; 24] = [
    "artifacts/session_s.json",
    "artifacts/session_s.json.lock",
    "artifacts/session_s.json.part",
    "artifacts/session_s.jsonl",
    "artifacts/session_s.lock",
    "artifacts/session_s.checkpoint",
    "artifacts/session_s.checkpoint.new",
    "artifacts/session_s.agent",
    "artifacts/s/c/a.txt",
    "index.sqlite",
    "index.sqlite-wal",
    "index.sqlite-shm",
    "index.sqlite-journal",
    "index.sqlite.lock",
    "progress/upgrade_up.json",
    "progress/upgrade_up.jsonl",
    "progress/upgrade_up.lock",
    "progress/upgrade_up.checkpoint",
    "progress/upgrade_up.agent",
    "COPY",
    "cursors/session_s/*.json",
    "cursors/session_s/*.lease",
    "cursors/session_s/*.retry",
    "cursors/upgrade_up/*.json",
];
/// Those of them that adding or searching makes anew.
const REPLACED: [&str; 6] = [
    "artifacts/session_s.json",
    "artifacts/session_s.json.part",
    "index.sqlite",
    "index.sqlite-wal",
    "index.sqlite-shm",
    "index.sqlite-journal",
];
/// The directories in which they are.
const DIRECTORIES: [&str; 4] = [
    "artifacts/s",
    "artifacts/s/c",
    "cursors/session_s",
    "cursors/upgrade_up",
];

/// A machine with an upgrade and an artifact.
fn prepared(server: &FsServer) -> Machine {
    let machine = Machine::new(&server.endpoint());
    machine.ok(&["upgrade", "start", "up", "--plan", "p", "--cluster", "c"]);
    machine.ok(&["session", "create", "up", "--cluster", "c", "--id", "s"]);
    machine.ok(&["collection", "create", "s", "C", "--id", "c"]);
    let file = machine.file("a.txt", "the text");
    machine.ok(&["artifact", "add", "s", "c", &file]);
    machine
}

fn data(machine: &Machine) -> PathBuf {
    machine.home.path().join("ekstrack-data")
}

fn commands(file: &str) -> [Vec<&str>; 6] {
    [
        vec!["artifact", "add", "s", "c", file],
        vec!["search", "text"],
        vec!["verify"],
        vec!["gc"],
        vec!["upgrade", "show", "up"],
        vec!["sync"],
    ]
}

/// Runs a command, which must end by itself and without a panic; gives what it printed.
fn run(machine: &Machine, args: &[&str]) -> String {
    let printed = machine.home.path().join("printed");
    let file = fs::File::create(&printed).unwrap();
    let mut command = machine.command(args);
    command.stdout(file.try_clone().unwrap()).stderr(file);
    let mut child = command.spawn().unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > DEADLINE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{args:?} hangs: {}", fs::read_to_string(&printed).unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let printed = fs::read_to_string(&printed).unwrap();
    assert!(
        matches!(status.code(), Some(0 | 4 | 5)),
        "{args:?}: {status}: {printed}"
    );
    printed
}

/// The paths of a name.
fn places(data: &Path, name: &str) -> Vec<PathBuf> {
    let Some((directory, suffix)) = name.split_once('*') else {
        return vec![data.join(name)];
    };
    let listed = fs::read_dir(data.join(directory)).unwrap();
    let sinks = listed.map(|entry| entry.unwrap().path());
    let sinks = sinks.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    sinks
        .map(|path| path.with_extension(suffix.trim_start_matches('.')))
        .collect()
}

/// Calls `each` with every name, several at a time.
fn try_all(names: &[&'static str], each: impl Fn(&'static str) + Sync) {
    let names = Mutex::new(names.iter());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = names.lock().unwrap().next();
                    let Some(name) = next else { break };
                    each(name);
                }
            });
        }
    });
}

/// True if a file somewhere in `directory` has these bytes.
fn holds(directory: &Path, bytes: &str) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holds(&path, bytes)
        } else {
            String::from_utf8_lossy(&fs::read(path).unwrap()).contains(bytes)
        }
    })
}

#[test]
fn fault_30_no_command_waits_for_a_fifo_in_the_data_directory() {
    try_all(&NAMES, |name| {
        let server = FsServer::start();
        let machine = prepared(&server);
        let (file, data) = (machine.file("b.txt", "more text"), data(&machine));
        for args in commands(&file) {
            for path in places(&data, name) {
                drop(fs::remove_file(&path));
                mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
            }
            let printed = run(&machine, &args);
            if ["add", "search"].iter().any(|word| args.contains(word)) && REPLACED.contains(&name) {
                assert!(!printed.contains("error"), "{name}: {args:?}: {printed}");
            }
            if args.contains(&"search") && REPLACED.contains(&name) && name.starts_with("index") {
                let found = data.join(name).symlink_metadata();
                assert!(found.is_err() || found.unwrap().is_file(), "{name}");
            }
        }
    });
    println!(
        "FAULT row=30 name=fifos commands={} hung=0",
        NAMES.len() * commands("").len()
    );
}

#[test]
fn fault_30_nothing_is_read_or_written_through_a_link_in_the_data_directory() {
    let links: Vec<&str> = NAMES.into_iter().chain(DIRECTORIES).collect();
    try_all(&links, |name| {
        let server = FsServer::start();
        let machine = prepared(&server);
        let (file, data) = (machine.file("b.txt", "more text"), data(&machine));
        let outside = machine.home.path().join("outside");
        fs::create_dir_all(outside.join("c")).unwrap();
        for name in ["shadow", "c/a.txt", "a.txt"] {
            fs::write(outside.join(name), SECRET).unwrap();
        }
        let target = if DIRECTORIES.contains(&name) {
            outside.clone()
        } else {
            outside.join("shadow")
        };
        for args in commands(&file) {
            for path in places(&data, name) {
                if path.is_dir() && !path.is_symlink() {
                    fs::rename(&path, data.join("before")).unwrap();
                } else {
                    drop(fs::remove_file(&path));
                }
                symlink(&target, &path).unwrap();
            }
            let printed = run(&machine, &args);
            assert!(!printed.contains(SECRET), "{name}: {args:?}: {printed}");
        }
        assert!(!holds(&server.file(""), SECRET), "{name} is in the bucket");
        for name in ["shadow", "c/a.txt", "a.txt"] {
            assert_eq!(fs::read_to_string(outside.join(name)).unwrap(), SECRET, "{name}");
        }
        let there =
            fs::read_dir(&outside).unwrap().count() + fs::read_dir(outside.join("c")).unwrap().count();
        assert_eq!(there, 4, "{name}: something was written outside");
    });
    println!(
        "FAULT row=30 name=links commands={} read_outside=0 written_outside=0",
        links.len() * commands("").len()
    );
}

#[test]
fn files_that_an_operator_names_may_be_links_but_no_fifos() {
    let server = FsServer::start();
    let machine = prepared(&server);
    let home = machine.home.path();
    let fifo = home.join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from(0o600), 0).unwrap();
    for args in [
        ["--config", "fifo", "upgrade", "list", "", ""],
        ["serve", "--listen", "127.0.0.1:0", "--token-file", "fifo", ""],
        ["serve", "--certificate", "fifo", "--key", "a.txt", ""],
        ["watch", "--url", "ws://127.0.0.1:1", "--token-file", "fifo", ""],
        ["watch", "--url", "wss://127.0.0.1:1", "--ca-file", "fifo", ""],
    ] {
        let args: Vec<&str> = args.into_iter().filter(|arg| !arg.is_empty()).collect();
        let output = machine.command(&args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
        assert!(errors.contains("it is a FIFO"), "{args:?}: {errors}");
    }
    // Kubernetes mounts a ConfigMap as links to links.
    fs::create_dir(home.join("..data")).unwrap();
    fs::write(home.join("..data/ekstrack.toml"), "nonsense = 1\n").unwrap();
    symlink("..data/ekstrack.toml", home.join("ekstrack.toml")).unwrap();
    let read = machine.refused(2, &["upgrade", "list"]).to_string();
    assert!(read.contains("nonsense"), "{read}");
    fs::remove_file(home.join("ekstrack.toml")).unwrap();
    fs::rename(&fifo, home.join("ekstrack.toml")).unwrap();
    let refused = machine.refused(2, &["upgrade", "list"]).to_string();
    assert!(refused.contains("it is a FIFO"), "{refused}");
}
