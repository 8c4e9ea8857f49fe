//! The reference's way: boto3.

use std::path::Path;
use std::process::Command;

use scenarios::measure::output_of;
use test_servers::{ACCESS_KEY, BUCKET, MotoServer, SECRET_KEY};

use super::work::Spent;

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/s3/boto3_client.py");

/// Transfers all files of `dir`, or to it, with so many threads, under keys that begin with `prefix`.
pub(crate) fn run(action: &str, endpoint: &str, dir: &Path, prefix: &str, threads: usize) -> Spent {
    let mut client = Command::new(MotoServer::python());
    client
        .arg(CLIENT)
        .args([action, endpoint, BUCKET])
        .arg(dir)
        .args([prefix, &threads.to_string()])
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let spent: serde_json::Value = serde_json::from_str(&output_of(&mut client)).unwrap();
    Spent {
        seconds: spent["seconds"].as_f64().unwrap(),
        cpu: spent["cpu"].as_f64().unwrap(),
        server_cpu: 0.0,
    }
}
