//! Scenarios across crates: what the processes under test share with the tests that kill them.
//!
//! The process under test is `journal-writer`: it reports every acknowledgement on its standard output before it asks
//! for the next, so that the test knows what may not be lost however the process ends.

pub mod measure;
pub mod program;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use tracking_journal::{DataDir, Journal, JournalOptions, JournalReader};
use tracking_model::{StreamId, UpgradeId, UpgradeProgress};

/// The upgrade that all writers write.
pub const UPGRADE: &str = "fault-upgrade";

/// The stream that all writers write.
#[must_use]
pub fn stream() -> StreamId {
    StreamId::Upgrade(UpgradeId::new(UPGRADE).expect("the id is valid"))
}

/// How to run a `journal-writer`.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Its name, which is its task and its actor.
    pub name: String,
    /// How many events it writes; without end if 0.
    pub count: u64,
    /// Program and arguments before it: `strace …`, `prlimit …`.
    pub wrapper: Vec<String>,
}

impl Writer {
    /// A writer of events without end.
    #[must_use]
    pub fn new(data_dir: &Path, name: &str) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            name: name.to_owned(),
            count: 0,
            wrapper: Vec::new(),
        }
    }

    /// Sets how many events it writes.
    #[must_use]
    pub const fn with_count(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    /// Sets what runs it.
    #[must_use]
    pub fn with_wrapper(mut self, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.wrapper = words.into_iter().map(Into::into).collect();
        self
    }

    /// The command line.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .arg(&self.data_dir)
            .arg(&self.name)
            .arg(self.count.to_string());
        command
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(&self, program: &Path) -> Running {
        let mut child = self
            .command(program)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {:?}: {error}", self.command(program)));
        let lines = BufReader::new(child.stdout.take().expect("the output is piped"));
        Running {
            child,
            lines,
            acked: 0,
            name: self.name.clone(),
        }
    }
}

/// A writer that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// How many of its events were acknowledged, as far as its output was read.
    pub acked: u64,
    name: String,
}

/// How a writer ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// How many of its events were acknowledged.
    pub acked: u64,
    /// What it printed on its error output.
    pub stderr: String,
    /// Other lines of its output.
    pub notes: Vec<String>,
    /// Its name.
    pub name: String,
}

impl Running {
    /// Reads its output until `count` events are acknowledged or it ends.
    ///
    /// # Panics
    /// If its output cannot be read.
    pub fn wait_for_acks(&mut self, count: u64) {
        let mut line = String::new();
        while self.acked < count {
            line.clear();
            if self
                .lines
                .read_line(&mut line)
                .expect("the output is a pipe of text")
                == 0
            {
                return;
            }
            if let Some(acked) = parse_ack(&line) {
                self.acked = acked;
            }
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL and collects what it had acknowledged by then.
    ///
    /// # Panics
    /// If it cannot be killed.
    #[must_use]
    pub fn kill(mut self) -> Ended {
        self.child.kill().expect("our own child can be killed");
        self.finish()
    }

    /// Waits for its end and collects what it had acknowledged by then.
    ///
    /// # Panics
    /// If its output cannot be read.
    #[must_use]
    pub fn finish(mut self) -> Ended {
        let mut stderr = self.child.stderr.take().expect("the error output is piped");
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).expect("the error output is a pipe");
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut notes = Vec::new();
        let mut line = String::new();
        // A line that the kill cut short acknowledges nothing: the number may be cut too.
        while self
            .lines
            .read_line(&mut line)
            .expect("the output is a pipe of text")
            > 0
        {
            match parse_ack(&line) {
                Some(acked) => self.acked = acked,
                None => notes.push(line.trim_end().to_owned()),
            }
            line.clear();
        }
        let status = self.child.wait().expect("our own child can be waited for");
        Ended {
            status,
            acked: self.acked,
            stderr: errors.join().expect("it only reads"),
            notes,
            name: self.name,
        }
    }
}

fn parse_ack(line: &str) -> Option<u64> {
    line.strip_suffix('\n')?.strip_prefix("acked ")?.parse().ok()
}

/// What a journal holds, read record by record with its chain verified.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Events by writer, each `0..count` without a gap.
    pub events: BTreeMap<String, u64>,
    /// Records in all.
    pub records: u64,
}

impl Recovered {
    /// Reads the journal of [`stream`] in `data_dir`.
    ///
    /// # Panics
    /// If the chain is broken, a sequence has a gap, or a writer's events are not a prefix of what it attempted.
    #[must_use]
    pub fn read(data_dir: &Path) -> Self {
        let dir = DataDir::existing(data_dir).expect("the data directory exists");
        let mut recovered = Self::default();
        if !dir.journal_path(&stream()).exists() {
            return recovered;
        }
        // What a power cut or a kill left behind the last durable commit is the next writer's to cut off.
        let options = JournalOptions::default().with_long_lived(false);
        Journal::<UpgradeProgress>::open(&dir, stream(), options)
            .expect("the journal recovers")
            .close_blocking();
        let mut reader = JournalReader::open(&dir, &stream()).expect("the journal opens");
        while let Some(record) = reader
            .next_record()
            .expect("every record of the journal is valid")
        {
            recovered.records += 1;
            assert_eq!(record.seq, recovered.records, "sequence without gap or repeat");
            if &*record.kind == "task.progress" {
                let data: serde_json::Value = serde_json::from_str(record.data.get()).expect("data is JSON");
                let message = data["message"].as_str().expect("progress has a message");
                let (writer, number) = message.rsplit_once(' ').expect("messages are 'writer number'");
                let next = recovered.events.entry(writer.to_owned()).or_default();
                assert_eq!(
                    number.parse::<u64>().expect("a number"),
                    *next,
                    "{writer}'s events are a prefix in order"
                );
                *next += 1;
            }
        }
        recovered
    }

    /// How many of `ended`'s acknowledged events are missing.
    #[must_use]
    pub fn lost(&self, ended: &Ended) -> u64 {
        ended
            .acked
            .saturating_sub(self.events.get(&ended.name).copied().unwrap_or(0))
    }
}
