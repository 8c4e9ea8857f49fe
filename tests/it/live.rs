//! An upgrade that people follow live: viewers come and go, EventBridge is down for half of it, and the agent is killed in
//! the middle. Nobody misses anything.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify_eventbridge::EventBridgeBuilder;
use serde_json::{Value, json};
use test_servers::{MotoServer, NotifiedQueue};

use crate::machine::ekstrack;

const TASKS: usize = 40;
const VIEWERS: usize = 4;

/// Connects, is cut off after some messages, comes back and resumes, until the upgrade is over; prints what it got.
const VIEWER: &str = r#"
import asyncio, json, random, sys
import websockets

async def main(url, seed):
    choice, epoch, seqs, visits = random.Random(seed), None, [], 0
    while True:
        visits += 1
        place = f"{url}/?upgrade=up" + (f"&epoch={epoch}&since={seqs[-1] if seqs else 0}" if epoch else "")
        async with websockets.connect(place, max_queue=None) as socket:
            left = choice.randrange(1, 12)
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "reset":
                    sys.exit("what was known is void")
                if message["type"] == "progress_summary" and epoch is None:
                    epoch = message["data"]["epoch"]
                    break
                if message["type"] == "progress_event":
                    seqs.append(message["data"]["seq"])
                    if message["data"]["type"] == "upgrade.completed":
                        print(json.dumps({"seqs": seqs, "visits": visits}))
                        return
                    left -= 1
                    if left == 0:
                        if visits % 2:
                            socket.transport.abort()
                        break

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"#;

#[test]
fn viewers_and_the_queue_get_every_event_of_an_upgrade_whose_agent_is_killed() {
    let notified = NotifiedQueue::start(&json!({ "source": ["eks-upgrade-agent"] }));
    let gate = Gate::new(notified.server().address());
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let mut agent = Agent::start(&data, &gate.endpoint());
    agent.completes_until(0);
    let server = Serving::start(&data);
    let viewers: Vec<Child> = (0..VIEWERS).map(|seed| viewer(&server.url, seed)).collect();
    agent.completes_until(TASKS / 4);
    gate.open(false);
    agent.completes_until(TASKS / 2);
    agent.kill();
    let mut agent = Agent::start(&data, &gate.endpoint());
    agent.completes_until(TASKS * 3 / 4);
    gate.open(true);
    agent.completes_until(TASKS - 1);
    agent.ends();

    let journal = journal(&data);
    let told = told_locally(home.path(), &data);
    let mut visits = 0;
    for viewer in viewers {
        let output = viewer.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let got: Value = serde_json::from_slice(&output.stdout).unwrap();
        let seqs: Vec<u64> = serde_json::from_value(got["seqs"].clone()).unwrap();
        assert_eq!(seqs, told, "each event once, in order");
        visits += got["visits"].as_u64().unwrap();
    }
    let announced = announced(&journal);
    let received = received(&notified);
    let missed = announced.keys().filter(|id| !received.contains_key(*id)).count();
    let invented = received.keys().filter(|id| !announced.contains_key(*id)).count();
    let repeated: usize = received.values().map(|times| times - 1).sum();
    println!(
        "SCENARIO name=live viewers={VIEWERS} visits={visits} events={} announced={} received={} missed={missed} \
         repeated_with_the_same_id={repeated}",
        told.len(),
        announced.len(),
        received.len(),
    );
    assert_eq!((missed, invented), (0, 0));
    assert!(visits > VIEWERS as u64 * 2, "viewers came and went");
}

