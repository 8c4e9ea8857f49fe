//! Running other programs, and saying which when they fail.

use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::error::TaskError;

/// A program with its arguments and the environment that it gets beside ours.
///
/// Its `Display` is the line to type in a shell.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    program: &'static str,
    args: Vec<String>,
    envs: Vec<(&'static str, String)>,
}

impl Invocation {
    /// `program` with `args` separated by blanks.
    pub(crate) fn new(program: &'static str, args: &str) -> Self {
        Self {
            program,
            args: args.split_whitespace().map(str::to_owned).collect(),
            envs: Vec::new(),
        }
    }

    /// `cargo` with `args` separated by blanks.
    pub(crate) fn cargo(args: &str) -> Self {
        Self::new("cargo", args)
    }

    /// Adds arguments, each as it is.
    #[must_use]
    pub(crate) fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the program's environment.
    #[must_use]
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.envs.push((name, value.into()));
        self
    }

    /// Runs it on our terminal.
    pub(crate) fn run(&self) -> Result<(), TaskError> {
        println!("$ {self}");
        let status = self
            .command()
            .status()
            .map_err(|source| self.spawn_error(source))?;
        self.check(status)
    }

    /// Runs it silently and returns what it wrote to stdout.
    pub(crate) fn output(&self) -> Result<String, TaskError> {
        let output = self
            .command()
            .stderr(Stdio::inherit())
            .output()
            .map_err(|source| self.spawn_error(source))?;
        self.check(output.status)?;
        String::from_utf8(output.stdout).map_err(|error| TaskError::Output {
            command: self.to_string(),
            source: io::Error::new(io::ErrorKind::InvalidData, error),
        })
    }

    /// Whether it starts and succeeds; its output is dropped.
    pub(crate) fn succeeds(&self) -> bool {
        self.command()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Runs it, passes each line of its stderr on, and shows the line to `inspect` too.
    ///
    /// Lines that are not UTF-8 are passed on with replacement characters.
    pub(crate) fn run_inspecting(&self, mut inspect: impl FnMut(&str)) -> Result<(), TaskError> {
        println!("$ {self}");
        let mut child = self
            .command()
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| self.spawn_error(source))?;
        let mut stderr = BufReader::new(child.stderr.take().expect("stderr was piped two lines above"));
        let output_error = |source| TaskError::Output {
            command: self.to_string(),
            source,
        };
        let mut line = Vec::new();
        while stderr.read_until(b'\n', &mut line).map_err(output_error)? > 0 {
            let text = String::from_utf8_lossy(&line);
            eprint!("{text}");
            inspect(text.trim_end());
            line.clear();
        }
        let status = child.wait().map_err(output_error)?;
        self.check(status)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .args(&self.args)
            .envs(self.envs.iter().map(|(name, value)| (name, value)));
        command
    }

    fn check(&self, status: std::process::ExitStatus) -> Result<(), TaskError> {
        if status.success() {
            Ok(())
        } else {
            Err(TaskError::Failed {
                command: self.to_string(),
                status,
            })
        }
    }

    fn spawn_error(&self, source: io::Error) -> TaskError {
        TaskError::Spawn {
            command: self.to_string(),
            source,
        }
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.envs {
            write!(f, "{name}={} ", quoted(value))?;
        }
        f.write_str(self.program)?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", quoted(arg)))
    }
}

/// `text`, in single quotes where a shell would take it apart.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,=:@+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_what_a_shell_would_take() {
        let invocation = Invocation::cargo("nextest run -E")
            .args(["test(/a b/)"])
            .env("X", "-D warnings");
        assert_eq!(
            invocation.to_string(),
            "X='-D warnings' cargo nextest run -E 'test(/a b/)'"
        );
    }

    #[test]
    fn inspects_every_line_of_stderr() {
        let mut lines = Vec::new();
        let shell = Invocation::new("sh", "-c").args(["echo one >&2; echo two >&2"]);
        shell.run_inspecting(|line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn names_the_command_that_failed() {
        let error = Invocation::new("sh", "-c").args(["exit 3"]).run().unwrap_err();
        assert!(error.to_string().contains("`sh -c 'exit 3'` failed"), "{error}");
    }
}
