//! Runs the binary and makes its output comparable.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A directory, with a data directory `data` in it, and the command.
pub(crate) struct Ekstrack {
    home: TempDir,
}

impl Ekstrack {
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// With the upgrade `prod`, started.
    pub(crate) fn started() -> Self {
        let ekstrack = Self::new();
        ekstrack.ok(&[
            "upgrade",
            "start",
            "prod",
            "--plan",
            "plan-7",
            "--cluster",
            "prod-eu",
        ]);
        ekstrack
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.home().join("data")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.data().join("progress/upgrade_prod.jsonl")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ekstrack"));
        command
            .args(args)
            .current_dir(self.home())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("EKSTRACK_DATA_DIR", self.data())
            .env("USER", "tester")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs it by another program, which is given the command as its last arguments.
    pub(crate) fn output_by(&self, wrapper: &[&str], args: &[&str]) -> Output {
        let Some((program, rest)) = wrapper.split_first() else {
            return self.output(args);
        };
        let plain = self.command(args);
        let mut command = Command::new(program);
        command
            .args(rest)
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(self.home())
            .env_clear()
            .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    /// Runs it and expects success.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it with `--json` and reads the one document.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let args: Vec<&str> = ["--json"].iter().chain(args).copied().collect();
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    /// What was asked, and all that came of it, for a snapshot.
    pub(crate) fn transcript(&self, commands: &[&[&str]]) -> String {
        self.transcript_by(&[], commands)
    }

    /// As [`Self::transcript`], each command run by another program.
    pub(crate) fn transcript_by(&self, wrapper: &[&str], commands: &[&[&str]]) -> String {
        let mut text = String::new();
        for args in commands {
            let output = self.output_by(wrapper, args);
            let quoted: Vec<String> = args
                .iter()
                .map(|arg| {
                    if arg.contains([' ', '*', '\'']) {
                        format!("{arg:?}")
                    } else {
                        (*arg).to_owned()
                    }
                })
                .collect();
            text.push_str(&format!("$ ekstrack {}\n", quoted.join(" ")));
            text.push_str(&String::from_utf8_lossy(&output.stdout));
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            match output.status.code() {
                Some(0) => {}
                code => text.push_str(&format!("[exit {code:?}]\n")),
            }
        }
        text.replace(
            &self.home().canonicalize().unwrap().display().to_string(),
            "$HOME",
        )
        .replace(&self.home().display().to_string(), "$HOME")
    }
}

/// The exit code that a shell shows: 128+n for signal n.
pub(crate) fn shell_code(status: std::process::ExitStatus) -> Option<i32> {
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    status.code().or_else(|| Some(128 + signal?))
}

/// What runs a command as somebody whom permissions hold back: root, unless it gives up its capabilities, they do not.
pub(crate) fn held_back() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() {
        &["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
    } else {
        &[]
    }
}

/// Compares with the snapshot `name`, ids, times and hashes aside.
pub(crate) fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    for (pattern, placeholder) in [
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "<uuid>",
        ),
        (r"\b[0-9a-f]{64}\b", "<hash>"),
        (
            r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|\+00:00)",
            "<time>",
        ),
        (r"\b\d{8}(-\d{6}|T\d{12}Z)\b", "<stamp>"),
        (r#""duration":"[^"]+""#, r#""duration":"<span>""#),
        (r"\b\d+(ms|s)\b", "<span>"),
        (r#""pid":\d+"#, r#""pid":"<pid>""#),
    ] {
        settings.add_filter(pattern, placeholder);
    }
    settings.bind(|| insta::assert_snapshot!(name, text));
}
