//! Metrics for Prometheus, on a port of their own: one request a connection, and nothing but `GET /metrics`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::exit::{Failure, Kind};

/// The longest head of a request.
const MOST_HEAD: usize = 8 << 10;
/// How long a request and its answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once; the one that came first goes.
const MOST_CONNECTIONS: usize = 16;

/// Records what the server counts from now on, and tells whoever asks.
#[derive(Debug)]
pub(super) struct Metrics {
    listener: TcpListener,
    handle: PrometheusHandle,
}

impl Metrics {
    /// Listens at an address of this machine alone: metrics have no token and no TLS.
    pub(super) async fn listen(address: SocketAddr) -> Result<Self, Failure> {
        let attempted = || format!("offer metrics on {address}");
        if !address.ip().is_loopback() {
            let cause = "metrics have neither a token nor TLS, so they are offered on the loopback alone";
            return Err(Failure::new(Kind::Usage, attempted(), cause)
                .hint("let a proxy that asks for a token pass them on"));
        }
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| Failure::of(Kind::Unavailable, attempted(), &error))?;
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder)
            .map_err(|error| Failure::of(Kind::Failed, attempted(), &error))?;
        Ok(Self { listener, handle })
    }

    /// `http://127.0.0.1:9090/metrics`
    pub(super) fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}/metrics", self.listener.local_addr()?))
    }

    /// Answers for ever.
    pub(super) async fn serve(self) -> std::convert::Infallible {
        let mut answering = JoinSet::new();
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if answering.len() >= MOST_CONNECTIONS {
                        answering.abort_all();
                    }
                    let handle = self.handle.clone();
                    answering.spawn(async move {
                        // Whoever asked and went away misses nothing.
                        match timeout(PATIENCE, answer(stream, &handle)).await {
                            Ok(Ok(())) | Ok(Err(_)) | Err(_) => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection for metrics");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            while answering.try_join_next().is_some() {}
        }
    }
}

async fn answer(mut stream: TcpStream, handle: &PrometheusHandle) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await?;
        if read == 0 || head.len() > MOST_HEAD {
            return Ok(());
        }
        head.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
    let (status, body) = if !is_asked_as_this_machine(&head) {
        ("403 Forbidden", "ask for localhost\n".to_owned())
    } else if head.starts_with(b"GET /metrics ") || head.starts_with(b"GET /metrics?") {
        handle.run_upkeep();
        ("200 OK", handle.render())
    } else if head.starts_with(b"GET ") {
        ("404 Not Found", "metrics are at /metrics\n".to_owned())
    } else {
        ("405 Method Not Allowed", "only GET is answered\n".to_owned())
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// A page of elsewhere may have its name lead to the loopback, but names itself as the host.
fn is_asked_as_this_machine(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut hosts = head.lines().filter_map(|line| line.strip_prefix("host:"));
    let is_ours = |host: &str| {
        let host = host.trim();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        matches!(name, "localhost" | "127.0.0.1" | "[::1]")
    };
    hosts.next().is_some_and(is_ours) && hosts.next().is_none()
}
