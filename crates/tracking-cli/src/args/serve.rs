//! Arguments of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::value::{host, origin};

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Serves all upgrades of the data directory over WebSocket, also while others write, until Ctrl-C.
Off loopback it needs a token and TLS. docs/websocket.md has the protocol and examples of
viewers.

Examples:
  ekstrack serve
  ekstrack serve --listen localhost:9000
  ekstrack serve --metrics-listen 127.0.0.1:9765
  ekstrack serve --listen 0.0.0.0:8765 --token-file token --certificate cert.pem --key key.pem --allow-host ops.example.com")]
pub(crate) struct ServeArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = tracking_facade::live::DEFAULT_ADDRESS)]
    pub(crate) listen: String,

    /// Where to offer metrics for Prometheus, at /metrics: an address of this machine, such as 127.0.0.1:9765
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics_listen: Option<SocketAddr>,

    /// File with the token that viewers must show, of at least 256 bits
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// PEM file with the certificate and its chain
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) certificate: Option<PathBuf>,

    /// PEM file with the certificate's key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,

    /// A proxy in front speaks TLS
    #[arg(long)]
    pub(crate) behind_tls_proxy: bool,

    /// A name under which viewers reach the server, such as ops.example.com; may be repeated
    #[arg(long, value_name = "HOST", value_parser = host)]
    pub(crate) allow_host: Vec<String>,

    /// Where pages that may connect come from, such as `https://dash.example.com`; may be repeated
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub(crate) allow_origin: Vec<String>,
}
