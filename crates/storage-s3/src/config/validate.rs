//! Validation of a configuration: every problem is told at once.

use std::collections::BTreeMap;

use aws_connect::{Address, StaticCredentials, endpoint_problem, region_problem};
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::types::ServerSideEncryption;
use tracking_model::percent_encode;

use super::{
    DEFAULT_PREFIX, MAX_PART_BYTES, MIB, MIN_PART_BYTES, RetryConfig, S3Config, S3ConfigError, StorageClass,
};
use crate::key::{KeyRoot, MAX_KEY_BYTES, S3Location};

const DEFAULT_PART_MIB: u64 = 8;
const DEFAULT_MEMORY_MIB: u64 = 64;
const DEFAULT_ATTEMPTS: u32 = 5;
/// Requests at once. More than 16 are not faster (S3 on loopback, 64 KiB objects).
const DEFAULT_CONCURRENCY: usize = 16;
const MAX_CONCURRENCY: usize = 1024;
/// Bytes that a key may need below the prefix: session, collection and file name at their longest.
const ROOM_BELOW_PREFIX: usize = 200 + 1 + 200 + 1 + 255;

/// A validated configuration.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) root: KeyRoot,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) path_style: Option<bool>,
    pub(crate) encryption: Option<ServerSideEncryption>,
    pub(crate) kms_key: Option<String>,
    pub(crate) storage_class: Option<StorageClass>,
    /// As the header wants them: `a=b&c=d`.
    pub(crate) tagging: Option<String>,
    pub(crate) bucket_owner: Option<String>,
    pub(crate) checksums: Option<RequestChecksumCalculation>,
    /// `None` if a probe must tell.
    pub(crate) conditional_writes: Option<bool>,
    pub(crate) part_bytes: u64,
    pub(crate) concurrency: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) attempts: u32,
    pub(crate) retry: RetryConfig,
    pub(crate) credentials: Option<StaticCredentials>,
}

impl S3Config {
    pub(crate) fn validate(self) -> Result<Settings, S3ConfigError> {
        let mut problems = Vec::new();
        let location = self.location(&mut problems);
        problems.extend(self.region.as_deref().and_then(region_problem));
        let endpoint = self.endpoint.as_ref().map(Address::as_str);
        problems.extend(endpoint.and_then(endpoint_problem));
        self.check_kms_key(&mut problems);
        check_tags(&self.tags, &mut problems);
        let is_account =
            |account: &&String| account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(account) = self.bucket_owner.as_ref().filter(|account| !is_account(account)) {
            problems.push(format!(
                "the bucket owner {account:?} is no account: give its 12 digits"
            ));
        }
        let part_bytes = self.part_size_mib.unwrap_or(DEFAULT_PART_MIB).saturating_mul(MIB);
        let memory_bytes = match self.memory_mib {
            Some(mib) => mib.saturating_mul(MIB),
            None => part_bytes.max(DEFAULT_MEMORY_MIB * MIB),
        };
        let concurrency = self.max_concurrency.unwrap_or(DEFAULT_CONCURRENCY);
        let attempts = self.attempts.unwrap_or(DEFAULT_ATTEMPTS);
        check_limits(part_bytes, memory_bytes, concurrency, attempts, &mut problems);
        let class = |name: &str| StorageClass::named(name).map(Some);
        let mut choices = Choices(&mut problems);
        let settings = Settings {
            root: KeyRoot::new(&location),
            encryption: choices.choose(
                "sse",
                self.sse.as_deref(),
                choice([
                    ("none", None),
                    ("AES256", Some(ServerSideEncryption::Aes256)),
                    ("aws:kms", Some(ServerSideEncryption::AwsKms)),
                ]),
                "none, AES256, aws:kms",
            ),
            storage_class: choices.choose(
                "storage_class",
                self.storage_class.as_deref(),
                class,
                &StorageClass::names(),
            ),
            checksums: choices.choose(
                "checksums",
                self.checksums.as_deref(),
                choice([
                    ("when_required", Some(RequestChecksumCalculation::WhenRequired)),
                    ("when_supported", Some(RequestChecksumCalculation::WhenSupported)),
                ]),
                "when_required, when_supported",
            ),
            conditional_writes: choices.choose(
                "conditional_writes",
                self.conditional_writes.as_deref(),
                choice([
                    ("probe", None),
                    ("honoured", Some(true)),
                    ("ignored", Some(false)),
                ]),
                "probe, honoured, ignored",
            ),
            tagging: tagging(&self.tags),
            region: self.region,
            endpoint: self.endpoint.map(|endpoint| endpoint.as_str().to_owned()),
            path_style: self.path_style,
            kms_key: self.kms_key,
            bucket_owner: self.bucket_owner,
            part_bytes,
            concurrency,
            memory_bytes,
            attempts,
            retry: self.retry,
            credentials: self.credentials,
        };
        match problems.is_empty() {
            true => Ok(settings),
            false => Err(S3ConfigError { problems }),
        }
    }

