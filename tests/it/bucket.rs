//! Two machines that share a bucket and nothing else, while the agent of one of them is killed again and again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};
use storage_s3::test_servers::{ACCESS_KEY, BUCKET, FsServer, MotoServer, SECRET_KEY};
use tempfile::TempDir;

use crate::Choices;

/// How often the agent is killed.
const KILLS: u64 = 8;

#[test]
fn two_machines_share_a_bucket_of_s3s_fs() {
    let server = FsServer::start();
    share("s3s-fs", &server.endpoint());
}

#[test]
fn two_machines_share_a_bucket_of_moto() {
    let server = MotoServer::start();
    share("moto", &server.endpoint());
}

fn share(server: &str, endpoint: &str) {
    let (agents, team) = (Machine::new(endpoint), Machine::new(endpoint));
    agents.ok(&["upgrade", "start", "up", "--plan", "p", "--cluster", "cluster-a"]);
    agents.ok(&["run", "up", "build", "--", "sh", "-c", "echo the nodes are ready"]);
    let acked = kill_again_and_again(&agents, &team);
    another_writer_of_the_same_name(endpoint);
    agents.ok(&["sync"]);

    let upgrades = team.remote(&["upgrade", "list"]);
    assert_eq!(ids(&upgrades["upgrades"], "upgrade_id"), ["other", "up", "up2"]);
    let shown = team.remote(&["upgrade", "show", "up"]);
    assert_eq!(shown["tasks"][0]["status"], "completed", "{shown}");
    let sessions = team.remote(&["session", "list"]);
    assert_eq!(ids(&sessions["sessions"], "session_id"), ["shared", "up"]);

    let found = team.remote(&["search", "--limit", "10000"]);
    let found = found["artifacts"].as_array().unwrap();
    let seen: BTreeMap<&str, &Value> = found
        .iter()
        .map(|artifact| (artifact["artifact_id"].as_str().unwrap(), artifact))
        .collect();
    let lost: Vec<_> = acked
        .iter()
        .filter(|(id, _)| !seen.contains_key(id.as_str()))
        .collect();
    assert!(lost.is_empty(), "acknowledged, and not in the bucket: {lost:?}");
    let same_name = found
        .iter()
        .filter(|one| one["name"] == "report.txt" && one["session_id"] == "shared")
        .count();
    assert_eq!(same_name, 2, "two machines, one name, two artifacts");
    let mut verified = 0;
    for (id, artifact) in &seen {
        assert_eq!(artifact["status"], "uploaded", "{artifact}");
        if let Some(hash) = acked.get(*id) {
            assert_eq!(artifact["file_hash"], **hash);
        }
        verified += u32::from(team.downloads(id, artifact));
    }
    team.reads_by_presigned_address(found.last().unwrap());
    println!(
        "SCENARIO name=two_machines server={server} kills={KILLS} acked={} seen={} verified={verified} lost={}",
        acked.len(),
        seen.len(),
        lost.len()
    );
    assert_eq!(verified as usize, seen.len());
}

/// Kills the agent at moments of chance while its machine adds files to its session and the other one looks; returns the
/// artifacts that it was told are kept, with their hashes.
fn kill_again_and_again(agents: &Machine, team: &Machine) -> BTreeMap<String, String> {
    let (mut acked, mut choices) = (BTreeMap::new(), Choices::new(7));
    for round in 0..KILLS {
        let mut agent = agents.agent();
        let mut said = BufReader::new(agent.stdout.take().unwrap()).lines();
        for _ in 0..=choices.below(12) {
            let line = said
                .next()
                .expect("the agent goes on until it is killed")
                .unwrap();
            acked.extend(acknowledged(&line));
        }
        if round % 3 == 1 {
            let file = agents.file("beside.txt", &format!("round {round}"));
            let added = agents.ok(&["artifact", "add", "shared", "evidence", &file]);
            let artifact = &added["artifacts"][0];
            let text = |key: &str| artifact[key].as_str().unwrap().to_owned();
            acked.insert(text("artifact_id"), text("file_hash"));
        }
        if round % 3 == 2 {
            team.remote(&["session", "list"]);
        }
        agent.kill().unwrap();
        agent.wait().unwrap();
        // What it had said before it died counts.
        acked.extend(said.map_while(Result::ok).filter_map(|line| acknowledged(&line)));
    }
    let file = agents.file("report.txt", "from the first");
    agents.ok(&["artifact", "add", "shared", "evidence", &file]);
    acked
}

