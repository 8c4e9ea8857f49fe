//! Python's `websockets.broadcast`, as the reference uses it.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub(crate) struct Python {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Python {
    /// Broadcasts `text`.
    pub(crate) fn start(text: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = test_servers::MotoServer::python();
        let mut child = Command::new(python)
            .arg(root.join("benches/ws/python_server.py"))
            .arg(text)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap();
        Self {
            child,
            input,
            output,
            address,
        }
    }

    /// Broadcasts so many times, at a rate or (0) as fast as can be; processor time in seconds.
    pub(crate) fn broadcast(&mut self, times: u32, per_second: u32) -> f64 {
        writeln!(self.input, "{times} {per_second}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
