//! Making a store: everything is validated once, and every problem is told.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use aws_connect::{Address, StaticCredentials, endpoint_problem, region_problem};
use tracking_model::percent_encode;

use crate::key::{KeyRoot, MAX_KEY_BYTES, S3Location};
use crate::settings::{
    ChecksumPolicy, ConditionalWrites, DEFAULT_PREFIX, Encryption, MAX_PART_BYTES, MIN_PART_BYTES, Patience,
    Settings, StorageClass, TransferLimits,
};
use crate::store::S3Store;

/// What keys below a prefix may take at the least: a session, a collection and a file name, all at their longest.
const ROOM_BELOW_PREFIX: usize = 200 + 1 + 200 + 1 + 255;

/// Settings that cannot be used, each problem with what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct BuildError {
    /// The problems, in the order of the settings.
    pub problems: Vec<String>,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the settings of the S3 store cannot be used: {}",
            self.problems.join("; ")
        )
    }
}

/// Builds an [`S3Store`].
///
/// Credentials, and region and endpoint where they are not given, come from the SDK's standard chain: environment,
/// profiles, SSO, web identity, containers, instance metadata. It is asked at the first request, so building does no
/// input or output.
#[derive(Debug, Clone)]
pub struct S3StoreBuilder {
    bucket: String,
    prefix: String,
    region: Option<String>,
    endpoint: Option<Address>,
    path_style: Option<bool>,
    encryption: Encryption,
    storage_class: StorageClass,
    tags: BTreeMap<String, String>,
    bucket_owner: Option<String>,
    checksums: ChecksumPolicy,
    conditional_writes: ConditionalWrites,
    limits: TransferLimits,
    patience: Patience,
    spool_dir: Option<PathBuf>,
    credentials: Option<StaticCredentials>,
    /// Problems of the settings that this was made of.
    misread: Vec<String>,
    /// Whether bucket and prefix are what was meant.
    is_placed: bool,
}

