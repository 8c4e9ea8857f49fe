//! Where a service is: regions and addresses as people write them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

/// The address of a server or of a place in it. User and password, which have no place in one, never show.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Address(String);

impl Address {
    /// The address as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Address {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_user_info(&self.0))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&without_user_info(&self.0), f)
    }
}

/// `text` without `user:password@` after its scheme, or before its host where it has none.
#[must_use]
pub fn without_user_info(text: &str) -> Cow<'_, str> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match (authority.rsplit_once('@'), scheme) {
        (None, _) => Cow::Borrowed(text),
        (Some((_, host)), Some(scheme)) => Cow::Owned(format!("{scheme}://{host}{path}")),
        (Some((_, host)), None) => Cow::Owned(format!("{host}{path}")),
    }
}

/// True if the text can be the name of a region.
#[must_use]
pub fn is_region(region: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !region.is_empty() && region.bytes().all(allowed)
}

/// Why `region` cannot be used, with what would be right; `None` if it can.
#[must_use]
pub fn region_problem(region: &str) -> Option<String> {
    (!is_region(region)).then(|| format!("the region {region:?} is none: write it like `eu-central-1`"))
}

/// Why `endpoint` cannot be used, with what would be right; `None` if it is `http://` or `https://`, a host, and nothing
/// after it.
#[must_use]
pub fn endpoint_problem(endpoint: &str) -> Option<String> {
    let host = endpoint
        .strip_prefix("https://")
        .or_else(|| endpoint.strip_prefix("http://"))
        .map(|host| host.trim_end_matches('/'));
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || "/@?#".contains(c);
    let fine = host.is_some_and(|host| !host.is_empty() && !host.contains(forbidden));
    (!fine).then(|| {
        let shown = without_user_info(endpoint);
        format!(
            "the endpoint {shown:?} is none: write it like `https://host:9000`, without a path or credentials"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_words() {
        for region in ["eu-central-1", "us-gov-west-1", "garage"] {
            assert_eq!(region_problem(region), None, "{region}");
        }
        for region in ["", "eu central", "eu_central", "é"] {
            assert!(region_problem(region).is_some(), "{region}");
        }
    }

    #[test]
    fn user_and_password_never_show() {
        for (text, shown) in [
            ("http://kate:sesame@host:9000/b", "http://host:9000/b"),
            ("https://k@te:ses@me@host", "https://host"),
            ("kate:sesame@host:9000", "host:9000"),
            ("s3://bucket/a@b", "s3://bucket/a@b"),
            ("https://host", "https://host"),
        ] {
            let address = Address::from(text);
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), format!("{shown:?}"));
            let problem = endpoint_problem(text).unwrap_or_default();
            assert!(!problem.contains("ses"), "{problem}");
        }
    }

    #[test]
    fn endpoints_are_a_host_and_nothing_after_it() {
        for endpoint in [
            "http://127.0.0.1:9000",
            "https://s3.example/",
            "https://[::1]:9000",
        ] {
            assert_eq!(endpoint_problem(endpoint), None, "{endpoint}");
        }
        for endpoint in [
            "",
            "host:9000",
            "https://",
            "https:///",
            "ftp://host",
            "https://host/path",
            "https://user@host",
            "https://host?a",
            "https://ho st",
        ] {
            assert!(endpoint_problem(endpoint).is_some(), "{endpoint}");
        }
    }
}
