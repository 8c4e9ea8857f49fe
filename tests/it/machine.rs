//! A machine with the command on it, credentials, and the name of a bucket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use test_servers::{ACCESS_KEY, BUCKET, SECRET_KEY};

/// A machine: a home directory, a data directory in it, and credentials.
pub(crate) struct Machine {
    pub(crate) home: TempDir,
    pub(crate) endpoint: String,
}

impl Machine {
    pub(crate) fn new(endpoint: &str) -> Self {
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

    pub(crate) fn agent(&self) -> Child {
        let program = Path::new(env!("CARGO_BIN_EXE_bucket-agent"));
        let mut command = self.place(program);
        command
            .arg(self.home.path().join("ekstrack-data"))
            .args(["up2", "shared", &url()])
            .stdout(Stdio::piped());
        command.spawn().unwrap()
    }

    /// The command, as people run it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place(&ekstrack());
        command.args(args);
        command
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.place(&ekstrack()).arg("--json").args(args).output().unwrap()
    }

    /// The error of a command that is refused with this exit code.
    pub(crate) fn refused(&self, code: i32, args: &[&str]) -> Value {
        let output = self.output(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        // Notes may come before it.
        let error = errors.lines().find(|line| line.starts_with('{')).unwrap();
        let mut error: Value = serde_json::from_str(error).unwrap();
        error["error"].take()
    }

    pub(crate) fn ok(&self, args: &[&str]) -> Value {
        let output = self.output(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn remote(&self, args: &[&str]) -> Value {
        let remote: Vec<&str> = std::iter::once("--remote").chain(args.iter().copied()).collect();
        self.ok(&remote)
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Whether what comes from the bucket hashes to what the record says.
    pub(crate) fn downloads(&self, id: &str, artifact: &Value) -> bool {
        let dest = self.home.path().join(format!("downloaded-{id}"));
        self.remote(&["artifact", "download", id, dest.to_str().unwrap()]);
        sha256(&std::fs::read(dest).unwrap()) == artifact["file_hash"].as_str().unwrap()
    }

    pub(crate) fn reads_by_presigned_address(&self, artifact: &Value) {
        let id = artifact["artifact_id"].as_str().unwrap();
        let made = self.remote(&["artifact", "url", id, "--expires", "10m"]);
        let body = get(made["url"].as_str().unwrap());
        assert_eq!(sha256(&body), artifact["file_hash"].as_str().unwrap());
    }
}

pub(crate) fn url() -> String {
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
pub(crate) fn ekstrack() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_bucket-agent")).with_file_name("ekstrack");
    assert!(
        beside.exists(),
        "build the whole workspace: {} is missing",
        beside.display()
    );
    beside
}
