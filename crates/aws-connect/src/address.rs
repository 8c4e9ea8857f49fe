//! Where a service is: regions and endpoints as people write them.

/// Whether it can be a region's name.
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
        format!("the endpoint {endpoint:?} is none: write it like `https://host:9000`, without a path or credentials")
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
