//! An agent in a process of its own, so that its work, with the journal, is not the server's.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tracking_journal::{DataDir, Journal, JournalOptions};

use super::served::{Served, burst};

pub(crate) struct Elsewhere {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Elsewhere {
    /// One that writes the upgrade that is served.
    pub(crate) fn start(served: &Served) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("--agent")
            .arg(served.agent.dir().path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// Has so many events written, as fast as can be, until they are durable.
    pub(crate) fn write(&mut self, events: usize) {
        writeln!(self.input, "{events}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "written\n");
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The process: writes as many events as each line says.
pub(crate) fn child(data_dir: &Path) {
    let dir = DataDir::existing(data_dir).unwrap();
    let options = JournalOptions::default().with_actor("bench");
    let journal = Journal::open(&dir, scenarios::stream(), options).unwrap();
    for line in std::io::stdin().lines() {
        burst(&journal, line.unwrap().parse().unwrap());
        println!("written");
    }
}
