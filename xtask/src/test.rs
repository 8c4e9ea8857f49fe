//! `cargo xtask test`: runs steps one after the other and reports how long each took.

use std::time::{Duration, Instant};

use crate::error::{self, TaskError};
use crate::flags::TestFlags;
use crate::steps::Step;
use crate::table;
use crate::workspace::Workspace;

/// What to do after a step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    /// Leave out the steps after it.
    Stop,
    /// Run them too, for a list of all that is wrong.
    KeepGoing,
}

/// Runs the steps that the flags ask for.
pub(crate) fn run(workspace: &Workspace, flags: &TestFlags) -> Result<(), TaskError> {
    let after_failure = if flags.keep_going {
        AfterFailure::KeepGoing
    } else {
        AfterFailure::Stop
    };
    if flags.fast {
        run_steps(workspace, Step::FAST, after_failure)
    } else if flags.step.is_empty() {
        run_steps(workspace, Step::ALL, after_failure)
    } else {
        run_steps(workspace, &flags.step, after_failure)
    }
}

/// Runs these steps in order and prints a table of what was run.
///
/// # Errors
///
/// That of the first step that failed; those of later ones are printed where they occur.
pub(crate) fn run_steps(
    workspace: &Workspace,
    steps: &[Step],
    after_failure: AfterFailure,
) -> Result<(), TaskError> {
    let mut report = Report::default();
    let mut outcome = Ok(());
    for (index, &step) in steps.iter().enumerate() {
        println!("\n=== {}/{} {} ===", index + 1, steps.len(), step.name());
        let started = Instant::now();
        let result = step
            .run(workspace, &mut report.notes)
            .map_err(|source| step_error(step, source));
        report.ran(step, started.elapsed(), result.is_ok());
        if let Err(error) = &result
            && after_failure == AfterFailure::KeepGoing
        {
            eprintln!("error: {}", error::chain(error));
        }
        outcome = outcome.and(result);
        if outcome.is_err() && after_failure == AfterFailure::Stop {
            break;
        }
    }
    println!("\n{}", report.render());
    outcome
}

fn step_error(step: Step, source: TaskError) -> TaskError {
    let alone = format!("cargo xtask test --step {}", step.name());
    TaskError::Step {
        step: step.name(),
        alone,
        source: Box::new(source),
    }
}

/// What was run so far.
#[derive(Debug, Default)]
struct Report {
    rows: Vec<[String; 3]>,
    total: Duration,
    notes: Vec<String>,
}

impl Report {
    fn ran(&mut self, step: Step, took: Duration, passed: bool) {
        self.total += took;
        self.rows
            .push(row(step.name(), took, if passed { "ok" } else { "FAILED" }));
    }

    fn render(&self) -> String {
        let mut rows = self.rows.clone();
        rows.push(row("all", self.total, ""));
        let mut text = table::render(["step", "seconds", "result"], &rows);
        for note in &self.notes {
            text.push('\n');
            text.push_str(note);
        }
        text
    }
}

fn row(name: &str, took: Duration, result: &str) -> [String; 3] {
    [
        name.to_owned(),
        format!("{:7.1}", took.as_secs_f64()),
        result.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_lists_steps_seconds_and_notes() {
        let mut report = Report::default();
        report.ran(Step::Fmt, Duration::from_millis(1_500), true);
        report.ran(Step::Tests, Duration::from_secs(60), false);
        report.notes.push("Summary".to_owned());
        assert_eq!(
            report.render(),
            "step   seconds  result\n-----  -------  ------\nfmt        1.5  ok\ntests     60.0  FAILED\n\
             all       61.5\nSummary"
        );
    }

    #[test]
    fn a_failed_step_says_how_to_run_it_alone() {
        let source = TaskError::Findings {
            check: "tidy",
            findings: vec!["x".to_owned()],
        };
        let error = step_error(Step::Tidy, source);
        assert_eq!(
            crate::error::chain(&error),
            "step `tidy` failed; to run it alone: cargo xtask test --step tidy\n  because: tidy: 1 found\n  - x"
        );
    }
}
