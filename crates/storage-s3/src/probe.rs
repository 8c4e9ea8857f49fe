//! Finding out whether a server honours `If-None-Match: *`: some ignore it, some only under contention, some only when a
//! multipart upload is completed.

use std::collections::HashMap;

use artifact_core::StoreError;
use aws_connect::{Cause, Failure};
use bytes::Bytes;
use futures_util::future::join_all;

use crate::error::store_error;
use crate::requests::{Bucket, Put, sha256};

/// Writers of the probe's key at once. Servers that look first and write later let several of so many win.
const RIVALS: usize = 12;

impl Bucket {
    /// True if a put with `If-None-Match: *` never replaces anything.
    pub(crate) async fn honours_put(&self) -> Result<bool, StoreError> {
        let honours = self.honours_put.get_or_try_init(|| async {
            match self.known().await {
                Some(known) => Ok(known),
                None => self.probe_put().await,
            }
        });
        honours.await.copied()
    }

    /// True if the completion of a multipart upload with `If-None-Match: *` never replaces anything.
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

    /// The answer without a probe: the setting's, or that AWS honours conditions in all regions since 2024.
    async fn known(&self) -> Option<bool> {
        match self.settings.conditional_writes {
            None if self.client().await.is_aws => Some(true),
            known => known,
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
                metadata: HashMap::new(),
                create: true,
                class: None,
            };
            async move { self.put(&put).await }
        });
        let mut winners = 0;
        let mut unknown = None;
        for outcome in join_all(puts).await {
            match outcome {
                Ok(_) => winners += 1,
                Err(failure) if matches!(failure.cause, Cause::PreconditionFailed | Cause::Conflict) => {}
                // A server that does not know the header may refuse it: it cannot be relied on either.
                Err(failure) if failure.cause == Cause::Unsupported => winners += RIVALS,
                Err(failure) => unknown = Some(failure),
            }
        }
        self.forget_probe(&key).await;
        tracing::debug!(winners, rivals = RIVALS, "probed conditional writes");
        match unknown {
            // Two winners are an answer whatever became of the others.
            Some(failure) if winners < 2 => Err(store_error(failure, "probe", &key)),
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
            Err(failure) if failure.cause == Cause::PreconditionFailed => Ok(true),
            Err(failure) if failure.cause == Cause::Unsupported => Ok(false),
            Err(failure) => Err(store_error(failure, "probe", &key)),
        }
    }

    async fn complete_over(&self, key: &str) -> Result<(), Failure> {
        let bytes = Bytes::from_static(b"probe");
        let hash = sha256(&bytes);
        let put = Put {
            key: key.to_owned(),
            bytes: bytes.clone(),
            hash,
            metadata: HashMap::new(),
            create: false,
            class: None,
        };
        self.put(&put).await?;
        let id = self.create_upload(key, &HashMap::new()).await?;
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