impl S3StoreBuilder {
    /// A store in `bucket`, below [`DEFAULT_PREFIX`].
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: DEFAULT_PREFIX.to_owned(),
            region: None,
            endpoint: None,
            path_style: None,
            encryption: Encryption::default(),
            storage_class: StorageClass::default(),
            tags: BTreeMap::new(),
            bucket_owner: None,
            checksums: ChecksumPolicy::default(),
            conditional_writes: ConditionalWrites::default(),
            limits: TransferLimits::default(),
            patience: Patience::default(),
            spool_dir: None,
            credentials: None,
            misread: Vec::new(),
            is_placed: true,
        }
    }

    /// Takes up what was wrong with the settings that this is made of; without a place there is no more to say of it.
    pub(crate) fn misread(mut self, problems: Vec<String>, is_placed: bool) -> Self {
        (self.misread, self.is_placed) = (problems, is_placed);
        self
    }

    /// A store at `s3://bucket/prefix`; without a prefix in it, below [`DEFAULT_PREFIX`].
    #[must_use]
    pub fn at(location: &S3Location) -> Self {
        let builder = Self::new(&location.bucket);
        if location.prefix.is_empty() {
            builder
        } else {
            builder.prefix(&location.prefix)
        }
    }

    /// Sets the prefix; empty for the whole bucket.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the bucket's region.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Sets the address of a server that is not AWS: `https://host:port`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<Address>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Sets whether the bucket stands in the path of addresses; the default is so for an endpoint of one's own alone.
    #[must_use]
    pub const fn path_style(mut self, in_path: bool) -> Self {
        self.path_style = Some(in_path);
        self
    }

    /// Sets how the server encrypts.
    #[must_use]
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = encryption;
        self
    }

    /// Sets the storage class of new objects.
    #[must_use]
    pub const fn storage_class(mut self, class: StorageClass) -> Self {
        self.storage_class = class;
        self
    }

    /// Adds a tag that every object gets; at most 10.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Sets the account that must own the bucket: requests to anybody else's are refused.
    #[must_use]
    pub fn bucket_owner(mut self, account: impl Into<String>) -> Self {
        self.bucket_owner = Some(account.into());
        self
    }

    /// Sets when the SDK adds checksums of its own.
    #[must_use]
    pub const fn checksums(mut self, policy: ChecksumPolicy) -> Self {
        self.checksums = policy;
        self
    }

    /// Sets whether conditional writes can be relied on.
    #[must_use]
    pub const fn conditional_writes(mut self, known: ConditionalWrites) -> Self {
        self.conditional_writes = known;
        self
    }

    /// Sets how much goes on at once.
    #[must_use]
    pub const fn limits(mut self, limits: TransferLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets timeouts and attempts.
    #[must_use]
    pub const fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Sets where bodies of unknown length that exceed one part wait for their end; the default is the system's
    /// directory for temporary files.
    #[must_use]
    pub fn spool_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.spool_dir = Some(dir.into());
        self
    }

    /// Sets credentials by hand, for a test server.
    #[cfg(any(test, feature = "test-util"))]
    #[must_use]
    pub fn credentials(mut self, access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        self.credentials = Some(StaticCredentials::new(access_key, secret_key));
        self
    }

    /// Validates everything.
    ///
    /// # Errors
    /// [`BuildError`] with every problem.
    pub fn build(self) -> Result<S3Store, BuildError> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(BuildError { problems });
        }
        let location = S3Location {
            bucket: self.bucket,
            prefix: self.prefix,
        };
        let encode = |(key, value): (&String, &String)| {
            format!(
                "{}={}",
                percent_encode(key.as_bytes()),
                percent_encode(value.as_bytes())
            )
        };
        let tags: Vec<_> = self.tags.iter().map(encode).collect();
        Ok(S3Store::new(Settings {
            root: KeyRoot::new(&location),
            region: self.region,
            endpoint: self.endpoint.map(|endpoint| endpoint.as_str().to_owned()),
            path_style: self.path_style,
            encryption: self.encryption,
            storage_class: self.storage_class,
            tagging: (!tags.is_empty()).then(|| tags.join("&")),
            bucket_owner: self.bucket_owner,
            checksums: self.checksums,
            conditional_writes: self.conditional_writes,
            limits: self.limits,
            patience: self.patience,
            spool_dir: self.spool_dir.unwrap_or_else(std::env::temp_dir),
            credentials: self.credentials,
        }))
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.misread.clone();
        if self.is_placed {
            let bucket = bucket_problem(&self.bucket);
            problems.extend(bucket.map(|rule| format!("the bucket name {:?} {rule}", self.bucket)));
            let prefix = prefix_problem(&self.prefix);
            problems.extend(prefix.map(|rule| format!("the prefix {:?} {rule}", self.prefix)));
        }
        problems.extend(self.region.as_deref().and_then(region_problem));
        problems.extend(
            self.endpoint
                .as_ref()
                .map(Address::as_str)
                .and_then(endpoint_problem),
        );
        if let Encryption::Kms { key: Some(key) } = &self.encryption
            && (key.is_empty() || key.contains(char::is_whitespace))
        {
            problems.push(format!(
                "the KMS key {key:?} is none: give its id, its ARN or `alias/NAME`"
            ));
        }
        problems.extend(tag_problems(&self.tags));
        if let Some(account) = &self.bucket_owner
            && !(account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()))
        {
            problems.push(format!(
                "the bucket owner {account:?} is no account: give its 12 digits"
            ));
        }
        problems.extend(limit_problems(&self.limits));
        if self.patience.attempts == 0 {
            problems.push("a request cannot be tried 0 times: give at least 1 attempt".to_owned());
        }
        problems
    }
}

/// Why `bucket` cannot be a bucket's name.
fn bucket_problem(bucket: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_plain = bucket.bytes().next().is_some_and(plain) && bucket.bytes().last().is_some_and(plain);
    if bucket.starts_with("arn:") {
        // Access points are named by ARN; the SDK validates those.
        None
    } else if !(3..=63).contains(&bucket.len()) {
        Some("must have 3 to 63 characters")
    } else if !bucket
        .bytes()
        .all(|byte| plain(byte) || matches!(byte, b'-' | b'.'))
    {
        Some("may have only lower-case letters, digits, `-` and `.`")
    } else if !ends_plain {
        Some("must begin and end with a letter or digit")
    } else if bucket.contains("..") {
        Some("must not have two dots in a row")
    } else if bucket.parse::<std::net::Ipv4Addr>().is_ok() {
        Some("must not be an address")
    } else if bucket.starts_with("xn--") || bucket.ends_with("-s3alias") || bucket.ends_with("--ol-s3") {
        Some("begins or ends with what AWS reserves")
    } else {
        None
    }
}

