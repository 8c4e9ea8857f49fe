//! Listing keys below the prefix.

use artifact_core::StoreError;
use aws_connect::Cause;

use crate::error::store_error;
use crate::metadata::ObjectMetadata;
use crate::object::{ObjectInfo, S3Objects, info};
use crate::requests::{ENDLESS_LISTING, Head, timestamp, unsigned};

/// The keys of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListRequest {
    /// Only keys that begin so; relative to the store's prefix.
    pub prefix: String,
    /// Keys that are equal up to the next delimiter after the prefix are listed as one common prefix.
    pub delimiter: Option<String>,
    /// Only keys after this one, in the order of bytes.
    pub start_after: Option<String>,
    /// At most so many keys and common prefixes; 1,000 at most.
    pub limit: Option<u16>,
    /// Goes on after an earlier page.
    pub continuation: Option<String>,
}

impl ListRequest {
    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            ..Self::default()
        }
    }

    /// Sets the delimiter.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: impl Into<String>) -> Self {
        self.delimiter = Some(delimiter.into());
        self
    }

    /// Sets the key after which it begins.
    #[must_use]
    pub fn with_start_after(mut self, key: impl Into<String>) -> Self {
        self.start_after = Some(key.into());
        self
    }

    /// Sets the most keys and common prefixes of a page.
    #[must_use]
    pub const fn with_limit(mut self, limit: u16) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// A page of a listing, in the order of bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListPage {
    /// The objects. Keys that no store writes, such as those of folders, are left out.
    pub objects: Vec<ObjectInfo>,
    /// The common prefixes, with their delimiter; relative to the store's prefix.
    pub prefixes: Vec<String>,
    /// For [`ListRequest::continuation`]; `None` after the last page.
    pub next: Option<String>,
}

impl S3Objects {
    /// One page of keys: one request.
    ///
    /// # Errors
    /// Whatever S3 refuses.
    pub async fn page(&self, request: &ListRequest) -> Result<ListPage, StoreError> {
        let root = &self.bucket.settings.root;
        let (sdk, _permit) = self.bucket.metadata_sdk().await;
        let answer = sdk
            .list_objects_v2()
            .bucket(self.bucket.name())
            .prefix(root.full(&request.prefix))
            .set_delimiter(request.delimiter.clone())
            .set_start_after(request.start_after.as_deref().map(|key| root.full(key)))
            .set_max_keys(request.limit.map(i32::from))
            .set_continuation_token(request.continuation.clone())
            .set_expected_bucket_owner(self.bucket.owner())
            .send()
            .await;
        let output = answer.map_err(|error| {
            let mut failure = self.bucket.sdk_failure(&error);
            // There is no key that could be missing.
            if failure.cause == Cause::NoObject {
                failure.cause = Cause::NoResource;
            }
            let url = self.bucket.settings.root.url(&request.prefix);
            store_error(failure, "list", url)
        })?;
        if request.continuation.is_some() && output.next_continuation_token == request.continuation {
            let url = self.bucket.settings.root.url(&request.prefix);
            return Err(self.bucket.error(Cause::Other, "list", url, ENDLESS_LISTING));
        }
        let objects = output.contents().iter().filter_map(|object| {
            let head = Head {
                size: object.size().map_or(0, unsigned),
                etag: object.e_tag.clone(),
                modified: object.last_modified.as_ref().map(timestamp),
                storage_class: object
                    .storage_class
                    .as_ref()
                    .map(|class| class.as_str().to_owned()),
                metadata: ObjectMetadata::default(),
            };
            Some(info(root.relative(object.key()?)?, head))
        });
        let prefixes = output.common_prefixes().iter();
        Ok(ListPage {
            objects: objects.collect(),
            prefixes: prefixes
                .filter_map(|common| root.relative_prefix(common.prefix()?))
                .collect(),
            next: output.next_continuation_token.clone(),
        })
    }

    /// All objects whose keys begin with `prefix`: one request for each 1,000.
    ///
    /// # Errors
    /// Whatever S3 refuses.
    pub async fn all(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut request = ListRequest::prefix(prefix);
        let mut objects = Vec::new();
        loop {
            let page = self.page(&request).await?;
            objects.extend(page.objects);
            match page.next {
                Some(next) => request.continuation = Some(next),
                None => return Ok(objects),
            }
        }
    }
}
