//! A bus in memory for scripts: it takes entries, or refuses them as it is told, and counts.

use std::sync::{Arc, Mutex};

use notify_eventbridge::{EventBridgeBuilder, EventBridgeSink};
use serde_json::{Value, json};
use test_servers::{Reply, Request, ScriptedServer};

/// What becomes of an entry: `None` if it is taken, else the code with which it is refused.
type Decide = dyn FnMut(&Value) -> Option<&'static str> + Send;

/// What the bus took: the entries as they were sent, with their detail read.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) entry: Value,
    pub(crate) detail: Value,
}

impl Taken {
    pub(crate) fn seq(&self) -> u64 {
        self.detail["seq"].as_u64().unwrap()
    }

    pub(crate) fn event_id(&self) -> String {
        self.detail["event_id"].as_str().unwrap().to_owned()
    }
}

pub(crate) struct FakeBus {
    taken: Mutex<Vec<Taken>>,
    decide: Mutex<Box<Decide>>,
}

impl FakeBus {
    /// Takes everything.
    pub(crate) fn new() -> Arc<Self> {
        Self::deciding(|_| None)
    }

    pub(crate) fn deciding(decide: impl FnMut(&Value) -> Option<&'static str> + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::default(),
            decide: Mutex::new(Box::new(decide)),
        })
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    pub(crate) fn seqs(&self) -> Vec<u64> {
        self.taken().iter().map(Taken::seq).collect()
    }

    pub(crate) fn event_ids(&self) -> Vec<String> {
        self.taken().iter().map(Taken::event_id).collect()
    }

    /// What AWS would answer.
    pub(crate) fn answer(&self, request: &Request) -> Reply {
        if is_look(request) {
            let arn = "arn:aws:events:us-east-1:123456789012:event-bus/ops";
            return answer(&json!({ "Arn": arn, "Name": "ops" }));
        }
        let mut failed = 0;
        let results: Vec<Value> = entries(request)
            .into_iter()
            .map(|entry| {
                if let Some(code) = (self.decide.lock().unwrap())(&entry) {
                    failed += 1;
                    return json!({ "ErrorCode": code, "ErrorMessage": "scripted" });
                }
                let detail = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
                self.taken.lock().unwrap().push(Taken { entry, detail });
                json!({ "EventId": "11710aed-b79e-4468-a20b-bb3c0c3b4860" })
            })
            .collect();
        answer(&json!({ "FailedEntryCount": failed, "Entries": results }))
    }

    /// A server in front of it.
    pub(crate) fn serve(self: &Arc<Self>) -> ScriptedServer {
        let bus = Arc::clone(self);
        ScriptedServer::start(move |request, _| bus.answer(request))
    }
}

/// Whether it asks for the bus and brings nothing.
pub(crate) fn is_look(request: &Request) -> bool {
    request.header("x-amz-target") == Some("AWSEvents.DescribeEventBus")
}

/// The entries of each call that brought some, taken or not.
pub(crate) fn puts(server: &ScriptedServer) -> Vec<Vec<Value>> {
    let requests = server.requests();
    let puts = requests.iter().filter(|request| !is_look(request));
    puts.map(entries).collect()
}

fn entries(request: &Request) -> Vec<Value> {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    body["Entries"].as_array().unwrap().clone()
}

pub(crate) fn answer(body: &Value) -> Reply {
    Reply::body(200, body.to_string().into_bytes()).with_header("content-type", "application/x-amz-json-1.1")
}

/// An error as EventBridge writes it.
pub(crate) fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::body(
        status,
        json!({ "__type": code, "message": message })
            .to_string()
            .into_bytes(),
    )
    .with_header("content-type", "application/x-amz-json-1.1")
    .with_header("x-amzn-requestid", "SCRIPTED-1")
}

/// A sink for the bus `ops` of the server at `endpoint`.
pub(crate) fn builder(endpoint: &str) -> EventBridgeBuilder {
    EventBridgeBuilder::new("ops")
        .endpoint(endpoint)
        .region("us-east-1")
        .credentials("AKIATEST", "secret")
}

pub(crate) fn sink(server: &ScriptedServer) -> EventBridgeSink {
    builder(&server.endpoint()).build().unwrap()
}