fn viewer(url: &str, seed: usize) -> Child {
    Command::new(MotoServer::python())
        .args(["-c", VIEWER, url, &seed.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The records of the upgrade's journal.
fn journal(data: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(data.join("progress/upgrade_up.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The sequences of what a watcher on the machine is told.
fn told_locally(home: &Path, data: &Path) -> Vec<u64> {
    let output = Command::new(ekstrack())
        .args([
            "--json",
            "--data-dir",
            data.to_str().unwrap(),
            "watch",
            "up",
            "--since",
            "0",
        ])
        .current_dir(home)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let messages = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    messages
        .filter(|message| message["type"] == "progress_event")
        .map(|message| message["data"]["seq"].as_u64().unwrap())
        .collect()
}

/// The ids of the records that are to be announced, with their kinds.
fn announced(journal: &[Value]) -> BTreeMap<String, String> {
    let sink = EventBridgeBuilder::new("ops")
        .region("us-east-1")
        .build()
        .unwrap();
    let kinds: Vec<&str> = sink.event_types().collect();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    journal
        .iter()
        .filter(|record| kinds.contains(&record["type"].as_str().unwrap()))
        .map(|record| (text(&record["id"]), text(&record["type"])))
        .collect()
}

/// An agent that completes a task for each line that it is given.
struct Agent {
    process: Child,
    input: ChildStdin,
    said: std::io::Lines<BufReader<std::process::ChildStdout>>,
    /// Whether it has completed a task and waits.
    waits: bool,
}

impl Agent {
    fn start(data: &Path, endpoint: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_live-agent"))
            .args([data.to_str().unwrap(), endpoint, &TASKS.to_string()])
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: process.stdin.take().unwrap(),
            said: BufReader::new(process.stdout.take().unwrap()).lines(),
            process,
            waits: false,
        }
    }

    /// Lets it go on until it has completed this task, after which it waits.
    fn completes_until(&mut self, task: usize) {
        let last = format!("task task-{task}");
        if std::mem::replace(&mut self.waits, true) {
            self.go_on();
        }
        while self.said.next().expect("it says what it does").unwrap() != last {
            self.go_on();
        }
    }

    fn go_on(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn ends(mut self) {
        self.go_on();
        assert!(self.process.wait().unwrap().success());
    }
}

/// `ekstrack serve` over a data directory.
struct Serving {
    process: Child,
    url: String,
}

impl Serving {
    fn start(data: &Path) -> Self {
        let mut process = Command::new(ekstrack())
            .args([
                "--json",
                "--data-dir",
                data.to_str().unwrap(),
                "serve",
                "--listen",
                "127.0.0.1:0",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let url = said["listening"][0].as_str().unwrap().to_owned();
        Self { process, url }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The way to a server, which can be closed: then connections are taken and broken.
struct Gate {
    address: SocketAddr,
    is_open: Arc<AtomicBool>,
}

impl Gate {
    fn new(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_open = Arc::new(AtomicBool::new(true));
        let open = Arc::clone(&is_open);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                if open.load(Ordering::SeqCst) {
                    pass(client, TcpStream::connect(upstream).unwrap(), &open);
                }
            }
        });
        Self { address, is_open }
    }

    fn open(&self, open: bool) {
        self.is_open.store(open, Ordering::SeqCst);
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Passes bytes on in both directions, what the client says only while the gate is open.
fn pass(client: TcpStream, server: TcpStream, open: &Arc<AtomicBool>) {
    let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let open = Arc::clone(open);
    std::thread::spawn(move || copy(from_client, to_server, &|| open.load(Ordering::SeqCst)));
    std::thread::spawn(move || copy(server, client, &|| true));
}

fn copy(mut from: TcpStream, mut to: TcpStream, may: &dyn Fn() -> bool) {
    let mut buffer = [0; 4096];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        let passed = read > 0 && may() && to.write_all(buffer.get(..read).unwrap()).is_ok();
        if !passed {
            for end in [&from, &to] {
                match end.shutdown(std::net::Shutdown::Both) {
                    // It may be gone already.
                    Ok(()) | Err(_) => {}
                }
            }
            return;
        }
    }
}

/// How often each event is in the queue, by its id.
fn received(notified: &NotifiedQueue) -> BTreeMap<String, usize> {
    let mut received = BTreeMap::new();
    for event in notified.take() {
        let id = event["detail"]["event_id"].as_str().unwrap().to_owned();
        *received.entry(id).or_insert(0) += 1;
    }
    received
}
