//! One log of a run: the very bytes of the command, or, if asked for, without secrets.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tracking_facade::{Artifact, ArtifactError, ArtifactWriter};

use crate::args::RunArgs;
use crate::exit::{Failure, Kind};
use crate::process::KeepBytes;
use crate::redact::{Redactor, Rules};

/// An artifact in the making.
#[derive(Debug)]
pub(super) struct Log {
    artifact: ArtifactWriter,
    redactor: Option<Redactor>,
    /// Redacted bytes that are not written yet.
    clean: Vec<u8>,
}

/// The rules of `--redact` and `--redact-pattern`; `None` without them.
pub(super) fn rules(args: &RunArgs) -> Result<Option<Rules>, Failure> {
    if !args.redact && args.redact_pattern.is_empty() {
        return Ok(None);
    }
    let rules = if args.redact {
        Rules::standard()
    } else {
        Rules::default()
    };
    let rules = rules.with_patterns(&args.redact_pattern);
    rules.map(Some).map_err(|(pattern, error)| {
        Failure::of(Kind::Usage, format!("redact what matches {pattern}"), &error)
            .hint("docs/cli.md#secrets says what a pattern may be; the syntax is that of the crate regex")
    })
}

impl Log {
    pub(super) fn new(artifact: ArtifactWriter, rules: Option<&Rules>) -> Self {
        Self {
            artifact,
            redactor: rules.cloned().map(Redactor::new),
            clean: Vec::new(),
        }
    }

    /// Makes it durable and records it, with what was replaced in it.
    pub(super) async fn finish(mut self) -> Result<Arc<Artifact>, ArtifactError> {
        if let Some(redactor) = &self.redactor {
            self.artifact.set_metadata(record(redactor).into());
        }
        self.artifact.finish().await
    }

    fn write_clean(&mut self) -> io::Result<()> {
        let written = self.artifact.write_all(&self.clean);
        self.clean.clear();
        written
    }
}

/// The names of all rules, and how many secrets those that found some have replaced.
fn record(redactor: &Redactor) -> Map<String, Value> {
    let rules: Vec<&str> = redactor.counts().map(|(rule, _)| rule).collect();
    let replaced = redactor.counts().filter(|(_, count)| *count > 0);
    let replaced: Map<String, Value> = replaced
        .map(|(rule, count)| (rule.to_owned(), count.into()))
        .collect();
    let redaction = json!({"rules": rules, "replaced": replaced});
    Map::from_iter([("redaction".to_owned(), redaction)])
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(redactor) = &mut self.redactor else {
            return self.artifact.write(bytes);
        };
        redactor.push(bytes, &mut self.clean);
        self.write_clean()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.artifact.flush()
    }
}

impl KeepBytes for Log {
    fn size(&self) -> u64 {
        self.artifact.size()
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(redactor) = &mut self.redactor {
            redactor.finish(&mut self.clean);
        }
        self.write_clean()
    }
}
