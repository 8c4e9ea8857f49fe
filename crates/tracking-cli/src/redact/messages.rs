//! The only way to stderr for what this command says: errors, notes and logs, without secrets.

use std::io::{self, IsTerminal, Write as _};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tracing_subscriber::fmt::MakeWriter;

use super::Rules;
use crate::output::Patient;

/// Variables of the environment whose names end so hold a secret.
const SECRET_VARIABLES: &[&str] = &[
    "ACCESS_KEY",
    "ACCESS_KEY_ID",
    "API_KEY",
    "AUTHORIZATION_TOKEN",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PRIVATE_KEY",
    "SECRET",
    "SECRET_KEY",
    "TOKEN",
];
/// A value of fewer bytes may be an ordinary word.
const SHORTEST_SECRET: usize = 8;
const REPLACED: &str = "[redacted]";

static RULES: LazyLock<Rules> = LazyLock::new(Rules::of_messages);
static KNOWN: LazyLock<Mutex<Vec<String>>> = LazyLock::new(|| Mutex::new(of_environment()));

/// Writes `text` to stderr, without secrets. Nobody is left to tell where that fails, and a message decides nothing.
pub(crate) fn write(text: &str) {
    let text = without_secrets(text);
    if stderr().write_all(text.as_bytes()).is_err() {}
}

/// Keeps `secret` out of all messages from now on.
pub(crate) fn keep_out(secret: &str) {
    let secret = secret.trim();
    if secret.len() >= SHORTEST_SECRET {
        add(&mut known(), secret.to_owned());
    }
}

/// True if messages are read on a terminal.
pub(crate) fn is_terminal() -> bool {
    stderr().0.is_terminal()
}

/// Has a panic say what it says without secrets.
pub(crate) fn take_over_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("{backtrace}\n"),
            _ => String::new(),
        };
        let name = thread.name().unwrap_or("unnamed");
        write(&format!("thread '{name}' {panic}\n{backtrace}"));
    }));
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that writes there"
)]
fn stderr() -> Patient<io::Stderr> {
    Patient(io::stderr())
}

fn without_secrets(text: &str) -> String {
    let mut text = text.to_owned();
    for secret in known().iter().filter(|secret| !secret.is_empty()) {
        if text.contains(secret.as_str()) {
            text = text.replace(secret.as_str(), REPLACED);
        }
    }
    RULES.redact(&text)
}

fn known() -> MutexGuard<'static, Vec<String>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The longest comes first: one may be part of another.
fn add(known: &mut Vec<String>, secret: String) {
    if !known.contains(&secret) {
        known.push(secret);
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }
}

/// Secrets of the environment: variables with a secret's name, and credentials in addresses.
fn of_environment() -> Vec<String> {
    let mut known = Vec::new();
    for (name, value) in std::env::vars_os() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            continue;
        };
        let name = name.to_ascii_uppercase();
        if value.len() >= SHORTEST_SECRET && SECRET_VARIABLES.iter().any(|end| name.ends_with(end)) {
            add(&mut known, value.to_owned());
        }
        for user_info in user_infos(value) {
            add(&mut known, format!("{user_info}@"));
            add(&mut known, BASE64_STANDARD.encode(user_info));
            let password = user_info.split_once(':').map_or("", |(_, password)| password);
            if password.len() >= SHORTEST_SECRET {
                add(&mut known, password.to_owned());
            }
        }
    }
    known
}

/// `user:password` of every address in a text.
fn user_infos(text: &str) -> impl Iterator<Item = &str> {
    let addresses = text
        .split([' ', ',', ';'])
        .filter_map(|word| word.split_once("://"));
    addresses.filter_map(|(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next()?;
        let (user_info, _) = authority.rsplit_once('@')?;
        let (_, password) = user_info.split_once(':')?;
        (!password.is_empty()).then_some(user_info)
    })
}

/// Makes a writer for each event of the log, which is written when it is complete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log;

/// One event of the log.
#[derive(Debug, Default)]
pub(crate) struct Event(Vec<u8>);

impl<'a> MakeWriter<'a> for Log {
    type Writer = Event;

    fn make_writer(&'a self) -> Event {
        Event::default()
    }
}

impl io::Write for Event {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Does nothing: a part of an event may hold a part of a secret.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            write(&String::from_utf8_lossy(&self.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_addresses_are_found() {
        let found = |text| user_infos(text).collect::<Vec<_>>();
        assert_eq!(found("http://kate:sesame@proxy:3128/x@y"), ["kate:sesame"]);
        assert_eq!(found("a://u:p@h,b://v:q@i"), ["u:p", "v:q"]);
        for none in [
            "",
            "kate:sesame@host",
            "ssh://git@host",
            "http://host:80/a:b@c",
            "http://kate:@host",
        ] {
            assert_eq!(found(none), [""; 0], "{none}");
        }
    }

    #[test]
    fn fields_of_messages_are_left_out_by_their_names() {
        let signature = "0f".repeat(32);
        for (text, expected) in [
            (
                r#"Credentials { access_key_id: "minio" }"#.to_owned(),
                r#"Credentials { access_key_id: "[redacted:credential]" }"#,
            ),
            (
                r#"("x-amz-security-token", "opaque")"#.to_owned(),
                r#"("x-amz-security-token", "[redacted:credential]")"#,
            ),
            (
                "x-amz-security-token:opaque\nx-amz-date:1".to_owned(),
                "x-amz-security-token:[redacted:credential]\nx-amz-date:1",
            ),
            (
                format!(
                    "authorization: AWS4-HMAC-SHA256 Credential=minio/2026, SignedHeaders=host, Signature={signature}"
                ),
                "authorization: [redacted:credential]",
            ),
            (
                "?X-Amz-Credential=minio%2F2026&a=b".to_owned(),
                "?X-Amz-Credential=[redacted:credential]%2F2026&a=b",
            ),
            (
                format!("signature: {signature}"),
                "signature: [redacted:credential]",
            ),
            (
                "a password: too short, and credentials=none".to_owned(),
                "a password: too short, and credentials=none",
            ),
        ] {
            assert_eq!(without_secrets(&text), expected);
        }
    }
}
