//! The configuration of a store.

mod validate;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use aws_connect::{Address, StaticCredentials};
use serde::Deserialize;

pub(crate) use validate::Settings;

/// The smallest part that S3 accepts, but for the last.
pub const MIN_PART_BYTES: u64 = 5 * MIB;
/// The largest part that S3 accepts, which is also the largest object of one request.
pub const MAX_PART_BYTES: u64 = 5 * 1024 * MIB;
/// The prefix of keys where none is configured.
pub const DEFAULT_PREFIX: &str = "eks-upgrade-agent/artifacts";

const MIB: u64 = 1024 * 1024;

/// The configuration of a store; also the section `[s3]` of a configuration file. Absent fields have their defaults.
///
/// Credentials, and region and endpoint where they are absent, come from the SDK's standard chain: environment, profiles,
/// SSO, web identity, containers, instance metadata. The chain is read at the first request.
///
/// ```
/// use storage_s3::{S3Config, S3Store};
///
/// let config: S3Config = toml::from_str(r#"
///     url = "s3://team-bucket/upgrades"
///     region = "eu-central-1"
///     storage_class = "STANDARD_IA"
///     sse = "aws:kms"
///     kms_key = "alias/upgrades"
///     part_size_mib = 16
///     [tags]
///     team = "platform"
/// "#)?;
/// let store = S3Store::new(config)?;
/// assert_eq!(store.location().to_string(), "s3://team-bucket/upgrades");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    /// `s3://bucket/prefix`, instead of bucket and prefix.
    pub url: Option<Address>,
    /// The bucket.
    pub bucket: Option<String>,
    /// The prefix; empty for the whole bucket. The default is [`DEFAULT_PREFIX`].
    pub prefix: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// The address of a server that is not AWS: `https://host:port`.
    pub endpoint: Option<Address>,
    /// True to address the bucket in the path; the default is true with an endpoint that is not AWS.
    pub path_style: Option<bool>,
    /// Server-side encryption: `none` (the bucket's own settings, the default), `AES256` or `aws:kms`.
    pub sse: Option<String>,
    /// The key for `aws:kms`: its id, ARN or alias; the default is the account's key for S3.
    pub kms_key: Option<String>,
    /// The storage class of artifacts: a name of [`StorageClass`]; the default is the bucket's.
    pub storage_class: Option<String>,
    /// Tags of every object, at most 10.
    pub tags: BTreeMap<String, String>,
    /// The account that must own the bucket, 12 digits: requests to other accounts' buckets are refused.
    pub bucket_owner: Option<String>,
    /// When the SDK adds checksums of its own: `when_required` or `when_supported`. The default is the environment's
    /// (`AWS_REQUEST_CHECKSUM_CALCULATION`), else `when_required` with an endpoint that is not AWS, for other servers refuse
    /// the SDK's additions. The store's own checksums are always sent and verified.
    pub checksums: Option<String>,
    /// `honoured` if the server honours `If-None-Match: *`, `ignored` if not, or `probe`, the default: AWS is known to honour
    /// it, other servers are probed once for each store. Where it is ignored, every object gets a name that no other writer uses,
    /// `{stem}~{artifact_id}{ext}`.
    pub conditional_writes: Option<String>,
    /// MiB of a part of a large file, and of a range of a large download: 5 to 5,120, 8 by default. Files that would need
    /// more than 10,000 parts get larger ones.
    pub part_size_mib: Option<u64>,
    /// Requests at once: 1 to 1,024, 16 by default.
    pub max_concurrency: Option<usize>,
    /// MiB of bodies in memory, in all transfers together; 64 by default, at least one part.
    pub memory_mib: Option<u64>,
    /// Attempts for each request; 5 by default.
    pub attempts: Option<u32>,
    /// True to upload what is added. A store ignores it: it is for programs that write to the store.
    pub auto_upload: Option<bool>,
    /// Pauses and timeouts.
    #[serde(skip)]
    pub retry: RetryConfig,
    /// Credentials in place of the standard chain's.
    #[serde(skip)]
    pub credentials: Option<StaticCredentials>,
}

/// Pauses between the attempts of a request, and timeouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryConfig {
    /// The pause before the second attempt; each further one is longer, up to [`Self::max_backoff`], and has jitter.
    pub backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
    /// Time for making a connection.
    pub connect_timeout: Duration,
    /// Time until the first byte of an answer, sending the request included.
    pub read_timeout: Duration,
    /// As [`Self::read_timeout`], for a request that sends no body: a listing, a HEAD, the beginning of a read.
    pub metadata_timeout: Duration,
    /// Time for such a request in all its attempts, until the answer begins.
    pub metadata_deadline: Duration,
    /// Time for one attempt.
    pub attempt_timeout: Duration,
    /// Time that a transfer may stand still before it counts as broken.
    pub stall_timeout: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            metadata_timeout: Duration::from_secs(10),
            metadata_deadline: Duration::from_secs(25),
            attempt_timeout: Duration::from_secs(300),
            stall_timeout: Duration::from_secs(20),
        }
    }
}

/// A storage class of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageClass(&'static str);

impl StorageClass {
    const NAMES: [&str; 8] = [
        "STANDARD",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER_IR",
        "GLACIER",
        "DEEP_ARCHIVE",
        "REDUCED_REDUNDANCY",
    ];

    /// The class of this name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let known = Self::NAMES
            .into_iter()
            .find(|known| known.eq_ignore_ascii_case(name));
        known.map(Self)
    }

    /// The name in S3's requests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// All names, for messages.
    #[must_use]
    pub fn names() -> String {
        Self::NAMES.join(", ")
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub struct S3ConfigError {
    /// Every problem, with what would be right.
    pub problems: Vec<String>,
}

impl fmt::Display for S3ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the settings of the S3 store cannot be used: {}",
            self.problems.join("; ")
        )
    }
}

impl S3Config {
    /// The configuration of a store at `s3://bucket/prefix`; without a prefix in it, below [`DEFAULT_PREFIX`].
    #[must_use]
    pub fn at(url: impl Into<Address>) -> Self {
        Self {
            url: Some(url.into()),
            ..Self::default()
        }
    }
}
