//! `moto_server`: an independent implementation, in Python, set up by `cargo xtask test`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::{BUCKET, config};
use storage_s3::S3Config;

/// Where `cargo xtask test` sets it up, below the directory that cargo builds in.
const PLACE: &str = "test-servers/python";

/// A server in a process of its own.
#[derive(Debug)]
pub struct MotoServer {
    child: Child,
    address: SocketAddr,
}

impl MotoServer {
    /// The Python that has the server, and boto3.
    ///
    /// # Panics
    /// If it was not set up.
    #[must_use]
    pub fn python() -> PathBuf {
        let program = std::env::current_exe().expect("a test knows its own program");
        program
            .ancestors()
            .map(|dir| dir.join(PLACE).join("bin/python"))
            .find(|python| python.exists())
            .unwrap_or_else(|| {
                panic!("moto_server is not set up under {PLACE} of the target directory: run `cargo xtask test --step set-up`")
            })
    }

    /// Starts a server with an empty bucket.
    ///
    /// # Panics
    /// If it was not set up or does not start.
    #[must_use]
    pub fn start() -> Self {
        let mut child = Command::new(Self::python())
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
            .env_remove("PYTHONPATH")
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server's Python can be started");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut seen = String::new();
        let address = loop {
            let start = seen.len();
            let read = lines.read_line(&mut seen).expect("the server writes text");
            assert!(read > 0, "moto_server ended before it listened:\n{seen}");
            if let Some((_, address)) = seen
                .get(start..)
                .and_then(|line| line.split_once("Running on http://"))
            {
                break address.trim().parse().expect("the server tells its address");
            }
        };
        // Its log goes nowhere, but must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let server = Self { child, address };
        server.make_bucket(BUCKET);
        server
    }

    /// `http://127.0.0.1:port`
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A store in its bucket.
    #[must_use]
    pub fn config(&self) -> S3Config {
        config(&self.endpoint())
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// One request in the JSON protocol of AWS, as EventBridge and SQS speak it: to `service`, for `target`, such as
    /// `AWSEvents.PutRule`.
    ///
    /// # Panics
    /// If the server does not answer with success.
    pub fn call(&self, service: &str, target: &str, body: &Value) -> Value {
        let head = format!(
            "POST / HTTP/1.1\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Target: {target}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=AKIATEST/20250101/us-east-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=0\r\n"
        );
        let answer = self.request(&head, &body.to_string());
        serde_json::from_str(&answer).unwrap_or_default()
    }

    fn make_bucket(&self, bucket: &str) {
        self.request(&format!("PUT /{bucket} HTTP/1.1\r\n"), "");
    }

    /// Sends a request, given its first line and headers; returns the body of the answer.
    fn request(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        let (host, length) = (self.address, body.len());
        write!(
            stream,
            "{head}Host: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{head}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").expect("the head has an end");
        body.to_owned()
    }
}

impl Drop for MotoServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
