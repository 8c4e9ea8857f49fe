//! What a file most likely is, by its name and by its first bytes.

use infer::MatcherType;

use crate::ArtifactType;

impl ArtifactType {
    /// What a file of this name most likely is: by its extension where that tells, else by the words in its name,
    /// else a log file.
    #[must_use]
    pub fn guess(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        by_name(&name)
            .or_else(|| by_container(extension(&name)))
            .unwrap_or_default()
    }

    /// What a file of this name that begins so most likely is. The name counts first; where it tells nothing, or no more
    /// than the form, as `.json` or `.xml` do, the bytes do. A KiB of them is enough.
    #[must_use]
    pub fn guess_with(name: &str, head: &[u8]) -> Self {
        let name = name.to_ascii_lowercase();
        by_name(&name)
            .or_else(|| by_magic(head))
            .or_else(|| by_text(head))
            .or_else(|| by_container(extension(&name)))
            .unwrap_or_default()
    }
}

fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// By a name that says what is in the file.
fn by_name(name: &str) -> Option<ArtifactType> {
    let has_word = |words: &[&str]| {
        name.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| words.contains(&word))
    };
    match extension(name) {
        "png" | "jpg" | "jpeg" | "gif" | "webp" | "bmp" | "svg" => return Some(ArtifactType::Screenshot),
        "log" | "out" | "err" | "stdout" | "stderr" => return Some(ArtifactType::LogFile),
        "pprof" | "pcap" | "pcapng" | "core" | "hprof" | "trace" | "dmp" => {
            return Some(ArtifactType::Diagnostic);
        }
        "prom" | "metrics" => return Some(ArtifactType::MetricsData),
        "bak" | "sql" | "etcd" => return Some(ArtifactType::Backup),
        "tap" | "trx" => return Some(ArtifactType::TestResult),
        _ => {}
    }
    if has_word(&["junit", "test", "tests", "result", "results", "coverage"]) {
        Some(ArtifactType::TestResult)
    } else if has_word(&["metric", "metrics", "prometheus", "latency", "usage"]) {
        Some(ArtifactType::MetricsData)
    } else if has_word(&["report", "summary"]) {
        Some(ArtifactType::Report)
    } else if has_word(&["backup", "snapshot"]) {
        Some(ArtifactType::Backup)
    } else if has_word(&[
        "diagnostic",
        "diagnostics",
        "describe",
        "events",
        "debug",
        "heap",
        "trace",
    ]) {
        Some(ArtifactType::Diagnostic)
    } else {
        None
    }
}

/// By an extension that says how something is written, not what.
fn by_container(extension: &str) -> Option<ArtifactType> {
    match extension {
        "html" | "htm" | "pdf" | "md" | "docx" => Some(ArtifactType::Report),
        "csv" | "tsv" | "parquet" => Some(ArtifactType::MetricsData),
        "yaml" | "yml" | "toml" | "ini" | "conf" | "cfg" | "json" | "properties" | "env" | "tf"
        | "tfvars" => Some(ArtifactType::Configuration),
        "tar" | "tgz" | "zip" | "db" | "dump" => Some(ArtifactType::Backup),
        _ => None,
    }
}

/// By the magic number of a binary format.
fn by_magic(head: &[u8]) -> Option<ArtifactType> {
    const DIAGNOSTIC: [&[u8]; 6] = [
        // pcap, in both orders of bytes and with both kinds of times, and pcapng.
        b"\xd4\xc3\xb2\xa1",
        b"\xa1\xb2\xc3\xd4",
        b"\x4d\x3c\xb2\xa1",
        b"\xa1\xb2\x3c\x4d",
        b"\x0a\x0d\x0d\x0a",
        b"JAVA PROFILE ",
    ];
    let begins = |magic: &[u8]| head.starts_with(magic);
    if is_core_dump(head) || DIAGNOSTIC.into_iter().any(begins) {
        return Some(ArtifactType::Diagnostic);
    }
    if begins(b"PGDMP") || begins(b"REDIS0") {
        return Some(ArtifactType::Backup);
    }
    if begins(b"PAR1") {
        return Some(ArtifactType::MetricsData);
    }
    let found = infer::get(head)?;
    match (found.matcher_type(), found.mime_type()) {
        (_, "application/pdf" | "application/rtf") | (MatcherType::Doc, _) => Some(ArtifactType::Report),
        (MatcherType::Image | MatcherType::Video, _) => Some(ArtifactType::Screenshot),
        (MatcherType::Archive, _) => Some(ArtifactType::Backup),
        // What is text is looked at as text; what else is binary is a log as little as anything else.
        (
            MatcherType::App
            | MatcherType::Audio
            | MatcherType::Book
            | MatcherType::Font
            | MatcherType::Text
            | MatcherType::Custom,
            _,
        ) => None,
    }
}

