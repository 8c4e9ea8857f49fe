//! A document, taken apart into its samples and what is between them.

use std::path::{Path, PathBuf};

/// A document. Its parts put together are its text.
pub(super) struct Page {
    path: PathBuf,
    pub(super) parts: Vec<Part>,
}

pub(super) enum Part {
    /// Text that means nothing here.
    Text(String),
    /// Shell that readers do not see.
    SetUp {
        line: usize,
        script: String,
    },
    Sample(Sample),
}

/// A block of a session in a shell.
pub(super) struct Sample {
    /// Why it is not run.
    pub(super) not_run: Option<String>,
    pub(super) steps: Vec<Step>,
}

/// A command of a sample, and what is printed.
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) command: String,
    pub(super) output: String,
}

const BEGIN: &str = "```console";
const END: &str = "```";
const SET_UP: &str = "<!-- set-up";
const SET_UP_END: &str = "-->";
const NOT_RUN: &str = "<!-- not run: ";

impl Page {
    pub(super) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.lines().zip(1..);
        let mut parts = Vec::new();
        let mut not_run: Option<String> = None;
        while let Some((line, number)) = lines.next() {
            match line {
                SET_UP => {
                    let body = lines
                        .by_ref()
                        .map(|(line, _)| line)
                        .take_while(|line| *line != SET_UP_END);
                    let script = body.map(|line| format!("{line}\n")).collect();
                    parts.push(Part::SetUp { line: number, script });
                }
                BEGIN => {
                    let body: Vec<(&str, usize)> =
                        lines.by_ref().take_while(|(line, _)| *line != END).collect();
                    let steps = steps(&body);
                    let not_run = not_run.take();
                    parts.push(Part::Sample(Sample { not_run, steps }));
                }
                _ => {
                    if let Some(reason) = line.strip_prefix(NOT_RUN) {
                        not_run = Some(reason.trim_end_matches("-->").trim().to_owned());
                    } else if !line.is_empty() {
                        not_run = None;
                    }
                    parts.push(Part::Text(format!("{line}\n")));
                }
            }
        }
        let page = Self {
            path: path.to_owned(),
            parts,
        };
        assert_eq!(page.text(), text, "{} is put together as it was", page.name());
        page
    }

    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap().to_string_lossy().into_owned()
    }

    pub(super) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.parts.iter().filter_map(|part| match part {
            Part::Sample(sample) => Some(sample),
            Part::Text(_) | Part::SetUp { .. } => None,
        })
    }

    /// Sessions of a shell in blocks of another kind, which nobody would run.
    pub(super) fn unmarked_sessions(&self) -> Vec<String> {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let sessions = lines.windows(2).zip(1..).filter(|(pair, _)| {
            let [fence, first] = pair else { return false };
            fence.starts_with("```") && *fence != BEGIN && first.starts_with("$ ")
        });
        let say = |number: usize| {
            format!(
                "{}:{number}: a session in a shell begins with {BEGIN}",
                self.name()
            )
        };
        sessions.map(|(_, number)| say(number)).collect()
    }

    pub(super) fn write(&self) {
        std::fs::write(&self.path, self.text()).unwrap();
    }

    fn text(&self) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::SetUp { script, .. } => format!("{SET_UP}\n{script}{SET_UP_END}\n"),
                Part::Sample(sample) => format!("{BEGIN}\n{}{END}\n", sample.text()),
            })
            .collect()
    }
}

impl Sample {
    fn text(&self) -> String {
        let step = |step: &Step| {
            format!(
                "$ {}\n{}",
                step.command.replace('\n', "\n> "),
                with_line_end(&step.output)
            )
        };
        self.steps.iter().map(step).collect()
    }
}

/// Output without a line feed at its end is shown with one.
fn with_line_end(output: &str) -> String {
    if output.is_empty() || output.ends_with('\n') {
        output.to_owned()
    } else {
        format!("{output}\n")
    }
}

fn steps(body: &[(&str, usize)]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (line, number) in body {
        let step = steps.last_mut();
        match (line.strip_prefix("$ "), line.strip_prefix("> "), step) {
            (Some(command), _, _) => steps.push(Step {
                line: *number,
                command: command.to_owned(),
                output: String::new(),
            }),
            (None, Some(more), Some(step)) if step.output.is_empty() => {
                step.command.push('\n');
                step.command.push_str(more);
            }
            (None, _, Some(step)) => {
                step.output.push_str(line);
                step.output.push('\n');
            }
            (None, _, None) => panic!("line {number}: a sample begins with a command"),
        }
    }
    steps
}
