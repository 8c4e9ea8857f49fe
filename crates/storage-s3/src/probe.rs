//! Finding out whether a server honours `If-None-Match: *`: some ignore it, some only under contention, some only when a
//! multipart upload is completed.

use artifact_core::StoreError;
use bytes::Bytes;
use futures_util::future::join_all;

use crate::bucket::{Bucket, Put, sha256};
use crate::cause::S3Cause;
use crate::error::S3Failure;
use crate::settings::ConditionalWrites;
use crate::settings::StorageClass;

/// Writers of the probe's key at once. Servers that look first and write later let several of so many win.
const RIVALS: usize = 12;

impl Bucket {
    /// Whether a put with `If-None-Match: *` never replaces anything.
    pub(crate) async fn honours_put(&self) -> Result<bool, StoreError> {
        let honours = self.honours_put.get_or_try_init(|| async {
            match self.known().await {
                Some(known) => Ok(known),
                None => self.probe_put().await,
            }
        });
        honours.await.copied()
    }

    /// Whether the completion of a multipart upload with `If-None-Match: *` never replaces anything.
    pub(crate) async fn honours_completion(&self) -> Result<bool, StoreError> {
        if !self.honours_put().await? {
            return Ok(false);
        }
        let honours = self.honours_completion.get_or_try_init(|| async {
            match self.known().await {
                Some(known) => Ok(known),
                None => self.probe_completion().await,
            }
        });
        honours.await.copied()
    }

    async fn known(&self) -> Option<bool> {
        match self.settings.conditional_writes {
            ConditionalWrites::Honoured => Some(true),
            ConditionalWrites::Ignored => Some(false),
            ConditionalWrites::Probe if self.connected().await.custom_endpoint => None,
            // S3 itself honours them, since 2024 in all regions.
            ConditionalWrites::Probe => Some(true),
        }
    }

    /// Several writers at once of one new key: all but one must be refused.
    async fn probe_put(&self) -> Result<bool, StoreError> {
        let key = self.probe_key();
        let puts = (0..RIVALS).map(|rival| {
            let bytes = Bytes::from(rival.to_string());
            let put = Put {
                key: key.clone(),
                hash: sha256(&bytes),
                bytes,
                metadata: std::collections::HashMap::new(),
                create: true,
                class: StorageClass::BucketDefault,
            };
            async move { self.put(&put).await }
        });
        let mut winners = 0;
        let mut unknown = None;
        for outcome in join_all(puts).await {
            match outcome {
                Ok(_) => winners += 1,
                Err(failure) if matches!(failure.cause, S3Cause::Condition | S3Cause::Conflict) => {}
                // A server that does not know the header may refuse it: it cannot be relied on either.
                Err(failure) if failure.cause == S3Cause::Unsupported => winners += RIVALS,
                Err(failure) => unknown = Some(failure),
            }
        }
        self.forget_probe(&key).await;
        tracing::debug!(winners, rivals = RIVALS, "probed conditional writes");
        match unknown {
            // Two winners are an answer whatever became of the others.
            Some(failure) if winners < 2 => Err(failure.into_store_error("probe", &key)),
            _ => Ok(winners == 1),
        }
    }

    /// Completes a small upload where an object is already.
    async fn probe_completion(&self) -> Result<bool, StoreError> {
        let key = self.probe_key();
        let outcome = self.complete_over(&key).await;
        self.forget_probe(&key).await;
        match outcome {
            Ok(()) => Ok(false),
            Err(failure) if failure.cause == S3Cause::Condition => Ok(true),
            Err(failure) if failure.cause == S3Cause::Unsupported => Ok(false),
            Err(failure) => Err(failure.into_store_error("probe", &key)),
        }
    }

    async fn complete_over(&self, key: &str) -> Result<(), S3Failure> {
        let bytes = Bytes::from_static(b"probe");
        let hash = sha256(&bytes);
        let put = Put {
            key: key.to_owned(),
            bytes: bytes.clone(),
            hash,
            metadata: std::collections::HashMap::new(),
            create: false,
            class: StorageClass::BucketDefault,
        };
        self.put(&put).await?;
        let id = self.create_upload(key, &std::collections::HashMap::new()).await?;
        let completed = match self.put_part(key, &id, 1, bytes, hash).await {
            Ok(part) => self.complete_upload(key, &id, vec![part], true).await,
            Err(failure) => Err(failure),
        };
        if completed.is_err() {
            self.abort_upload(key, &id).await?;
        }
        completed.map(drop)
    }

    fn probe_key(&self) -> String {
        self.settings
            .root
            .full(&format!("_probe/{}", tracking_model::new_uuid()))
    }

    /// Credentials that may not delete leave an object of a few bytes behind.
    async fn forget_probe(&self, key: &str) {
        if let Err(failure) = self.delete(key).await {
            tracing::debug!(key, %failure, "the object of a probe stays");
        }
    }
}
