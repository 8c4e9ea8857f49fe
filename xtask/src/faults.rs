//! `cargo xtask faults`: runs the fault tests and gathers the numbers that they print.
//!
//! A fault test is named `fault_<row>_<what>` after its row in `docs/testing.md`, and prints one line or more:
//!
//! ```text
//! FAULT row=1 name=killed kills=50 acked=61234 lost=0 p99_recovery_ms=4.1
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::error::TaskError;
use crate::flags::FaultFlags;
use crate::setup::{self, Tool};
use crate::table;
use crate::workspace::{Workspace, cargo_workspace};

/// Rows that every run must report.
const ROWS: &[u32] = &[
    1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
    31, 32, 33, 34, 35, 36,
];
/// Rows that a long run must report too.
const LONG_ROWS: &[u32] = &[3, 18, 37];

/// Runs the fault tests; fails when one of them does, or when a row is missing.
pub(crate) fn run(workspace: &Workspace, flags: &FaultFlags) -> Result<(), TaskError> {
    let tools = if flags.long { Tool::LONG_TESTS } else { Tool::TESTS };
    setup::ensure(workspace, tools)?;
    let on_request: &[&str] = if flags.long { &["long-faults"] } else { &[] };
    let mut tests = cargo_workspace("nextest run --no-fail-fast")
        .args(["--profile", if flags.long { "long" } else { "default" }])
        .args(workspace.test_features(on_request))
        .args(["-E", r"test(/(^|::)fault_\d/)"]);
    if flags.long {
        tests = tests.env("EKSTRACK_FAULTS_LONG", "1");
    }
    if let Some(seed) = flags.seed {
        tests = tests.env("EKSTRACK_FAULTS_SEED", seed.to_string());
    }
    if let Some(count) = flags.count {
        tests = tests.env("EKSTRACK_FAULTS_COUNT", count.to_string());
    }
    let mut lines = FaultLines::default();
    let result = tests.run_inspecting(|line| lines.inspect(line));
    println!("\n{}", lines.table());
    result?;
    let mut findings: Vec<_> = lines
        .missing(&expected_rows(flags.long))
        .into_iter()
        .map(|row| format!("row {row} was not reported: no test named fault_{row:02}_… printed its line"))
        .collect();
    findings.extend(lines.into_malformed());
    TaskError::from_findings("faults", findings)
}

fn expected_rows(long: bool) -> BTreeSet<u32> {
    let long_rows = if long { LONG_ROWS } else { &[] };
    ROWS.iter().chain(long_rows).copied().collect()
}

/// The reports found so far in the output of tests.
#[derive(Debug, Default)]
pub(crate) struct FaultLines {
    reports: BTreeMap<u32, Vec<FaultLine>>,
    malformed: Vec<String>,
}

impl FaultLines {
    /// Looks for a report in a line of output.
    pub(crate) fn inspect(&mut self, line: &str) {
        match FaultLine::parse(line) {
            None => {}
            Some(Ok(report)) => self.reports.entry(report.row).or_default().push(report),
            Some(Err(problem)) => self.malformed.push(problem),
        }
    }

    /// Whether no test has reported.
    pub(crate) fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.malformed.is_empty()
    }

    /// The reports by row, as a table.
    pub(crate) fn table(&self) -> String {
        let reports = self.reports.values().flatten();
        let rows: Vec<_> = reports
            .map(|report| {
                [
                    format!("{:3}", report.row),
                    report.name.clone(),
                    report.numbers.join(" "),
                ]
            })
            .collect();
        table::render(["row", "fault", "numbers"], &rows)
    }

    /// Rows of `expected` that nothing reported.
    fn missing(&self, expected: &BTreeSet<u32>) -> Vec<u32> {
        expected
            .iter()
            .copied()
            .filter(|row| !self.reports.contains_key(row))
            .collect()
    }

    /// Why some lines that looked like reports are none.
    pub(crate) fn into_malformed(self) -> Vec<String> {
        self.malformed
    }
}

/// One report: `FAULT row=<n> name=<name> <number>=<value>…`.
#[derive(Debug, PartialEq, Eq)]
struct FaultLine {
    row: u32,
    name: String,
    numbers: Vec<String>,
}

impl FaultLine {
    /// `None` when the line is no report, an error when it is one that cannot be read.
    fn parse(line: &str) -> Option<Result<Self, String>> {
        let fields = line.trim().strip_prefix("FAULT ")?;
        Some(Self::from_fields(fields).map_err(|reason| format!("{reason}: {}", line.trim())))
    }

    fn from_fields(fields: &str) -> Result<Self, &'static str> {
        let mut fields = fields.split_whitespace();
        let row = fields
            .next()
            .and_then(|field| field.strip_prefix("row="))
            .ok_or("row=<n> is missing")?;
        let row = row.parse().map_err(|_| "the row is not a number")?;
        let name = fields
            .next()
            .and_then(|field| field.strip_prefix("name="))
            .ok_or("name= is missing")?;
        let numbers: Vec<_> = fields.map(str::to_owned).collect();
        let is_number = |field: &String| {
            field
                .split_once('=')
                .is_some_and(|(key, value)| !key.is_empty() && !value.is_empty())
        };
        if numbers.is_empty() {
            return Err("there is no number");
        }
        if !numbers.iter().all(is_number) {
            return Err("a field is not name=value");
        }
        Ok(Self {
            row,
            name: name.to_owned(),
            numbers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_report_indented_by_nextest() {
        let line = FaultLine::parse("    FAULT row=1 name=killed kills=50 lost=0")
            .unwrap()
            .unwrap();
        assert_eq!(
            line,
            FaultLine {
                row: 1,
                name: "killed".to_owned(),
                numbers: vec!["kills=50".to_owned(), "lost=0".to_owned()]
            }
        );
    }

    #[test]
    fn other_output_is_no_report() {
        for line in ["", "PASS fault_1_killed", "DEFAULT row=1", "FAULTY"] {
            assert_eq!(FaultLine::parse(line), None, "{line}");
        }
    }

    #[test]
    fn says_why_a_report_cannot_be_read() {
        let cases = [
            ("FAULT kills=50", "row=<n> is missing"),
            ("FAULT row=x name=a b=1", "the row is not a number"),
            ("FAULT row=1 kills=50", "name= is missing"),
            ("FAULT row=1 name=killed", "there is no number"),
            ("FAULT row=1 name=killed kills 50", "a field is not name=value"),
        ];
        for (line, reason) in cases {
            let problem = FaultLine::parse(line).unwrap().unwrap_err();
            assert_eq!(problem, format!("{reason}: {line}"));
        }
    }

    #[test]
    fn the_table_is_sorted_by_row_and_missing_rows_are_named() {
        let mut lines = FaultLines::default();
        lines.inspect("FAULT row=10 name=full appended=3");
        lines.inspect("FAULT row=2 name=killed-at-sync points=40 lost=0");
        assert_eq!(
            lines.table(),
            "row  fault           numbers\n---  --------------  ----------------\n  2  killed-at-sync  points=40 \
             lost=0\n 10  full            appended=3"
        );
        assert_eq!(lines.missing(&BTreeSet::from([2, 3, 10])), [3]);
    }

    #[test]
    fn a_long_run_expects_more_rows() {
        assert!(!expected_rows(false).contains(&18));
        assert!(expected_rows(true).is_superset(&expected_rows(false)));
        assert!(expected_rows(true).contains(&18));
    }
}
