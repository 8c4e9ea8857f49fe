//! What the files of the simulated upgrade contain: plausible, made up, and the same for the same file.

use std::fmt::Write as _;

use serde_json::json;
use tracking_facade::ArtifactType;

use super::plan::{CLUSTER, FROM, TO, Task, all};

/// Lines of a log, rows of measurements.
const LINES: u64 = 60;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Log,
    TestResults,
    Inventory,
    Manifest,
    Backup,
    Measurements,
    Chart,
    Report,
}

impl Content {
    pub(super) const fn artifact_type(self) -> ArtifactType {
        match self {
            Self::Log => ArtifactType::LogFile,
            Self::TestResults => ArtifactType::TestResult,
            Self::Inventory => ArtifactType::Diagnostic,
            Self::Manifest => ArtifactType::Configuration,
            Self::Backup => ArtifactType::Backup,
            Self::Measurements => ArtifactType::MetricsData,
            Self::Chart => ArtifactType::Screenshot,
            Self::Report => ArtifactType::Report,
        }
    }

    /// The text that `task` leaves in the file `name`.
    pub(super) fn text(self, name: &str, task: &Task) -> String {
        match self {
            Self::Log => log(name, task),
            Self::TestResults => test_results(task),
            Self::Inventory => inventory(),
            Self::Manifest => manifest(task),
            Self::Backup => backup(),
            Self::Measurements => measurements(name),
            Self::Chart => chart(),
            Self::Report => report(task),
        }
    }
}

/// A number below `below` that looks random and depends on `seed` and `n` alone (SplitMix64).
const fn noise(seed: u64, n: u64, below: u64) -> u64 {
    let mut x = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (x ^ (x >> 31)) % below
}

/// One of `choices`, as [`noise`].
fn one_of<'a>(choices: &[&'a str], seed: u64, n: u64) -> &'a str {
    let at = noise(seed, n, choices.len() as u64);
    choices[usize::try_from(at).expect("it is below the number of choices")]
}

fn seed(name: &str) -> u64 {
    name.bytes().fold(17, |sum: u64, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    })
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

fn log(name: &str, task: &Task) -> String {
    let seed = seed(name);
    let mut text = format!("# {CLUSTER}: {} (simulated)\n", task.name);
    for minute in 0..LINES {
        let second = noise(seed, minute, 60);
        let (a, b) = (noise(seed, minute + 100, 16), noise(seed, minute + 200, 250));
        let what = match noise(seed, minute + 300, 4) {
            0 => format!("INFO  node ip-10-0-{a}-{b} registered, kubelet v{TO}.2"),
            1 => format!("INFO  pod kube-system/aws-node-{a:02x}{b:02x} is ready"),
            2 => format!("DEBUG the cluster was described in {} ms", b + 20),
            _ => format!("INFO  node ip-10-0-{a}-{b} has Ready=True"),
        };
        line(&mut text, &format!("02:{minute:02}:{second:02} {what}"));
    }
    if name.contains("failure") {
        text.push_str("03:00:07 ERROR InsufficientInstanceCapacity: no g5.2xlarge in eu-west-1b\n");
    }
    text
}

fn test_results(task: &Task) -> String {
    let tests = 12;
    let mut text = format!(
        "<testsuite name=\"{}\" tests=\"{tests}\" failures=\"0\">\n",
        task.id
    );
    for test in 0..tests {
        let millis = 20 + noise(seed(task.id), test, 900);
        let case = format!("  <testcase name=\"check {}\" time=\"0.{millis:03}\"/>", test + 1);
        line(&mut text, &case);
    }
    line(&mut text, "</testsuite>");
    text
}

fn inventory() -> String {
    let node = |n| {
        json!({
            "name": format!("ip-10-0-{}-{}", noise(3, n, 4), noise(5, n, 250)),
            "group": if n < 5 { "general-blue" } else { "compute-blue" },
            "kubelet": format!("v{FROM}.4"),
            "pods": 12 + noise(7, n, 30),
        })
    };
    let nodes: Vec<_> = (0..8).map(node).collect();
    let document = json!({ "cluster": CLUSTER, "version": FROM, "nodes": nodes });
    format!("{document:#}\n")
}

fn manifest(task: &Task) -> String {
    let mut text = format!(
        "# {} (simulated)\ncluster: {CLUSTER}\nfrom: \"{FROM}\"\nto: \"{TO}\"\nsteps:\n",
        task.name
    );
    for (_, task) in all() {
        line(
            &mut text,
            &format!("  - id: {}\n    name: {}", task.id, task.name),
        );
    }
    text
}

fn backup() -> String {
    let item = |n| {
        json!({
            "kind": one_of(&["Deployment", "Service", "ConfigMap", "Ingress"], 2, n),
            "namespace": one_of(&["shop", "billing", "search"], 3, n),
            "name": format!("{}-{n}", one_of(&["web", "api", "worker"], 5, n)),
            "generation": noise(13, n, 90),
        })
    };
    let items: Vec<_> = (0..40).map(item).collect();
    let document = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    format!("{document:#}\n")
}

fn measurements(name: &str) -> String {
    let seed = seed(name);
    let mut text = "second,requests,errors,p50_ms,p99_ms\n".to_owned();
    for second in 0..LINES {
        let requests = 900 + noise(seed, second, 200);
        let errors = noise(seed, second + 100, 12) / 11;
        let (p50, p99) = (
            8 + noise(seed, second + 200, 5),
            40 + noise(seed, second + 300, 35),
        );
        line(&mut text, &format!("{second},{requests},{errors},{p50},{p99}"));
    }
    text
}

fn chart() -> String {
    let shares = [0, 10, 25, 50, 75, 100].iter().enumerate();
    let points: Vec<String> = shares
        .map(|(step, percent)| format!("{},{}", 20 + step * 50, 130 - percent))
        .collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"300\" height=\"150\">\n  \
         <title>Share of traffic on green (simulated)</title>\n  \
         <polyline fill=\"none\" stroke=\"green\" points=\"{}\"/>\n</svg>\n",
        points.join(" ")
    )
}

fn report(task: &Task) -> String {
    format!(
        "# {}\n\nCluster `{CLUSTER}`, from {FROM} to {TO}, blue/green. Simulated.\n\n\
         | service | blue errors | green errors |\n|---|---|---|\n\
         | web | 0.02 % | 0.02 % |\n| api | 0.03 % | 0.02 % |\n| worker | 0.00 % | 0.00 % |\n\n\
         {} tasks. The node group gpu-green failed once, for lack of capacity, and was retried.\n",
        task.name,
        all().len(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_file_has_content_of_its_own() {
        let texts = || {
            let tasks = all().into_iter();
            tasks.flat_map(|(_, task)| task.leaves.iter().map(|file| file.content.text(file.name, task)))
        };
        assert!(texts().all(|text| text.len() > 100));
        assert_eq!(texts().collect::<HashSet<_>>().len(), texts().count());
        for json in [inventory(), backup()] {
            assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
    }
}
