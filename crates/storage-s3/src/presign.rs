//! Addresses that carry leave to read one object for a while, for people without credentials.

use std::fmt;
use std::time::Duration;

use artifact_core::StoreError;
use aws_connect::Cause;
use aws_sdk_s3::presigning::PresigningConfig;
use tracking_model::percent_encode;

use crate::error::store_error;
use crate::key::ObjectKey;
use crate::object::S3Objects;

/// The longest that an address may be valid.
pub const MAX_PRESIGNED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// An address that anybody may read from until it expires. Whoever has it has the object, so `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct PresignedUrl {
    url: String,
    /// How long it is valid, from now on. Where the credentials are temporary it ends with them, if that is sooner.
    pub valid_for: Duration,
}

impl PresignedUrl {
    /// The address, to be handed to those who may read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.url.split('?').next().unwrap_or_default();
        write!(f, "PresignedUrl({address}?…)")
    }
}

/// How an address is made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PresignOptions {
    /// How long it is valid: a second to seven days.
    pub valid_for: Duration,
    /// The name under which browsers save it.
    pub file_name: Option<String>,
}

impl PresignOptions {
    /// An address that is valid so long.
    #[must_use]
    pub const fn new(valid_for: Duration) -> Self {
        Self {
            valid_for,
            file_name: None,
        }
    }

    /// Sets the name under which browsers save it.
    #[must_use]
    pub fn with_file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }
}

impl S3Objects {
    /// An address for reading an object without credentials. No request is made: whether there is such an object shows
    /// when it is read. It is always served as a download, never shown as a page.
    ///
    /// # Errors
    /// [`Misconfigured`](artifact_core::StoreErrorKind::Misconfigured) without credentials or region;
    /// [`Unexpected`](artifact_core::StoreErrorKind::Unexpected) if it were to be valid for less than a second or more
    /// than seven days.
    pub async fn presigned_url(
        &self,
        key: &ObjectKey,
        options: &PresignOptions,
    ) -> Result<PresignedUrl, StoreError> {
        let full = self.full("presign", key)?;
        let valid_for = options.valid_for;
        if !(Duration::from_secs(1)..=MAX_PRESIGNED).contains(&valid_for) {
            let message = format!("an address can be valid for 1 second to 7 days, not for {valid_for:?}");
            return Err(self.bucket.error(Cause::InvalidRequest, "presign", key, message));
        }
        let config = PresigningConfig::expires_in(valid_for).map_err(|error| {
            self.bucket
                .error(Cause::InvalidRequest, "presign", key, error.to_string())
        })?;
        let name = options
            .file_name
            .as_deref()
            .or_else(|| key.as_str().rsplit('/').next())
            .unwrap_or("artifact");
        let disposition = format!("attachment; filename*=UTF-8''{}", percent_encode(name.as_bytes()));
        let request = self
            .bucket
            .client()
            .await
            .sdk
            .get_object()
            .bucket(self.bucket.name())
            .key(full)
            .response_content_disposition(disposition)
            .set_expected_bucket_owner(self.bucket.owner());
        let signed = request.presigned(config).await;
        let signed = signed.map_err(|error| store_error(self.bucket.sdk_failure(&error), "presign", key))?;
        Ok(PresignedUrl {
            url: signed.uri().to_owned(),
            valid_for,
        })
    }
}