/// An ELF file of the type `ET_CORE`.
fn is_core_dump(head: &[u8]) -> bool {
    const BIG_ENDIAN: u8 = 2;
    if !head.starts_with(b"\x7fELF") {
        return false;
    }
    match head.get(5) {
        Some(&BIG_ENDIAN) => head.get(16..18) == Some(&[0, 4]),
        _ => head.get(16..18) == Some(&[4, 0]),
    }
}

/// By the beginning of a text.
fn by_text(head: &[u8]) -> Option<ArtifactType> {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let begins = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    let has_line = |start: &str| text.lines().any(|line| line.starts_with(start));
    if text.starts_with('<') {
        return by_markup(&text.to_ascii_lowercase());
    }
    if begins(&["TAP version ", "=== RUN ", "{\"Time\":\"", "{\"Action\":\""])
        || text.contains(" test session starts ")
    {
        let is_go_json = !text.starts_with('{') || text.contains("\"Package\":");
        return is_go_json.then_some(ArtifactType::TestResult);
    }
    if has_line("# HELP ") || has_line("# TYPE ") {
        return Some(ArtifactType::MetricsData);
    }
    if begins(&[
        "-- PostgreSQL database dump",
        "-- MySQL dump",
        "--\n-- PostgreSQL database",
    ]) {
        return Some(ArtifactType::Backup);
    }
    if begins(&[
        "goroutine ",
        "Traceback (most recent call last)",
        "Full thread dump",
    ]) || (text.starts_with("Name:") && (has_line("Namespace:") || has_line("Labels:")))
    {
        return Some(ArtifactType::Diagnostic);
    }
    by_manifest(text)
}

fn by_markup(text: &str) -> Option<ArtifactType> {
    let has = |tags: &[&str]| tags.iter().any(|tag| text.contains(tag));
    if has(&["<testsuite", "<testrun", "<test-run", "<assemblies", "<coverage"]) {
        Some(ArtifactType::TestResult)
    } else if has(&["<!doctype html", "<html"]) {
        Some(ArtifactType::Report)
    } else if has(&["<svg"]) {
        Some(ArtifactType::Screenshot)
    } else {
        None
    }
}

