//! Servers for tests, on the loopback, on ports that the system chooses. Each ends when it is dropped.
//!
//! [`FsServer`] runs in process and verifies signatures and checksums of single puts; [`MotoServer`] is an independent
//! implementation in Python, of EventBridge too, and [`NotifiedQueue`] what receives events there; [`ScriptedServer`]
//! answers what it is told, for faults; [`DelayProxy`] adds latency.
//!
//! ```
//! let server = test_servers::FsServer::start();
//! assert!(server.endpoint().starts_with("http://127.0.0.1:"));
//! assert!(server.file("logs/kubelet.log").ends_with("test-bucket/logs/kubelet.log"));
//! ```

mod bus;
mod fs;
mod moto;
mod proxy;
mod scripted;

pub use bus::NotifiedQueue;
pub use fs::FsServer;
pub use moto::MotoServer;
pub use proxy::DelayProxy;
pub use scripted::{Reply, Request, ScriptedServer};

use storage_s3::{RetryConfig, S3Config, StaticCredentials};

/// The bucket that every server has.
pub const BUCKET: &str = "test-bucket";
/// The access key that [`FsServer`] knows.
pub const ACCESS_KEY: &str = "TESTACCESSKEY";
/// Its secret.
pub const SECRET_KEY: &str = "test-secret-key";

/// The configuration of a store in [`BUCKET`] of the server at `endpoint`, which loses no time between attempts.
#[must_use]
pub fn config(endpoint: &str) -> S3Config {
    S3Config {
        bucket: Some(BUCKET.to_owned()),
        endpoint: Some(endpoint.into()),
        region: Some("us-east-1".to_owned()),
        credentials: Some(StaticCredentials::new(ACCESS_KEY, SECRET_KEY)),
        retry: RetryConfig {
            backoff: std::time::Duration::from_millis(1),
            max_backoff: std::time::Duration::from_millis(20),
            ..RetryConfig::default()
        },
        ..S3Config::default()
    }
}
