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

use storage_s3::{Patience, S3StoreBuilder};

/// The bucket that every server has.
pub const BUCKET: &str = "test-bucket";
/// The access key that [`FsServer`] knows.
pub const ACCESS_KEY: &str = "TESTACCESSKEY";
/// Its secret.
pub const SECRET_KEY: &str = "test-secret-key";

/// A store in [`BUCKET`] of the server at `endpoint`, which loses no time between attempts.
#[must_use]
pub fn builder(endpoint: &str) -> S3StoreBuilder {
    let mut patience = Patience::default();
    patience.backoff = std::time::Duration::from_millis(1);
    patience.max_backoff = std::time::Duration::from_millis(20);
    S3StoreBuilder::new(BUCKET)
        .endpoint(endpoint)
        .region("us-east-1")
        .credentials(ACCESS_KEY, SECRET_KEY)
        .patience(patience)
}
