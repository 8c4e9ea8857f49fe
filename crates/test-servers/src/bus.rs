//! A bus of EventBridge on `moto_server`, and a queue in which everything arrives that a rule on it chooses.

use serde_json::{Value, json};

use crate::MotoServer;

/// A bus `ops`, a rule on it, and the queue that the rule sends to, on a server of their own.
#[derive(Debug)]
pub struct NotifiedQueue {
    server: MotoServer,
    url: String,
}

impl NotifiedQueue {
    /// Starts a server; the rule chooses what matches the event pattern.
    ///
    /// # Panics
    /// As [`MotoServer::start`], or if the server does not take the pattern.
    #[must_use]
    pub fn start(pattern: &Value) -> Self {
        let server = MotoServer::start();
        let events = |action: &str, body: &Value| server.call("events", &format!("AWSEvents.{action}"), body);
        events("CreateEventBus", &json!({ "Name": "ops" }));
        let made = server.call(
            "sqs",
            "AmazonSQS.CreateQueue",
            &json!({ "QueueName": "notified" }),
        );
        events(
            "PutRule",
            &json!({ "Name": "rule", "EventBusName": "ops", "EventPattern": pattern.to_string() }),
        );
        let target = json!({ "Id": "queue", "Arn": "arn:aws:sqs:us-east-1:123456789012:notified" });
        events(
            "PutTargets",
            &json!({ "Rule": "rule", "EventBusName": "ops", "Targets": [target] }),
        );
        let url = made["QueueUrl"].as_str().expect("a queue has an address");
        Self {
            url: url.to_owned(),
            server,
        }
    }

    /// The server that has the bus.
    #[must_use]
    pub const fn server(&self) -> &MotoServer {
        &self.server
    }

    /// Takes every event out of the queue, in the order in which it is given out.
    ///
    /// # Panics
    /// If the server does not answer, or with what is no event.
    #[must_use]
    pub fn take(&self) -> Vec<Value> {
        let mut taken = Vec::new();
        loop {
            let ask = json!({ "QueueUrl": self.url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0 });
            let answer = self.server.call("sqs", "AmazonSQS.ReceiveMessage", &ask);
            let Some(messages) = answer["Messages"]
                .as_array()
                .filter(|messages| !messages.is_empty())
            else {
                return taken;
            };
            for message in messages {
                let event = message["Body"].as_str().expect("a message has a body");
                taken.push(serde_json::from_str(event).expect("an event is JSON"));
                let done = json!({ "QueueUrl": self.url, "ReceiptHandle": message["ReceiptHandle"] });
                self.server.call("sqs", "AmazonSQS.DeleteMessage", &done);
            }
        }
    }
}