    /// Bucket and prefix; empty, and a problem, where the configuration does not name a bucket.
    fn location(&self, problems: &mut Vec<String>) -> S3Location {
        let mut location = S3Location {
            bucket: String::new(),
            prefix: self.prefix.clone().unwrap_or_else(|| DEFAULT_PREFIX.to_owned()),
        };
        match (&self.url, &self.bucket) {
            (Some(url), None) => match url.as_str().parse::<S3Location>() {
                Ok(named) => {
                    location.bucket = named.bucket;
                    if !named.prefix.is_empty() {
                        location.prefix = named.prefix;
                        if self.prefix.is_some() {
                            problems.push("the prefix is given twice: in `url` and in `prefix`".to_owned());
                        }
                    }
                }
                Err(error) => {
                    problems.push(format!("{url:?} names no bucket: {}", error.rule));
                    return location;
                }
            },
            (None, Some(bucket)) => location.bucket.clone_from(bucket),
            (Some(_), Some(_)) => {
                problems.push("the bucket is given twice: in `url` and in `bucket`".to_owned());
                return location;
            }
            (None, None) => {
                problems.push("no bucket is given: set `url` or `bucket`".to_owned());
                return location;
            }
        }
        let S3Location { bucket, prefix } = &location;
        problems.extend(bucket_problem(bucket).map(|rule| format!("the bucket name {bucket:?} {rule}")));
        problems.extend(prefix_problem(prefix).map(|rule| format!("the prefix {prefix:?} {rule}")));
        location
    }

    fn check_kms_key(&self, problems: &mut Vec<String>) {
        let Some(key) = &self.kms_key else {
            return;
        };
        if self.sse.as_deref() != Some("aws:kms") {
            problems.push("`kms_key` needs `sse = \"aws:kms\"`".to_owned());
        } else if key.is_empty() || key.contains(char::is_whitespace) {
            problems.push(format!(
                "the KMS key {key:?} is none: give its id, its ARN or `alias/NAME`"
            ));
        }
    }
}

/// Collects the problems of settings that are one of a few words.
struct Choices<'a>(&'a mut Vec<String>);

impl Choices<'_> {
    /// The value called `name`; the default if the setting is absent.
    fn choose<T: Default>(
        &mut self,
        setting: &str,
        name: Option<&str>,
        named: impl Fn(&str) -> Option<T>,
        names: &str,
    ) -> T {
        let Some(name) = name else {
            return T::default();
        };
        named(name).unwrap_or_else(|| {
            self.0
                .push(format!("`{setting}` cannot be {name:?}: {names} are possible"));
            T::default()
        })
    }
}