fn acknowledged(line: &str) -> Option<(String, String)> {
    let (id, hash) = line.strip_prefix("acked ")?.split_once(' ')?;
    Some((id.to_owned(), hash.to_owned()))
}

/// A third machine, which writes a session of the same id.
fn another_writer_of_the_same_name(endpoint: &str) {
    let machine = Machine::new(endpoint);
    machine.ok(&[
        "upgrade",
        "start",
        "other",
        "--plan",
        "p",
        "--cluster",
        "cluster-c",
    ]);
    machine.ok(&[
        "session",
        "create",
        "other",
        "--cluster",
        "cluster-c",
        "--id",
        "shared",
    ]);
    machine.ok(&["collection", "create", "shared", "Evidence", "--id", "evidence"]);
    let file = machine.file("report.txt", "from the second");
    machine.ok(&["artifact", "add", "shared", "evidence", &file]);
    machine.ok(&["sync"]);
}

fn ids(list: &Value, key: &str) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|one| one[key].as_str().unwrap().to_owned()).collect()
}

/// A machine: a home directory, a data directory in it, and credentials.
struct Machine {
    home: TempDir,
    endpoint: String,
}

impl Machine {
    fn new(endpoint: &str) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            endpoint: endpoint.to_owned(),
        }
    }

    fn place(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.home.path())
            .env("USER", "tester")
            .env("EKSTRACK_S3", url())
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL_S3", &self.endpoint)
            .stdin(Stdio::null());
        command
    }

    fn agent(&self) -> Child {
        let program = Path::new(env!("CARGO_BIN_EXE_bucket-agent"));
        let mut command = self.place(program);
        command
            .arg(self.home.path().join("ekstrack-data"))
            .args(["up2", "shared", &url()])
            .stdout(Stdio::piped());
        command.spawn().unwrap()
    }

    fn output(&self, args: &[&str]) -> Output {
        self.place(&ekstrack()).arg("--json").args(args).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> Value {
        let output = self.output(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn remote(&self, args: &[&str]) -> Value {
        let remote: Vec<&str> = std::iter::once("--remote").chain(args.iter().copied()).collect();
        self.ok(&remote)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Whether what comes from the bucket hashes to what the record says.
    fn downloads(&self, id: &str, artifact: &Value) -> bool {
        let dest = self.home.path().join(format!("downloaded-{id}"));
        self.remote(&["artifact", "download", id, dest.to_str().unwrap()]);
        sha256(&std::fs::read(dest).unwrap()) == artifact["file_hash"].as_str().unwrap()
    }

    fn reads_by_presigned_address(&self, artifact: &Value) {
        let id = artifact["artifact_id"].as_str().unwrap();
        let made = self.remote(&["artifact", "url", id, "--expires", "10m"]);
        let body = get(made["url"].as_str().unwrap());
        assert_eq!(sha256(&body), artifact["file_hash"].as_str().unwrap());
    }
}

fn url() -> String {
    format!("s3://{BUCKET}/team")
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Reads what an address on the loopback leads to, as anybody would who has nothing but the address.
fn get(url: &str) -> Vec<u8> {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "GET /{path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let status = String::from_utf8_lossy(answer.get(..head).unwrap()).into_owned();
    assert!(status.contains(" 200 "), "{status}");
    answer.split_off(head + 4)
}

/// The command, which is built with everything else.
fn ekstrack() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_bucket-agent")).with_file_name("ekstrack");
    assert!(
        beside.exists(),
        "build the whole workspace: {} is missing",
        beside.display()
    );
    beside
}