/// Why `prefix` cannot be one.
fn prefix_problem(prefix: &str) -> Option<&'static str> {
    if prefix.is_empty() {
        None
    } else if prefix.len() + 1 + ROOM_BELOW_PREFIX > MAX_KEY_BYTES {
        Some("is too long: keys of 1,024 bytes must have room for a session, a collection and a file name")
    } else if prefix.chars().any(char::is_control) {
        Some("must not have control characters")
    } else if prefix
        .split('/')
        .any(|segment| matches!(segment, "" | "." | ".."))
    {
        Some("must not begin or end with `/`, nor have an empty segment, `.` or `..` in it")
    } else {
        None
    }
}

fn tag_problems(tags: &BTreeMap<String, String>) -> Vec<String> {
    let mut problems = Vec::new();
    if tags.len() > 10 {
        problems.push(format!("an object can have 10 tags, not {}", tags.len()));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > 128 || key.starts_with("aws:") {
            problems.push(format!(
                "the tag {key:?} must have 1 to 128 characters and not begin with `aws:`"
            ));
        }
        if value.chars().count() > 256 {
            problems.push(format!(
                "the value of the tag {key:?} must have at most 256 characters"
            ));
        }
        let allowed = |c: char| c.is_alphanumeric() || c == ' ' || "+-=._:/@".contains(c);
        if !key.chars().chain(value.chars()).all(allowed) {
            problems.push(format!(
                "the tag {key:?} may have only letters, digits, spaces and `+-=._:/@`"
            ));
        }
    }
    problems
}

fn limit_problems(limits: &TransferLimits) -> Vec<String> {
    let mut problems = Vec::new();
    if !(MIN_PART_BYTES..=MAX_PART_BYTES).contains(&limits.part_bytes) {
        problems.push(format!(
            "parts of {} bytes are not possible: 5 MiB to 5 GiB are",
            limits.part_bytes
        ));
    }
    if limits.min_concurrency == 0 || limits.min_concurrency > limits.max_concurrency {
        problems.push(format!(
            "{} to {} requests at once is no range: it must begin with at least 1",
            limits.min_concurrency, limits.max_concurrency
        ));
    }
    if limits.max_concurrency > 1024 {
        problems.push(format!(
            "{} requests at once are too many: 1,024 are possible",
            limits.max_concurrency
        ));
    }
    if limits.parts_at_once == 0 {
        problems.push("a file needs at least 1 part at once".to_owned());
    }
    if limits.memory_bytes < limits.part_bytes {
        problems.push(format!(
            "{} bytes of memory cannot hold a part of {}",
            limits.memory_bytes, limits.part_bytes
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told() {
        let error = S3StoreBuilder::new("Bad_Bucket")
            .prefix("/a//b")
            .region("eu central")
            .endpoint("host:9000/path")
            .encryption(Encryption::Kms {
                key: Some(" ".into()),
            })
            .tag("aws:x", "y")
            .tag("k", "\n")
            .bucket_owner("me")
            .limits(TransferLimits {
                part_bytes: 1,
                min_concurrency: 8,
                max_concurrency: 4,
                parts_at_once: 0,
                memory_bytes: 0,
            })
            .patience(Patience {
                attempts: 0,
                ..Patience::default()
            })
            .build()
            .unwrap_err();
        assert_eq!(error.problems.len(), 13, "{:#?}", error.problems);
    }

    #[test]
    fn names_of_buckets_are_those_of_aws() {
        for bucket in [
            "abc",
            "my-bucket.2025",
            "0-0",
            "arn:aws:s3:eu-west-1:123456789012:accesspoint/a",
        ] {
            assert_eq!(bucket_problem(bucket), None, "{bucket}");
        }
        for bucket in [
            "ab",
            "Abc",
            "-ab",
            "ab-",
            "a..b",
            "10.0.0.1",
            "a_b",
            "xn--abc",
            "a-s3alias",
            &"a".repeat(64),
        ] {
            assert!(bucket_problem(bucket).is_some(), "{bucket}");
        }
    }

    #[test]
    fn credentials_never_show() {
        let builder = S3StoreBuilder::new("bucket").credentials("AKIA", "very secret");
        let store = builder.clone().build().unwrap();
        for text in [format!("{builder:?}"), format!("{store:?}")] {
            assert!(!text.contains("secret") && !text.contains("AKIA"), "{text}");
        }
    }
}
