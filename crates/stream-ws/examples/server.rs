//! Serves a data directory: `cargo run -p stream-ws --example server -- DIR [ADDRESS]`.
#![expect(
    clippy::print_stdout,
    reason = "whoever runs it wants to know where it listens"
)]

use stream_ws::{DEFAULT_ADDRESS, Hub, ServerOptions, bind, serve};
use tokio_util::sync::CancellationToken;
use tracking_journal::DataDir;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dir = DataDir::existing(arguments.first().ok_or("give a data directory")?)?;
    let listeners = bind(arguments.get(1).map_or(DEFAULT_ADDRESS, String::as_str)).await?;
    for listener in &listeners {
        println!("ws://{}", listener.local_addr()?);
    }
    let (hub, shutdown) = (Hub::new(dir), CancellationToken::new());
    serve(listeners, hub.clone(), ServerOptions::default(), shutdown).await?;
    hub.close().await;
    Ok(())
}