/// Manifests of Kubernetes, in YAML or JSON. Events are no configuration.
fn by_manifest(text: &str) -> Option<ArtifactType> {
    let has_key = |key: &str| {
        let quoted = format!("\"{key}\":");
        text.lines().any(|line| {
            line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')) || line.contains(&quoted)
        })
    };
    if !(has_key("apiVersion") && has_key("kind")) {
        return None;
    }
    let is_events = ["kind: Event", "\"kind\": \"Event", "\"kind\":\"Event"]
        .iter()
        .any(|kind| text.contains(kind));
    Some(if is_events {
        ArtifactType::Diagnostic
    } else {
        ArtifactType::Configuration
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_guessed_from_names() {
        for (name, kind) in [
            ("build.log", ArtifactType::LogFile),
            ("test-run.log", ArtifactType::LogFile),
            ("junit.xml", ArtifactType::TestResult),
            ("conformance-results.json", ArtifactType::TestResult),
            ("node.yaml", ArtifactType::Configuration),
            ("Screen Shot.PNG", ArtifactType::Screenshot),
            ("latency.csv", ArtifactType::MetricsData),
            ("etcd-backup.tar.gz", ArtifactType::Backup),
            ("upgrade-report.html", ArtifactType::Report),
            ("describe-nodes.txt", ArtifactType::Diagnostic),
            ("whatever", ArtifactType::LogFile),
        ] {
            assert_eq!(ArtifactType::guess(name), kind, "{name}");
            assert_eq!(ArtifactType::guess_with(name, b""), kind, "{name}");
            assert_eq!(
                ArtifactType::guess_with(name, b"2025-01-31 ready\n"),
                kind,
                "{name}"
            );
        }
    }

    #[test]
    fn types_are_guessed_from_content_where_names_do_not_tell() {
        let tar = [&[0; 257][..], b"ustar\x0000"].concat();
        let core = [&b"\x7fELF\x02\x01\x01\x00"[..], &[0; 8], b"\x04\x00\x3e\x00"].concat();
        let program = [&b"\x7fELF\x02\x01\x01\x00"[..], &[0; 8], b"\x02\x00\x3e\x00"].concat();
        let junit = b"<?xml version=\"1.0\"?>\n<testsuites name=\"e2e\">";
        let cases: [(&str, &[u8], ArtifactType); 24] = [
            ("out.xml", junit, ArtifactType::TestResult),
            ("1", b"\xef\xbb\xbf<testsuite>", ArtifactType::TestResult),
            ("1", b"TAP version 14\n1..2\n", ArtifactType::TestResult),
            (
                "go.json",
                b"{\"Time\":\"2025\",\"Action\":\"run\",\"Package\":\"p\"}",
                ArtifactType::TestResult,
            ),
            (
                "app.json",
                b"{\"Time\":\"2025\",\"msg\":\"hello\"}",
                ArtifactType::Configuration,
            ),
            (
                "scrape.txt",
                b"# HELP up Is it up\n# TYPE up gauge\nup 1\n",
                ArtifactType::MetricsData,
            ),
            ("1", b"PAR1\x15\x04", ArtifactType::MetricsData),
            (
                "nodes",
                b"apiVersion: v1\nkind: List\n",
                ArtifactType::Configuration,
            ),
            (
                "nodes",
                b"{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"List\"\n}",
                ArtifactType::Configuration,
            ),
            (
                "x.yaml",
                b"apiVersion: v1\nkind: Event\n",
                ArtifactType::Diagnostic,
            ),
            ("page", b"<!DOCTYPE html>\n<html>", ArtifactType::Report),
            ("paper", b"%PDF-1.7\n", ArtifactType::Report),
            ("shot", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ArtifactType::Screenshot),
            ("shot", b"<svg xmlns=\"x\">", ArtifactType::Screenshot),
            ("dump", &core, ArtifactType::Diagnostic),
            ("tool", &program, ArtifactType::LogFile),
            (
                "wire",
                b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00",
                ArtifactType::Diagnostic,
            ),
            ("stacks", b"goroutine 1 [running]:\n", ArtifactType::Diagnostic),
            (
                "pod.txt",
                b"Name:         web-0\nNamespace:    default\n",
                ArtifactType::Diagnostic,
            ),
            ("all.gz", b"\x1f\x8b\x08\x00", ArtifactType::Backup),
            ("all", &tar, ArtifactType::Backup),
            ("state", b"SQLite format 3\0", ArtifactType::Backup),
            ("1", b"-- MySQL dump 10.13\n", ArtifactType::Backup),
            ("all", b"PK\x03\x04\x14\x00", ArtifactType::Backup),
        ];
        for (name, head, kind) in cases {
            let shown = String::from_utf8_lossy(head);
            assert_eq!(ArtifactType::guess_with(name, head), kind, "{name}: {shown}");
        }
    }

    #[test]
    fn a_name_that_tells_counts_more_than_content() {
        let manifest = b"apiVersion: v1\nkind: List\n";
        for (name, kind) in [
            ("kubectl.log", ArtifactType::LogFile),
            ("cluster-backup.yaml", ArtifactType::Backup),
            ("events.json", ArtifactType::Diagnostic),
        ] {
            assert_eq!(ArtifactType::guess_with(name, manifest), kind, "{name}");
        }
    }
}
