//! The settings as they stand in a configuration file.

use std::collections::BTreeMap;

use aws_connect::Address;
use serde::Deserialize;

use crate::builder::S3StoreBuilder;
use crate::key::S3Location;
use crate::settings::{ChecksumPolicy, ConditionalWrites, DEFAULT_PREFIX, Encryption, StorageClass};

/// The section `[s3]` of a configuration file. What is absent has the builder's default; credentials have no place here.
///
/// ```
/// let config: storage_s3::S3Config = toml::from_str(r#"
///     url = "s3://team-bucket/upgrades"
///     region = "eu-central-1"
///     storage_class = "STANDARD_IA"
///     sse = "aws:kms"
///     kms_key = "alias/upgrades"
///     part_size_mib = 16
///     [tags]
///     team = "platform"
/// "#)?;
/// let store = config.into_builder().build()?;
/// assert_eq!(store.location().to_string(), "s3://team-bucket/upgrades");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct S3Config {
    /// `s3://bucket/prefix`, instead of bucket and prefix.
    pub url: Option<Address>,
    /// The bucket.
    pub bucket: Option<String>,
    /// The prefix; empty for the whole bucket.
    pub prefix: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// The address of a server that is not AWS.
    pub endpoint: Option<Address>,
    /// Whether the bucket stands in the path of addresses.
    pub path_style: Option<bool>,
    /// `none`, `AES256` or `aws:kms`.
    pub sse: Option<String>,
    /// The key for `aws:kms`.
    pub kms_key: Option<String>,
    /// The storage class: `STANDARD`, `STANDARD_IA`, …
    pub storage_class: Option<String>,
    /// Tags that every object gets.
    pub tags: BTreeMap<String, String>,
    /// The account that must own the bucket.
    pub bucket_owner: Option<String>,
    /// `when_required` or `when_supported`.
    pub checksums: Option<String>,
    /// `probe`, `honoured` or `ignored`.
    pub conditional_writes: Option<String>,
    /// Size of parts in MiB.
    pub part_size_mib: Option<u64>,
    /// Requests at once, at the least.
    pub min_concurrency: Option<usize>,
    /// Requests at once, at the most.
    pub max_concurrency: Option<usize>,
    /// Memory for bodies in MiB, in all transfers together.
    pub memory_mib: Option<u64>,
    /// How often a request is sent in all.
    pub attempts: Option<u32>,
    /// Whether what is kept is uploaded by itself. A store does nothing by itself: this is for who puts into it.
    pub auto_upload: Option<bool>,
}

impl S3Config {
    /// The builder with these settings, for more to be set before `build`, which tells every problem of them: values that
    /// mean nothing, and what else is wrong.
    #[must_use]
    pub fn into_builder(self) -> S3StoreBuilder {
        let mut problems = Vec::new();
        let location = self.location(&mut problems);
        let is_placed = location.is_some();
        let (bucket, prefix) = location.map_or_else(Default::default, |at| (at.bucket, at.prefix));
        let mut builder = S3StoreBuilder::new(bucket)
            .prefix(prefix)
            .encryption(self.encryption(&mut problems))
            .storage_class(choice(
                "storage_class",
                self.storage_class.as_deref(),
                StorageClass::named,
                &StorageClass::names(),
                &mut problems,
            ))
            .checksums(choice(
                "checksums",
                self.checksums.as_deref(),
                checksum_policy,
                "when_required, when_supported",
                &mut problems,
            ))
            .conditional_writes(choice(
                "conditional_writes",
                self.conditional_writes.as_deref(),
                conditional_writes,
                "probe, honoured, ignored",
                &mut problems,
            ));
        builder = builder.misread(problems, is_placed);
        if let Some(region) = self.region {
            builder = builder.region(region);
        }
        if let Some(endpoint) = self.endpoint {
            builder = builder.endpoint(endpoint);
        }
        if let Some(in_path) = self.path_style {
            builder = builder.path_style(in_path);
        }
        if let Some(account) = self.bucket_owner {
            builder = builder.bucket_owner(account);
        }
        for (key, value) in self.tags {
            builder = builder.tag(key, value);
        }
        const MIB: u64 = 1024 * 1024;
        let mut limits = crate::TransferLimits::default();
        if let Some(mib) = self.part_size_mib {
            limits.part_bytes = mib.saturating_mul(MIB);
            limits.memory_bytes = limits.memory_bytes.max(limits.part_bytes);
        }
        limits.min_concurrency = self.min_concurrency.unwrap_or(limits.min_concurrency);
        limits.max_concurrency = self.max_concurrency.unwrap_or(limits.max_concurrency);
        limits.memory_bytes = self
            .memory_mib
            .map_or(limits.memory_bytes, |mib| mib.saturating_mul(MIB));
        let mut patience = crate::Patience::default();
        patience.attempts = self.attempts.unwrap_or(patience.attempts);
        builder.limits(limits).patience(patience)
    }

