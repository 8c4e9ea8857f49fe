//! A store in memory: for tests, examples and tools that keep nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tracking_model::{FileHash, numbered_file_name};

use super::{
    ArtifactKey, ArtifactStore, Chunks, KeyPrefix, Object, ObjectMeta, PutBody, PutMode, PutOptions,
    PutOutcome, StoreError, StoreErrorKind,
};
use crate::executor::off_executor;

/// Keeps bytes in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<BTreeMap<ArtifactKey, Arc<[u8]>>>>,
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ArtifactKey, Arc<[u8]>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(&self, key: &ArtifactKey) -> Result<Arc<[u8]>, StoreError> {
        self.lock()
            .get(key)
            .map(Arc::clone)
            .ok_or_else(|| StoreError::new(StoreErrorKind::NotFound, "get", key))
    }

    pub(crate) fn insert(
        &self,
        wanted: &ArtifactKey,
        mode: PutMode,
        bytes: Vec<u8>,
    ) -> Result<ArtifactKey, StoreError> {
        let mut objects = self.lock();
        let mut key = wanted.clone();
        let mut number = 1;
        loop {
            match (objects.entry(key.clone()), mode) {
                (Entry::Vacant(free), _) => {
                    free.insert(bytes.into());
                    return Ok(key);
                }
                (Entry::Occupied(_), PutMode::Create) => {
                    return Err(StoreError::new(StoreErrorKind::AlreadyExists, "put", key));
                }
                (Entry::Occupied(_), PutMode::Numbered) => {
                    number += 1;
                    key = wanted.with_file_name(numbered_file_name(wanted.file_name(), number));
                }
            }
        }
    }

    pub(crate) fn objects(&self, prefix: &KeyPrefix) -> Vec<ObjectMeta> {
        self.lock()
            .iter()
            .filter(|(key, _)| prefix.matches(key))
            .map(|(key, bytes)| ObjectMeta {
                key: key.clone(),
                size: bytes.len() as u64,
            })
            .collect()
    }

    pub(crate) fn remove(&self, key: &ArtifactKey) {
        self.lock().remove(key);
    }
}

/// Reads a whole body, up to `most` bytes.
fn all_of(key: &ArtifactKey, body: PutBody, most: Option<u64>) -> Result<Vec<u8>, StoreError> {
    let failed = |source| StoreError::new(StoreErrorKind::Body, "put", key).with_source(source);
    let most = most.unwrap_or(u64::MAX);
    let mut all = Vec::new();
    match body {
        PutBody::Bytes(bytes) => all = bytes,
        PutBody::File(file) => {
            let mut file = file.take(most.saturating_add(1));
            file.read_to_end(&mut all).map_err(failed)?;
        }
        PutBody::Chunks(mut chunks) => {
            while let Some(chunk) = chunks.next_blocking().map_err(failed)? {
                all.extend_from_slice(&chunk);
                if all.len() as u64 > most {
                    break;
                }
            }
        }
    }
    if all.len() as u64 > most {
        return Err(StoreError::new(StoreErrorKind::TooLarge, "put", key));
    }
    Ok(all)
}

#[async_trait]
impl ArtifactStore for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn put(
        &self,
        key: &ArtifactKey,
        body: PutBody,
        options: &PutOptions,
    ) -> Result<PutOutcome, StoreError> {
        let (store, key, options) = (self.clone(), key.clone(), options.clone());
        off_executor(move || {
            let bytes = all_of(&key, body, options.max_bytes)?;
            let (size, hash) = (bytes.len() as u64, FileHash::new(Sha256::digest(&bytes).into()));
            let key = store.insert(&key, options.mode, bytes)?;
            Ok(PutOutcome { key, size, hash })
        })
        .await
    }

    async fn get(&self, key: &ArtifactKey) -> Result<Object, StoreError> {
        let bytes = self.read(key)?;
        let meta = ObjectMeta {
            key: key.clone(),
            size: bytes.len() as u64,
        };
        Ok(Object {
            meta,
            body: Chunks::from_bytes(bytes.to_vec()),
        })
    }

    async fn list(&self, prefix: &KeyPrefix) -> Result<Vec<ObjectMeta>, StoreError> {
        Ok(self.objects(prefix))
    }

    async fn delete(&self, key: &ArtifactKey) -> Result<(), StoreError> {
        self.remove(key);
        Ok(())
    }
}