fn choice<T: Clone, const N: usize>(values: [(&'static str, T); N]) -> impl Fn(&str) -> Option<T> {
    move |name| {
        let found = values.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone())
    }
}

fn tagging(tags: &BTreeMap<String, String>) -> Option<String> {
    let encode = |(key, value): (&String, &String)| {
        format!(
            "{}={}",
            percent_encode(key.as_bytes()),
            percent_encode(value.as_bytes())
        )
    };
    let tags: Vec<_> = tags.iter().map(encode).collect();
    (!tags.is_empty()).then(|| tags.join("&"))
}

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

fn check_tags(tags: &BTreeMap<String, String>, problems: &mut Vec<String>) {
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
}

fn check_limits(
    part_bytes: u64,
    memory_bytes: u64,
    concurrency: usize,
    attempts: u32,
    problems: &mut Vec<String>,
) {
    if !(MIN_PART_BYTES..=MAX_PART_BYTES).contains(&part_bytes) {
        problems.push(format!(
            "parts of {part_bytes} bytes are not possible: 5 MiB to 5 GiB are"
        ));
    }
    if memory_bytes < part_bytes {
        problems.push(format!(
            "{memory_bytes} bytes of memory cannot hold a part of {part_bytes}"
        ));
    }
    if !(1..=MAX_CONCURRENCY).contains(&concurrency) {
        problems.push(format!(
            "{concurrency} requests at once are not possible: 1 to 1,024 are"
        ));
    }
    if attempts == 0 {
        problems.push("a request cannot be tried 0 times: give at least 1 attempt".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(config: S3Config) -> Vec<String> {
        config.validate().unwrap_err().problems
    }

    #[test]
    fn every_problem_is_told() {
        let found = problems(S3Config {
            bucket: Some("Bad_Bucket".into()),
            prefix: Some("/a//b".into()),
            region: Some("eu central".into()),
            endpoint: Some("host:9000/path".into()),
            sse: Some("aws:kms".into()),
            kms_key: Some(" ".into()),
            tags: [("aws:x", "y"), ("k", "\n")]
                .map(|(key, value)| (key.into(), value.into()))
                .into(),
            bucket_owner: Some("me".into()),
            part_size_mib: Some(1),
            memory_mib: Some(0),
            max_concurrency: Some(0),
            attempts: Some(0),
            ..S3Config::default()
        });
        assert_eq!(found.len(), 12, "{found:#?}");
    }

    #[test]
    fn every_value_that_means_nothing_is_told() {
        let config = toml::from_str(
            "url = 's3://b'\nbucket = 'c'\nsse = 'rot13'\nkms_key = 'k'\nstorage_class = 'ATTIC'\nchecksums = 'never'\n\
             conditional_writes = 'hopefully'",
        );
        let found = problems(config.unwrap());
        assert_eq!(found.len(), 6, "{found:#?}");
    }

    #[test]
    fn values_that_mean_nothing_hide_no_other_problem() {
        let config = toml::from_str(
            "url = 's3://Bad_Bucket/a'\nsse = 'rot13'\nstorage_class = 'ATTIC'\nregion = 'eu west'\nendpoint = 'host:1'\n\
             bucket_owner = 'me'\npart_size_mib = 1\nattempts = 0",
        );
        let found = problems(config.unwrap());
        assert_eq!(found.len(), 8, "{found:#?}");
        let nowhere = S3Config {
            region: Some(" ".into()),
            ..S3Config::default()
        };
        assert_eq!(problems(nowhere).len(), 2, "an absent bucket has no wrong name");
    }

    #[test]
    fn a_misspelt_setting_is_no_setting() {
        assert!(toml::from_str::<S3Config>("buket = 'b'").is_err());
    }

    #[test]
    fn without_a_prefix_there_is_the_default() {
        let settings = S3Config::at("s3://bucket").validate().unwrap();
        assert_eq!(
            settings.root.location().to_string(),
            format!("s3://bucket/{DEFAULT_PREFIX}")
        );
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
        let config = S3Config {
            credentials: Some(StaticCredentials::new("AKIA", "very secret")),
            ..S3Config::at("s3://bucket")
        };
        let store = crate::S3Store::new(config.clone()).unwrap();
        for text in [format!("{config:?}"), format!("{store:?}")] {
            assert!(!text.contains("secret") && !text.contains("AKIA"), "{text}");
        }
    }
}
