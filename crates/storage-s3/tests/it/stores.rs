//! The conformance suite, on two independent servers.

use artifact_core::conformance;
use storage_s3::ConditionalWrites;
use test_servers::{FsServer, MotoServer};

#[tokio::test]
async fn the_store_conforms_on_s3s_fs() {
    let server = FsServer::start();
    // It honours conditions of requests one after the other, which is all that the suite makes; the probe would also
    // see what it does under contention.
    let store = server
        .builder()
        .conditional_writes(ConditionalWrites::Honoured)
        .build()
        .unwrap();
    conformance::store(&store).await;
    store.close().await;
}

#[tokio::test]
async fn the_store_conforms_on_moto() {
    let server = MotoServer::start();
    let store = server.builder().build().unwrap();
    conformance::store(&store).await;
    store.close().await;
}
