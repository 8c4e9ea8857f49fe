//! A store in memory: for tests, examples and tools that keep nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tracking_model::numbered_file_name;

use super::{
    ArtifactKey, ArtifactStore, Chunks, KeyPrefix, Object, ObjectMeta, PutBody, PutMode, PutOptions,
    PutOutcome, StoreError, StoreErrorKind, Vault,
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
        let (vault, key, options) = (Vault::Memory(self.clone()), key.clone(), options.clone());
        off_executor(move || vault.put(&key, body, &options)).await
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
