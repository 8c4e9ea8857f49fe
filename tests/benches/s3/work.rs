//! The same work with our store, and how it is measured.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use artifact_core::PutBody;
use futures_util::StreamExt;
use scenarios::measure::{cpu_time, median};
use storage_s3::{DownloadOptions, ObjectKey, S3Config, S3Store, UploadOptions, Uploaded};
use test_servers::config;
use tracking_model::FileHash;

/// What some work took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    pub(crate) seconds: f64,
    /// Processor time of the client alone.
    pub(crate) cpu: f64,
    /// Processor time of the server.
    pub(crate) server_cpu: f64,
}

/// SHA-256 by file name, as the records of artifacts have it.
pub(crate) type Hashes = HashMap<String, FileHash>;

/// Files of a directory, in order.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub(crate) fn make_files(dir: &Path, count: usize, bytes: usize) -> Hashes {
    let mut state = 1_u32;
    let mut hashes = Hashes::new();
    for number in 0..count {
        let mut content = Vec::with_capacity(bytes + 4);
        while content.len() < bytes {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            content.extend_from_slice(&state.to_le_bytes());
        }
        content.truncate(bytes);
        let name = format!("{number:04}.bin");
        std::fs::write(dir.join(&name), &content).unwrap();
        hashes.insert(name, storage_s3::hash_of(&content));
    }
    hashes
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// A store whose connection is made and whose probe is done.
pub(crate) async fn connected(endpoint: &str) -> S3Store {
    let config = S3Config {
        conditional_writes: Some("honoured".into()),
        ..config(endpoint)
    };
    let store = S3Store::new(config).unwrap();
    store.check().await.unwrap();
    store
}

async fn measured<T>(work: impl Future<Output = T>) -> (T, Spent) {
    let (before, begin) = (cpu_time(), Instant::now());
    let done = work.await;
    let spent = Spent {
        seconds: begin.elapsed().as_secs_f64(),
        cpu: (cpu_time() - before).as_secs_f64(),
        server_cpu: 0.0,
    };
    (done, spent)
}

/// Uploads all files of `dir` to the session `session`; the store decides how many go at once.
pub(crate) fn upload(
    endpoint: &str,
    dir: &Path,
    session: &str,
    hashes: &Hashes,
    options: &UploadOptions,
) -> (Vec<Uploaded>, Spent) {
    let runtime = runtime();
    runtime.block_on(async {
        let store = connected(endpoint).await;
        let names = files(dir);
        let work = futures_util::stream::iter(names).map(|name| {
            let (store, path) = (store.clone(), dir.join(&name));
            let key = format!("{session}/c/{name}").parse().unwrap();
            let mut options = options.clone();
            options.hash = hashes.get(&name).copied();
            async move {
                let file = std::fs::File::open(path).unwrap();
                store.upload(&key, PutBody::File(file), &options).await.unwrap()
            }
        });
        measured(work.buffer_unordered(128).collect()).await
    })
}

/// Downloads what was uploaded to `dir`.
pub(crate) fn download(endpoint: &str, dir: &Path, uploaded: &[Uploaded]) -> Spent {
    let runtime = runtime();
    let dir: Arc<Path> = Arc::from(dir);
    runtime.block_on(async {
        let store = connected(endpoint).await;
        let work = futures_util::stream::iter(uploaded).map(|object| {
            let (store, path) = (store.clone(), dir.join(object.key.file_name()));
            async move {
                let options = DownloadOptions::default()
                    .with_hash(object.hash)
                    .with_size(object.size);
                let key = ObjectKey::from(&object.key);
                store.objects().download(&key, &path, &options).await.unwrap()
            }
        });
        measured(work.buffer_unordered(128).count()).await.1
    })
}

/// One line of results: the median of the ratios, their range, and what it is to be.
pub(crate) fn print(what: &str, ratios: &[f64], target: &str, details: &str) {
    let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ratios.iter().copied().fold(0.0, f64::max);
    println!(
        "{what}: {:.2} ({low:.2}..{high:.2}; aim {target})  {details}",
        median(ratios.to_vec())
    );
}
