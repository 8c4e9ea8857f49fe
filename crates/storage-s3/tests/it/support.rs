//! What the tests share: content, files, and a small S3 that does as it is told.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;

use artifact_core::{ArtifactKey, PutBody, PutMode, StoreError};
use storage_s3::{Cause, ObjectMetadata, RetryConfig, S3Config, S3Store, UploadOptions, failure_of};
use test_servers::{Reply, Request};
use tracking_model::ArtifactId;

pub(crate) const MIB: usize = 1024 * 1024;

pub(crate) fn key(text: &str) -> ArtifactKey {
    text.parse().unwrap()
}

/// Bytes that repeat nowhere at a multiple of a part.
pub(crate) fn content(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut bytes = Vec::with_capacity(length + 4);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn file(dir: &Path, bytes: &[u8]) -> PutBody {
    let path = dir.join("source");
    std::fs::write(&path, bytes).unwrap();
    PutBody::File(std::fs::File::open(path).unwrap())
}

/// Uploads for the artifact `id`, under a name beside others.
pub(crate) fn of_artifact(id: &str) -> UploadOptions {
    let mut metadata = ObjectMetadata::default();
    metadata.artifact_id = Some(ArtifactId::new(id).unwrap());
    UploadOptions::default()
        .with_mode(PutMode::Numbered)
        .with_metadata(metadata)
}

pub(crate) fn open_store(config: S3Config) -> S3Store {
    S3Store::new(config).unwrap()
}

/// On a server that honours conditions.
pub(crate) fn honoured(config: S3Config) -> S3Config {
    conditional_writes("honoured", config)
}

pub(crate) fn conditional_writes(known: &str, config: S3Config) -> S3Config {
    S3Config {
        conditional_writes: Some(known.into()),
        ..config
    }
}

pub(crate) fn below(prefix: &str, config: S3Config) -> S3Config {
    S3Config {
        prefix: Some(prefix.into()),
        ..config
    }
}

/// Attempts that lose no time.
pub(crate) fn attempts(attempts: u32, config: S3Config) -> S3Config {
    S3Config {
        attempts: Some(attempts),
        retry: RetryConfig {
            backoff: std::time::Duration::from_millis(1),
            max_backoff: std::time::Duration::from_millis(5),
            ..RetryConfig::default()
        },
        ..config
    }
}

/// The smallest parts, so that files of several are small.
pub(crate) fn small_parts(config: S3Config) -> S3Config {
    S3Config {
        part_size_mib: Some(5),
        ..config
    }
}

/// A store with the smallest parts, on a server that honours conditions.
pub(crate) fn store_in_parts(config: S3Config) -> S3Store {
    open_store(small_parts(honoured(config)))
}

pub(crate) fn cause(error: &StoreError) -> Option<Cause> {
    failure_of(error).map(|failure| failure.cause)
}

/// Files of a directory, hidden ones too.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Status, head and body of what is at an address.
pub(crate) fn http_get(url: &str) -> (u16, String, Vec<u8>) {
    let (host, target) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let address: SocketAddr = host.parse().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let split = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8_lossy(&answer[..split]).to_ascii_lowercase();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, head, answer[split + 4..].to_vec())
}

/// A bucket in memory for scripts: puts, reads with ranges, looks, deletes. It looks and writes under one lock, as S3
/// does, and honours conditions or not.
#[derive(Debug)]
pub(crate) struct FakeBucket {
    pub(crate) honours_conditions: bool,
    objects: Mutex<BTreeMap<String, Object>>,
}

#[derive(Debug, Clone)]
struct Object {
    bytes: Vec<u8>,
    metadata: Vec<(String, String)>,
}

impl FakeBucket {
    pub(crate) fn new(honours_conditions: bool) -> Self {
        Self {
            honours_conditions,
            objects: Mutex::default(),
        }
    }

    pub(crate) fn alter(&self, path_end: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut objects = self.objects.lock().unwrap();
        let (_, object) = objects
            .iter_mut()
            .find(|(path, _)| path.ends_with(path_end))
            .unwrap();
        change(&mut object.bytes);
    }

    pub(crate) fn answer(&self, request: &Request) -> Reply {
        let mut objects = self.objects.lock().unwrap();
        let path = request.path().to_owned();
        match request.method.as_str() {
            "PUT" => {
                let conditional = request.header("if-none-match").is_some();
                if conditional && self.honours_conditions && objects.contains_key(&path) {
                    return Reply::error(412, "PreconditionFailed");
                }
                let metadata = request
                    .headers
                    .iter()
                    .filter(|(name, _)| name.starts_with("x-amz-meta-"));
                let object = Object {
                    bytes: request.body.clone(),
                    metadata: metadata.cloned().collect(),
                };
                objects.insert(path, object);
                Reply::status(200).with_header("etag", "\"e\"")
            }
            "DELETE" => {
                objects.remove(&path);
                Reply::status(204)
            }
            "GET" if request.asks("list-type") => list(request, &objects),
            _ => match objects.get(&path) {
                None => Reply::error(404, "NoSuchKey"),
                Some(object) => read(request, object),
            },
        }
    }
}

/// All keys below the prefix that is asked for, on one page.
fn list(request: &Request, objects: &BTreeMap<String, Object>) -> Reply {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let parameter = query.split('&').find_map(|pair| pair.strip_prefix("prefix="));
    let bucket = format!("{}/", request.path().trim_end_matches('/'));
    let from = format!("{bucket}{}", decode(parameter.unwrap_or_default()));
    let mut contents = String::new();
    for (path, object) in objects {
        let path = decode(path);
        if path.starts_with(&from) {
            let key = path.strip_prefix(&bucket).unwrap();
            let size = object.bytes.len();
            contents.push_str(&format!(
                "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>\"e\"</ETag></Contents>"
            ));
        }
    }
    let xml = format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>");
    Reply::body(200, xml.into_bytes())
}

fn decode(text: &str) -> String {
    String::from_utf8(tracking_model::percent_decode(text).unwrap()).unwrap()
}

fn read(request: &Request, object: &Object) -> Reply {
    let total = object.bytes.len();
    let range = request
        .header("range")
        .and_then(|range| range.strip_prefix("bytes="));
    let mut reply = match range.and_then(|range| range.split_once('-')) {
        _ if request.method == "HEAD" => Reply::status(200).with_header("content-length", total.to_string()),
        None => Reply::body(200, object.bytes.clone()),
        Some((from, to)) => {
            let from: usize = from.parse().unwrap();
            let to = to.parse().unwrap_or(usize::MAX).min(total.saturating_sub(1));
            if from >= total {
                return Reply::error(416, "InvalidRange");
            }
            Reply::body(206, object.bytes[from..=to].to_vec())
                .with_header("content-range", format!("bytes {from}-{to}/{total}"))
        }
    };
    for (name, value) in &object.metadata {
        reply = reply.with_header(name, value.clone());
    }
    reply.with_header("etag", "\"e\"")
}
