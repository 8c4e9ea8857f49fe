//! The conformance suite, on two independent servers.

use artifact_core::conformance;
use test_servers::{FsServer, MotoServer};

use crate::support::{honoured, open_store};

#[tokio::test]
async fn the_store_conforms_on_s3s_fs() {
    let server = FsServer::start();
    // It honours conditions of requests one after the other, which is all that the suite makes; the probe would also
    // see what it does under contention.
    let store = open_store(honoured(server.config()));
    conformance::store(&store).await;
    store.close().await;
}

#[tokio::test]
async fn the_store_conforms_on_moto() {
    let server = MotoServer::start();
    let store = open_store(server.config());
    conformance::store(&store).await;
    store.close().await;
}
