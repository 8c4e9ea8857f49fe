//! Views the upgrade at a URL and prints what happens: `cargo run -p stream-ws --example viewer -- ws://localhost:8765`.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use stream_ws::protocol::ServerMessage;
use stream_ws::{Client, ClientError, ClientEvent, ClientOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ClientError> {
    let url = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "ws://localhost:8765".to_owned());
    let mut client = Client::new(&url, ClientOptions::default())?;
    loop {
        match client.next().await? {
            ClientEvent::Message(ServerMessage::Summary(summary)) => {
                let summary = summary.data.summary;
                println!(
                    "{} is {} at {} %",
                    summary.upgrade_id,
                    summary.status,
                    summary.overall_percentage.value()
                );
            }
            ClientEvent::Message(ServerMessage::Progress(event)) => println!("{}", event.data.message),
            ClientEvent::Message(ServerMessage::Artifact(event)) => println!("kept {}", event.data.name),
            ClientEvent::Message(ServerMessage::Reset(_)) => println!("some events were missed"),
            ClientEvent::Stale { error, retry_in } => {
                println!("stale: {error}; trying again in {retry_in:.1?}")
            }
            _ => {}
        }
    }
}
