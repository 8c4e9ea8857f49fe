//! A store in memory: for tests, examples and tools that keep nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tracking_model::{FileHash, numbered_file_name};

use super::{
    ArtifactKey, ArtifactStore, Chunks, KeyPrefix, Object, ObjectMeta, PutBody, PutMode, PutOptions,
    PutOutcome, StoreError, StoreErrorKind,
};

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

use crate::executor::detach;

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
        let failed = |source| StoreError::new(StoreErrorKind::Body, "put", key).with_source(source);
        let bytes = match body {
            PutBody::Bytes(bytes) => bytes,
            PutBody::File(file) => {
                let (sender, chunks) = Chunks::channel();
                detach(move || sender.send_file(file));
                chunks.collect().await.map_err(failed)?
            }
            PutBody::Chunks(chunks) => chunks.collect().await.map_err(failed)?,
        };
        let size = bytes.len() as u64;
        if options.max_bytes.is_some_and(|max| size > max) {
            return Err(StoreError::new(StoreErrorKind::TooLarge, "put", key));
        }
        let hash = FileHash::new(Sha256::digest(&bytes).into());
        let key = self.insert(key, options.mode, bytes)?;
        Ok(PutOutcome { key, size, hash })
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