    /// `None` if it cannot be told, which is a problem then.
    fn location(&self, problems: &mut Vec<String>) -> Option<S3Location> {
        let default_prefix = || self.prefix.clone().unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
        match (&self.url, &self.bucket) {
            (Some(url), None) => match url.as_str().parse::<S3Location>() {
                Ok(mut location) => {
                    if location.prefix.is_empty() {
                        location.prefix = default_prefix();
                    } else if self.prefix.is_some() {
                        problems.push("the prefix is given twice: in `url` and in `prefix`".to_owned());
                    }
                    return Some(location);
                }
                Err(error) => problems.push(format!("{url:?} names no bucket: {}", error.rule)),
            },
            (None, Some(bucket)) => {
                return Some(S3Location {
                    bucket: bucket.clone(),
                    prefix: default_prefix(),
                });
            }
            (Some(_), Some(_)) => {
                problems.push("the bucket is given twice: in `url` and in `bucket`".to_owned())
            }
            (None, None) => problems.push("no bucket is given: set `url` or `bucket`".to_owned()),
        }
        None
    }

    fn encryption(&self, problems: &mut Vec<String>) -> Encryption {
        let known = match self.sse.as_deref() {
            None | Some("none") => Some(Encryption::BucketDefault),
            Some("AES256") => Some(Encryption::S3),
            Some("aws:kms") => {
                return Encryption::Kms {
                    key: self.kms_key.clone(),
                };
            }
            Some(_) => None,
        };
        if self.kms_key.is_some() {
            problems.push("`kms_key` needs `sse = \"aws:kms\"`".to_owned());
        }
        known.unwrap_or_else(|| {
            problems.push(format!(
                "`sse` cannot be {:?}: none, AES256, aws:kms are possible",
                self.sse.as_deref().unwrap_or_default()
            ));
            Encryption::default()
        })
    }
}

/// The value called `name`, the default if there is none.
fn choice<T: Default>(
    setting: &str,
    name: Option<&str>,
    named: impl Fn(&str) -> Option<T>,
    names: &str,
    problems: &mut Vec<String>,
) -> T {
    let Some(name) = name else {
        return T::default();
    };
    named(name).unwrap_or_else(|| {
        problems.push(format!("`{setting}` cannot be {name:?}: {names} are possible"));
        T::default()
    })
}

fn checksum_policy(name: &str) -> Option<ChecksumPolicy> {
    match name {
        "when_required" => Some(ChecksumPolicy::WhenRequired),
        "when_supported" => Some(ChecksumPolicy::WhenSupported),
        _ => None,
    }
}

fn conditional_writes(name: &str) -> Option<ConditionalWrites> {
    match name {
        "probe" => Some(ConditionalWrites::Probe),
        "honoured" => Some(ConditionalWrites::Honoured),
        "ignored" => Some(ConditionalWrites::Ignored),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_that_means_nothing_is_told() {
        let config: S3Config = toml::from_str(
            "url = 's3://b'\nbucket = 'c'\nsse = 'rot13'\nkms_key = 'k'\nstorage_class = 'ATTIC'\nchecksums = 'never'\n\
             conditional_writes = 'hopefully'",
        )
        .unwrap();
        let error = config.into_builder().build().unwrap_err();
        assert_eq!(error.problems.len(), 6, "{:#?}", error.problems);
    }

    #[test]
    fn values_that_mean_nothing_hide_no_other_problem() {
        let config: S3Config = toml::from_str(
            "url = 's3://Bad_Bucket/a'\nsse = 'rot13'\nstorage_class = 'ATTIC'\nregion = 'eu west'\nendpoint = 'host:1'\n\
             bucket_owner = 'me'\npart_size_mib = 1\nattempts = 0",
        )
        .unwrap();
        let error = config.into_builder().build().unwrap_err();
        assert_eq!(error.problems.len(), 8, "{:#?}", error.problems);
        let nowhere = S3Config {
            region: Some(" ".into()),
            ..S3Config::default()
        };
        let error = nowhere.into_builder().build().unwrap_err();
        assert_eq!(
            error.problems.len(),
            2,
            "what is not given is no wrong name: {error}"
        );
    }

    #[test]
    fn a_misspelt_setting_is_no_setting() {
        assert!(toml::from_str::<S3Config>("buket = 'b'").is_err());
    }

    #[test]
    fn without_a_prefix_there_is_the_default() {
        let config = S3Config {
            url: Some("s3://bucket".into()),
            ..S3Config::default()
        };
        let store = config.into_builder().build().unwrap();
        assert_eq!(
            store.location().to_string(),
            format!("s3://bucket/{DEFAULT_PREFIX}")
        );
    }
}
