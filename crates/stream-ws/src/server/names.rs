//! The names of a server and the origins of pages, as somebody writes them down: one that no request can carry would let
//! nobody in, and nobody would know why.

use std::net::Ipv6Addr;

/// A name or an origin that no request ever carries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A host that no `Host` header names.
    #[error("no viewer can name the host {given:?}: {reason}; give it as in dash.example.com")]
    Host {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An origin that no browser sends.
    #[error("no page can have the origin {given:?}: {reason}; give it as in https://dash.example.com")]
    Origin {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Whether a `Host` header can name `host`, with or without a port.
///
/// # Errors
/// [`NameError::Host`] says why not.
pub fn check_host(host: &str) -> Result<(), NameError> {
    let wrong = if host.contains("://") {
        Some("it has a scheme")
    } else {
        wrong_authority(host).err()
    };
    wrong.map_or(Ok(()), |reason| {
        Err(NameError::Host {
            given: host.to_owned(),
            reason,
        })
    })
}

/// Whether an `Origin` header can be `origin`: scheme and host, and a port if it is not the scheme's own. A slash at the end
/// is overlooked.
///
/// # Errors
/// [`NameError::Origin`] says why not.
pub fn check_origin(origin: &str) -> Result<(), NameError> {
    wrong_origin(origin).map_or(Ok(()), |reason| {
        Err(NameError::Origin {
            given: origin.to_owned(),
            reason,
        })
    })
}

fn wrong_origin(origin: &str) -> Option<&'static str> {
    if origin.eq_ignore_ascii_case("null") {
        return Some("any page can make its origin that");
    }
    let Some((scheme, authority)) = origin.split_once("://") else {
        return Some("it has no scheme");
    };
    let scheme = scheme.to_ascii_lowercase();
    let mut letters = scheme.bytes();
    let begins_well = letters.next().is_some_and(|first| first.is_ascii_lowercase());
    if !begins_well || !letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
        return Some("its scheme is none");
    }
    if matches!(&*scheme, "ws" | "wss") {
        return Some("it is that of the page, not of the server, so it begins with https:// or http://");
    }
    match (&*scheme, wrong_authority(authority.trim_end_matches('/'))) {
        (_, Err(reason)) => Some(reason),
        ("https", Ok(Some(443))) | ("http", Ok(Some(80))) => {
            Some("browsers leave out the port that the scheme has anyway")
        }
        (_, Ok(_)) => None,
    }
}

/// The port, if there is one; or what is wrong.
fn wrong_authority(text: &str) -> Result<Option<u16>, &'static str> {
    if text.is_empty() {
        return Err("it names no host");
    }
    if text.contains(char::is_whitespace) {
        return Err("it has a space in it");
    }
    if text.contains(['/', '?', '#', '\\']) {
        return Err("it has a path");
    }
    if text.contains('*') {
        return Err("it is compared as it is, and no host has a star in it");
    }
    if text.contains(',') {
        return Err("it is more than one; give each by itself");
    }
    if text.contains('@') {
        return Err("it has a user in it");
    }
    if !text.is_ascii() {
        return Err("names with other letters than English ones are sent as xn--…");
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err("such an address is sent in brackets");
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port.map(str::parse) {
        None => None,
        Some(Ok(port)) => Some(port),
        Some(Err(_)) => return Err("its port is no number up to 65535"),
    };
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) if address.parse::<Ipv6Addr>().is_ok() => Ok(port),
        Some(_) => Err("what is in the brackets is no address"),
        None if host.is_empty() => Err("it names no host"),
        None if host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) =>
        {
            Ok(port)
        }
        None => Err("it has a sign in it that no host has"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_can_carry_is_taken() {
        for host in [
            "dash.example.com",
            "Dash.Example.com:8765",
            "localhost",
            "10.0.0.7",
            "[2001:db8::1]",
            "[::1]:8765",
            "my_host",
        ] {
            assert_eq!(check_host(host), Ok(()), "{host}");
        }
        for origin in [
            "https://dash.example.com",
            "HTTPS://dash.example.com/",
            "http://localhost:5173",
            "https://dash.example.com:8443",
            "http://[::1]:5173",
            "chrome-extension://abcdefghijklmnop",
        ] {
            assert_eq!(check_origin(origin), Ok(()), "{origin}");
        }
    }

    #[test]
    fn what_no_request_carries_is_refused_with_the_reason() {
        for (host, reason) in [
            ("", "names no host"),
            ("https://dash.example.com", "has a scheme"),
            ("dash.example.com/", "has a path"),
            ("dash example.com", "a space"),
            ("*.example.com", "star"),
            ("a.example.com,b.example.com", "more than one"),
            ("me@dash.example.com", "a user"),
            ("bücher.example.com", "xn--"),
            ("::1", "brackets"),
            ("[::1", "no host has"),
            ("[dash]", "no address"),
            ("dash.example.com:http", "port"),
            ("dash.example.com:99999", "port"),
            (":8765", "names no host"),
            ("dash\".example.com", "no host has"),
        ] {
            let error = check_host(host).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("as in dash"), "{error}");
        }
        for (origin, reason) in [
            ("", "no scheme"),
            ("dash.example.com", "no scheme"),
            ("localhost:5173", "no scheme"),
            ("https://", "names no host"),
            ("https://dash.example.com/app", "has a path"),
            ("https://dash.example.com?x", "has a path"),
            ("https://dash.example.com:443", "leave out"),
            ("http://dash.example.com:80/", "leave out"),
            ("wss://dash.example.com", "that of the page"),
            ("https://*.example.com", "star"),
            ("*", "no scheme"),
            ("null", "any page"),
            ("1http://dash.example.com", "scheme is none"),
            ("https://dash example.com", "a space"),
        ] {
            let error = check_origin(origin).unwrap_err().to_string();
            assert!(
                error.contains(reason) && error.contains("as in https://"),
                "{error}"
            );
        }
    }
}
