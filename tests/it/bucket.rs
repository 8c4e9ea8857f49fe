//! Two machines that share a bucket and nothing else, while the agent of one of them is killed again and again.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};

use serde_json::Value;
use test_servers::{FsServer, MotoServer};

use crate::Choices;
use crate::machine::Machine;

/// How often the agent is killed.
const KILLS: u64 = 8;

#[test]
fn two_machines_share_a_bucket_of_s3s_fs() {
    let server = FsServer::start();
    share("s3s-fs", &server.endpoint());
}

#[test]
fn two_machines_share_a_bucket_of_moto() {
    let server = MotoServer::start();
    share("moto", &server.endpoint());
}

#[expect(clippy::print_stdout, reason = "a scenario prints its numbers")]
fn share(server: &str, endpoint: &str) {
    let (agents, team) = (Machine::new(endpoint), Machine::new(endpoint));
    agents.ok(&["upgrade", "start", "up", "--plan", "p", "--cluster", "cluster-a"]);
    agents.ok(&["run", "up", "build", "--", "sh", "-c", "echo the nodes are ready"]);
    let acked = kill_again_and_again(&agents, &team);
    another_writer_of_the_same_name(endpoint);
    agents.ok(&["sync"]);

    let upgrades = team.remote(&["upgrade", "list"]);
    assert_eq!(ids(&upgrades["upgrades"], "upgrade_id"), ["other", "up", "up2"]);
    let shown = team.remote(&["upgrade", "show", "up"]);
    assert_eq!(shown["tasks"][0]["status"], "completed", "{shown}");
    let sessions = team.remote(&["session", "list"]);
    assert_eq!(ids(&sessions["sessions"], "session_id"), ["shared", "up"]);

    let found = team.remote(&["search", "--limit", "10000"]);
    let found = found["artifacts"].as_array().unwrap();
    let seen: BTreeMap<&str, &Value> = found
        .iter()
        .map(|artifact| (artifact["artifact_id"].as_str().unwrap(), artifact))
        .collect();
    let lost: Vec<_> = acked
        .iter()
        .filter(|(id, _)| !seen.contains_key(id.as_str()))
        .collect();
    assert!(lost.is_empty(), "acknowledged, and not in the bucket: {lost:?}");
    let same_name = found
        .iter()
        .filter(|one| one["name"] == "report.txt" && one["session_id"] == "shared")
        .count();
    assert_eq!(same_name, 2, "two machines, one name, two artifacts");
    // In the text of a log, and nowhere else.
    let by_text = team.remote(&["search", "round"]);
    assert!(!by_text["artifacts"].as_array().unwrap().is_empty(), "{by_text}");
    let mut verified = 0;
    for (id, artifact) in &seen {
        assert_eq!(artifact["status"], "uploaded", "{artifact}");
        if let Some(hash) = acked.get(*id) {
            assert_eq!(artifact["file_hash"], **hash);
        }
        verified += u32::from(team.downloads(id, artifact));
    }
    team.reads_by_presigned_address(found.last().unwrap());
    println!(
        "SCENARIO name=two_machines server={server} kills={KILLS} acked={} seen={} verified={verified} lost={}",
        acked.len(),
        seen.len(),
        lost.len()
    );
    assert_eq!(verified as usize, seen.len());
}

/// Kills the agent at moments of chance while its machine adds files to its session and the other one looks; returns the
/// artifacts that it was told are kept, with their hashes.
fn kill_again_and_again(agents: &Machine, team: &Machine) -> BTreeMap<String, String> {
    let (mut acked, mut choices) = (BTreeMap::new(), Choices::new(7));
    for round in 0..KILLS {
        let mut agent = agents.agent();
        let mut said = BufReader::new(agent.stdout.take().unwrap()).lines();
        for _ in 0..=choices.below(12) {
            let line = said
                .next()
                .expect("the agent goes on until it is killed")
                .unwrap();
            acked.extend(acknowledged(&line));
        }
        if round % 3 == 1 {
            let file = agents.file("beside.txt", &format!("round {round}"));
            let added = agents.ok(&["artifact", "add", "shared", "evidence", &file]);
            let artifact = &added["artifacts"][0];
            let text = |key: &str| artifact[key].as_str().unwrap().to_owned();
            acked.insert(text("artifact_id"), text("file_hash"));
        }
        if round % 3 == 2 {
            team.remote(&["session", "list"]);
        }
        agent.kill().unwrap();
        agent.wait().unwrap();
        // What it had said before it died counts.
        acked.extend(said.map_while(Result::ok).filter_map(|line| acknowledged(&line)));
    }
    let file = agents.file("report.txt", "from the first");
    agents.ok(&["artifact", "add", "shared", "evidence", &file]);
    acked
}

fn acknowledged(line: &str) -> Option<(String, String)> {
    let (id, hash) = line.strip_prefix("acked ")?.split_once(' ')?;
    Some((id.to_owned(), hash.to_owned()))
}

/// A third machine, which writes a session of the same id.
fn another_writer_of_the_same_name(endpoint: &str) {
    let machine = Machine::new(endpoint);
    machine.ok(&[
        "upgrade",
        "start",
        "other",
        "--plan",
        "p",
        "--cluster",
        "cluster-c",
    ]);
    machine.ok(&[
        "session",
        "create",
        "other",
        "--cluster",
        "cluster-c",
        "--id",
        "shared",
    ]);
    machine.ok(&["collection", "create", "shared", "Evidence", "--id", "evidence"]);
    let file = machine.file("report.txt", "from the second");
    machine.ok(&["artifact", "add", "shared", "evidence", &file]);
    machine.ok(&["sync"]);
}

fn ids(list: &Value, key: &str) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|one| one[key].as_str().unwrap().to_owned()).collect()
}
