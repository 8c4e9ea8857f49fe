//! Reading an artifact as a stream: its end is only announced when everything had the right SHA-256.

use std::io;

use artifact_core::{ArtifactKey, ChunkSender, Chunks, Object, ObjectMeta, StoreError};
use sha2::{Digest, Sha256};
use tracking_model::FileHash;

use crate::cause::S3Cause;
use crate::content::blocking;
use crate::download::{FIRST_LOOK_BYTES, Ranges};
use crate::error::S3Failure;
use crate::fetch::Span;
use crate::key::ObjectKey;
use crate::store::S3Store;

impl S3Store {
    pub(crate) async fn open(&self, key: &ArtifactKey) -> Result<Object, StoreError> {
        let full = self.objects.full("get", &ObjectKey::from(key))?;
        let broken = |failure: S3Failure| failure.into_store_error("get", key);
        let share = self.bucket().memory.share(FIRST_LOOK_BYTES).await;
        let look = Span::Part {
            from: 0,
            to: FIRST_LOOK_BYTES,
        };
        let first = match self.bucket().fetch(&full, look, None).await {
            Err(failure) if failure.cause == S3Cause::Range => {
                // There is no range of an empty object.
                self.bucket().fetch(&full, Span::Whole, None).await
            }
            outcome => outcome,
        };
        let first = first.map_err(broken)?;
        let (head, bytes) = (first.head, first.bytes.into_vec());
        let meta = ObjectMeta {
            key: key.clone(),
            size: head.size,
        };
        let expected = head.metadata.file_hash;
        if bytes.len() as u64 == head.size {
            let (bytes, found) = blocking(move || {
                let found = crate::bucket::sha256(&bytes);
                (bytes, found)
            })
            .await;
            if expected.is_some_and(|expected| expected != found) {
                return Err(broken(S3Failure::new(
                    S3Cause::Altered,
                    self.bucket().name(),
                    altered(found),
                )));
            }
            return Ok(Object {
                meta,
                body: Chunks::from_bytes(bytes),
            });
        }
        let (sender, body) = Chunks::channel();
        let ranges = Ranges::new(self.bucket(), &full, &head, bytes.len() as u64);
        self.readers.spawn(async move {
            drop(share);
            feed(sender, bytes, ranges, expected).await;
        });
        Ok(Object { meta, body })
    }
}

/// Hands the bytes on in order; a receiver that goes away ends it.
async fn feed(sender: ChunkSender, first: Vec<u8>, mut ranges: Ranges, expected: Option<FileHash>) {
    let mut hasher = Sha256::new();
    let mut bytes = first;
    loop {
        let (hashed, so_far) = blocking(move || {
            hasher.update(&bytes);
            (bytes, hasher)
        })
        .await;
        hasher = so_far;
        if sender.send(hashed).await.is_err() {
            return;
        }
        match ranges.next().await {
            Some(Ok((fetched, share))) => {
                bytes = fetched.bytes.into_vec();
                drop(share);
            }
            Some(Err(failure)) => {
                // A receiver that is gone wants no error either.
                sender.fail(io::Error::other(failure)).await.ok();
                return;
            }
            None => break,
        }
    }
    let found = FileHash::new(hasher.finalize().into());
    // A receiver that is gone wants no end either.
    if expected.is_some_and(|expected| expected != found) {
        sender
            .fail(io::Error::new(io::ErrorKind::InvalidData, altered(found)))
            .await
            .ok();
    } else {
        sender.finish().await.ok();
    }
}

fn altered(found: FileHash) -> String {
    format!("its SHA-256 is {found}, which is not what its metadata says")
}
