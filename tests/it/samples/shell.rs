//! A shell that runs one command after the other.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use test_servers::{ACCESS_KEY, SECRET_KEY};

use crate::machine::ekstrack;

/// Ends the output of a command; no program prints it.
const END: char = '\u{1e}';
/// The machine that the documents tell of.
const HOST: &str = "runner";

/// A shell in a directory, with the command in its path and credentials of a server.
pub(super) struct Shell {
    child: Child,
    commands: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    home: String,
    host: String,
}

impl Shell {
    pub(super) fn start(home: &Path, endpoint: &str) -> Self {
        let home = home.canonicalize().unwrap();
        let program = ekstrack();
        let path = format!(
            "{}:/usr/local/bin:/usr/bin:/bin",
            program.parent().unwrap().display()
        );
        let mut child = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(&home)
            .env_clear()
            .env("PATH", path)
            .env("HOME", &home)
            .env("USER", "agent")
            .env("LC_ALL", "C.UTF-8")
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ENDPOINT_URL_S3", endpoint)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            commands: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            home: home.to_str().unwrap().to_owned(),
            host: rustix::system::uname().nodename().to_str().unwrap().to_owned(),
        }
    }

    /// Runs a command, and tells what it printed, stdout and stderr together, and its exit status.
    pub(super) fn run(&mut self, command: &str) -> (String, i32) {
        let quoted = command.replace('\'', r"'\''");
        // `$?` is that of the command before.
        let line = format!(
            "(exit ${{STATUS:-0}}); eval '{quoted}' </dev/null 2>&1; STATUS=$?; printf '\\n{END}%s\\n' $STATUS\n"
        );
        let commands = self.commands.as_mut().unwrap();
        commands.write_all(line.as_bytes()).unwrap();
        commands.flush().unwrap();
        let mut printed = String::new();
        loop {
            let before = printed.len();
            assert!(
                self.output.read_line(&mut printed).unwrap() > 0,
                "the shell goes on after {command}"
            );
            let Some(status) = printed.get(before..).and_then(|line| line.strip_prefix(END)) else {
                continue;
            };
            let status = status.trim().parse().unwrap();
            printed.truncate(before - 1);
            let printed = printed.replace(&self.home, "/srv/agent");
            return (
                printed.replace(&format!("@{}", self.host), &format!("@{HOST}")),
                status,
            );
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(mut commands) = self.commands.take() {
            // Programs that a sample left running end with its page.
            commands.write_all(b"jobs -p | xargs -r kill; wait\n").ok();
        }
        self.child.wait().ok();
    }
}
