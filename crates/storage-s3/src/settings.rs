//! What a store is set to, once it was validated.

use std::path::PathBuf;
use std::time::Duration;

use aws_connect::StaticCredentials;

use crate::key::KeyRoot;

/// The smallest part that S3 accepts, but for the last.
pub const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;
/// The largest part that S3 accepts, which is also the largest object of one request.
pub const MAX_PART_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// The most parts of one upload.
pub(crate) const MAX_PARTS: u64 = 10_000;
/// Keys are laid under this prefix where none is given.
pub const DEFAULT_PREFIX: &str = "eks-upgrade-agent/artifacts";

/// How the server encrypts what it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Encryption {
    /// As the bucket's own settings say.
    #[default]
    BucketDefault,
    /// With keys that S3 manages (`AES256`).
    S3,
    /// With a key of AWS KMS: its id, ARN or alias; without one the account's key for S3.
    Kms {
        /// The key.
        key: Option<String>,
    },
}

/// How objects are kept, and what keeping and reading them costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StorageClass {
    /// As the bucket's own settings say.
    #[default]
    BucketDefault,
    /// `STANDARD`
    Standard,
    /// `STANDARD_IA`
    StandardIa,
    /// `ONEZONE_IA`
    OneZoneIa,
    /// `INTELLIGENT_TIERING`
    IntelligentTiering,
    /// `GLACIER_IR`
    GlacierInstantRetrieval,
    /// `GLACIER`: reading needs a restore first.
    GlacierFlexibleRetrieval,
    /// `DEEP_ARCHIVE`: reading needs a restore first.
    DeepArchive,
    /// `REDUCED_REDUNDANCY`
    ReducedRedundancy,
}

impl StorageClass {
    const NAMED: [Self; 8] = [
        Self::Standard,
        Self::StandardIa,
        Self::OneZoneIa,
        Self::IntelligentTiering,
        Self::GlacierInstantRetrieval,
        Self::GlacierFlexibleRetrieval,
        Self::DeepArchive,
        Self::ReducedRedundancy,
    ];

    /// The name in S3's requests, `None` where none is sent.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::BucketDefault => None,
            Self::Standard => Some("STANDARD"),
            Self::StandardIa => Some("STANDARD_IA"),
            Self::OneZoneIa => Some("ONEZONE_IA"),
            Self::IntelligentTiering => Some("INTELLIGENT_TIERING"),
            Self::GlacierInstantRetrieval => Some("GLACIER_IR"),
            Self::GlacierFlexibleRetrieval => Some("GLACIER"),
            Self::DeepArchive => Some("DEEP_ARCHIVE"),
            Self::ReducedRedundancy => Some("REDUCED_REDUNDANCY"),
        }
    }

    /// The class of this name in S3's requests, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED
            .into_iter()
            .find(|class| class.name().is_some_and(|known| known.eq_ignore_ascii_case(name)))
    }

    /// All names, for messages.
    #[must_use]
    pub fn names() -> String {
        let names: Vec<_> = Self::NAMED.into_iter().filter_map(Self::name).collect();
        names.join(", ")
    }
}

/// When the SDK adds checksums of its own. Ours are sent and verified always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ChecksumPolicy {
    /// As the environment says (`AWS_REQUEST_CHECKSUM_CALCULATION`); else `WhenRequired` for an endpoint of one's own,
    /// since other servers refuse the SDK's additions, and `WhenSupported` for AWS.
    #[default]
    Auto,
    /// Only where an operation demands one.
    WhenRequired,
    /// Wherever an operation takes one.
    WhenSupported,
}

/// Whether creating an object only where none is (`If-None-Match: *`) can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ConditionalWrites {
    /// On AWS it can; elsewhere a probe finds out, once for each store.
    #[default]
    Probe,
    /// It can.
    Honoured,
    /// It cannot: every object gets a name that no other writer uses, `{stem}~{artifact_id}{ext}`.
    Ignored,
}

/// When a request is given up, and how often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patience {
    /// How often a request is sent in all; at least 1.
    pub attempts: u32,
    /// The pause before the second attempt; each further one is longer, up to [`Self::max_backoff`], and has jitter.
    pub backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long the first byte of an answer may take, sending the request included.
    pub read_timeout: Duration,
    /// As [`Self::read_timeout`], of a request that sends no bytes: a listing, a look, the beginning of a read.
    pub ask_timeout: Duration,
    /// How long such a request may take in all its attempts, until the answer begins.
    pub ask_deadline: Duration,
    /// How long one attempt may take in all.
    pub attempt_timeout: Duration,
    /// How long a transfer may stand still before it counts as broken.
    pub stall_timeout: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(30),
            ask_timeout: Duration::from_secs(10),
            ask_deadline: Duration::from_secs(25),
            attempt_timeout: Duration::from_secs(300),
            stall_timeout: Duration::from_secs(20),
        }
    }
}

/// How much goes on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferLimits {
    /// Bytes of a part of a large file, and of a range of a large download: 5 MiB to 5 GiB. Files that would need more
    /// than 10,000 parts get larger ones.
    pub part_bytes: u64,
    /// Requests at once, to begin with and at the least.
    pub min_concurrency: usize,
    /// Requests at once, at the most. In between it grows while all goes well and halves when the server throttles.
    pub max_concurrency: usize,
    /// Parts of one file at once.
    pub parts_at_once: usize,
    /// Bytes of bodies in memory, in all transfers together.
    pub memory_bytes: u64,
}

impl Default for TransferLimits {
    fn default() -> Self {
        Self {
            part_bytes: 8 * 1024 * 1024,
            min_concurrency: 16,
            max_concurrency: 64,
            parts_at_once: 6,
            memory_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Everything that [`S3StoreBuilder`](crate::S3StoreBuilder) validated.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) root: KeyRoot,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) path_style: Option<bool>,
    pub(crate) encryption: Encryption,
    pub(crate) storage_class: StorageClass,
    /// As the header wants them: `a=b&c=d`.
    pub(crate) tagging: Option<String>,
    pub(crate) bucket_owner: Option<String>,
    pub(crate) checksums: ChecksumPolicy,
    pub(crate) conditional_writes: ConditionalWrites,
    pub(crate) limits: TransferLimits,
    pub(crate) patience: Patience,
    pub(crate) spool_dir: PathBuf,
    pub(crate) credentials: Option<StaticCredentials>,
}
