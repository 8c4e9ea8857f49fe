//! Rules that recognise secrets.
//!
//! A rule is a regular expression over bytes that is applied within a line. It replaces its first group that takes part
//! in a match, or the whole match where it has no group. The standard rules follow those of gitleaks, and leave out
//! those of them that guess: nothing is replaced because it looks random.

use std::sync::{Arc, LazyLock};

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

/// Most bytes of memory that the program of one pattern may take.
const MOST_PROGRAM_BYTES: usize = 1 << 20;
/// Text before a token: the start, no part of a word, or the end of a terminal's colour.
const BEFORE: &str = r"(?:\A|[^0-9A-Za-z_]|\x1b\[[0-9;:]*m)";
/// Text between a name and its value: quotes, `=`, `:`, `|` or `=>`, and blanks.
const IS: &str = r#"["'\\]{0,3}[ \t]{0,40}(?:=>|:=|[:=|]|[ \t])[ \t]{0,40}["'\\]{0,3}"#;

/// The standard rules: a name and a pattern. `{BEFORE}` and `{IS}` stand for the constants above.
const STANDARD: &[(&str, &str)] = &[
    // The beginning of a private key in PEM, once more in base64, as in `client-key-data` of a kubeconfig.
    (
        "private-key",
        "{BEFORE}(LS0tLS1CRUdJTiB(?:QUklWQVRFIEtFWS|SU0EgUFJJVkFURSBLRV|FQyBQUklWQVRFIEtFW|PUEVOU1NIIFBSSVZBVEUgS0VZ|FTkNSWVBURUQgUFJJVkFURSBLRV)[0-9A-Za-z+/=]{20,})",
    ),
    (
        "aws-access-key-id",
        "{BEFORE}((?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})\\b{end-half}",
    ),
    (
        "aws-secret-key",
        "(?i:(?:aws_?)?secret_?(?:access_?)?key){IS}([0-9A-Za-z/+=]{40})(?:[^0-9A-Za-z/+=]|\\z)",
    ),
    (
        "aws-session-token",
        "(?i:(?:session|security)[_-]?token){IS}([0-9A-Za-z/+=%_-]{40,})",
    ),
    (
        "aws-session-token",
        "{BEFORE}((?:IQoJb3JpZ2lu|FwoGZXIvYXdz|FQoGZXIvYXdz)[0-9A-Za-z/+=%_-]{40,})",
    ),
    (
        "aws-signature",
        "(?i:x-amz-signature|signature)=([0-9a-f]{64})\\b{end-half}",
    ),
    ("eks-token", "{BEFORE}(k8s-aws-v1\\.[0-9A-Za-z_-]{20,})"),
    (
        "authorization-header",
        "(?i:authorization){IS}(?i:basic|bearer|token|negotiate|digest|apikey)[ \\t]{1,4}([^\\s\"'\\\\]{4,})",
    ),
    (
        "bearer-token",
        "(?i:\\bbearer)[ \\t]{1,4}([0-9A-Za-z._~+/-]{16,}=*)",
    ),
    (
        "jwt",
        "{BEFORE}(ey[0-9A-Za-z_-]{16,}\\.ey[0-9A-Za-z_-]{16,}\\.[0-9A-Za-z_-]{10,})",
    ),
    (
        "url-password",
        "[A-Za-z][0-9A-Za-z+.-]{1,20}://[^\\s/?#:@\"'<>]*:([^\\s/\"'<>]+)@",
    ),
    (
        "url-token",
        "[?&](?i:access_token|id_token|refresh_token|auth_token|token|sig|api_?key|client_secret|password)=([^\\s&\"'<>]{4,})",
    ),
    (
        "github-token",
        "{BEFORE}(gh[pousr]_[0-9A-Za-z]{36,}|github_pat_[0-9A-Za-z_]{82})\\b{end-half}",
    ),
    (
        "gitlab-token",
        "{BEFORE}(gl(?:pat|dt|rt|cbt|ptt|agent)-[0-9A-Za-z_-]{20,64})",
    ),
    ("slack-token", "{BEFORE}(xox[abeoprs]-[0-9A-Za-z-]{10,})"),
    (
        "slack-webhook",
        "(hooks\\.slack\\.com/(?:services|workflows|triggers)/[0-9A-Za-z+/]{43,56})",
    ),
    ("gcp-api-key", "{BEFORE}(AIza[0-9A-Za-z_-]{35})\\b{end-half}"),
    ("azure-account-key", "(?i:accountkey)=([0-9A-Za-z+/]{86}==)"),
    ("npm-token", "{BEFORE}(npm_[0-9A-Za-z]{36})\\b{end-half}"),
    ("pypi-token", "{BEFORE}(pypi-AgEIcHlwaS5vcmc[0-9A-Za-z_-]{50,})"),
    ("docker-token", "{BEFORE}(dckr_pat_[0-9A-Za-z_-]{27})"),
    ("vault-token", "{BEFORE}(hv[sb]\\.[0-9A-Za-z_-]{90,})"),
    (
        "stripe-key",
        "{BEFORE}((?:sk|rk)_(?:test|live|prod)_[0-9A-Za-z]{10,99})\\b{end-half}",
    ),
];

/// Further rules for messages, where it does not matter if too much is replaced: fields by their names.
const FIELDS: &[(&str, &str)] = &[
    (
        "credential",
        concat!(
            "(?i:access_key(?:_id)?|secret_access_key|secret_key|session_token|security_token|x-amz-security-token|",
            "password|passwd|passphrase|client_secret|api[_-]?key|access_token|refresh_token|id_token|auth_token)",
            r#"["'\\]{0,3}\)?[ \t]{0,4}(?:=>|[:=,])[ \t]{0,4}(?:value: ?|Some\(){0,2}["'\\]{1,3}([^"'\\]+)"#
        ),
    ),
    (
        "credential",
        "(?i:x-amz-security-token|aws_secret_access_key|aws_session_token|aws_access_key_id)[ \\t]{0,4}[:=][ \\t]{0,4}([^\\s\"'\\\\&]{4,})",
    ),
    (
        "credential",
        r#"(?i:authorization)["'\\]{0,3}\)?[ \t]{0,4}[:=,][ \t]{0,4}(?:Some\()?["'\\]{0,3}([^"'\\]{4,})"#,
    ),
    ("credential", "(?i:credential)=([^\\s/%,&\"']+)"),
    ("credential", "(?i:signature)\\W{1,4}([0-9a-f]{64})\\b{end-half}"),
];

/// How a block of several lines begins, and how it ends.
const BLOCK: (&str, &str, &str) = (
    "private-key",
    "-----BEGIN [0-9A-Z ]*PRIVATE KEY(?: BLOCK)?-----",
    "-----END [0-9A-Z ]*PRIVATE KEY(?: BLOCK)?-----",
);

/// Meaning of a rule's match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The match is a secret.
    Secret,
    /// A secret begins, of several lines.
    BlockBegin,
    /// That secret ends.
    BlockEnd,
}

/// One rule.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) pattern: Regex,
    pub(super) meaning: Meaning,
}

/// Rules that are applied together; of several that match at one place, the first counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules(pub(super) Arc<[Rule]>);

/// A pattern that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PatternError {
    /// It is no regular expression, or its program takes too much memory.
    #[error("{0}")]
    Invalid(String),
    /// It matches where nothing stands.
    #[error("it matches the empty string, so it would match everywhere")]
    MatchesEmpty,
    /// It can match at the end of a line only.
    #[error("it has a line feed in it, and patterns are applied within a line")]
    SpansLines,
}

static STANDARD_RULES: LazyLock<Rules> = LazyLock::new(|| {
    let (name, begin, end) = BLOCK;
    let mut rules = vec![
        own(name, begin, Meaning::BlockBegin),
        own(name, end, Meaning::BlockEnd),
    ];
    rules.extend(of_table(STANDARD));
    Rules(rules.into())
});

impl Rules {
    /// AWS credentials, bearer tokens, private keys, passwords in URLs, and tokens that are known by their beginning.
    pub(crate) fn standard() -> Self {
        STANDARD_RULES.clone()
    }

    /// The standard rules, and fields of messages by their names.
    pub(super) fn of_messages() -> Self {
        let fields = of_table(FIELDS);
        Self(STANDARD_RULES.0.iter().cloned().chain(fields).collect())
    }

    /// These, and after them `patterns`, called `pattern-1`, `pattern-2`, and so on: a pattern may be a secret itself.
    ///
    /// # Errors
    /// The first pattern that cannot be used, and why.
    pub(crate) fn with_patterns<'a>(&self, patterns: &'a [String]) -> Result<Self, (&'a str, PatternError)> {
        let mut rules = self.0.to_vec();
        for (number, pattern) in patterns.iter().enumerate() {
            rules.push(Rule {
                name: format!("pattern-{}", number + 1).into(),
                pattern: checked(pattern).map_err(|error| (pattern.as_str(), error))?,
                meaning: Meaning::Secret,
            });
        }
        Ok(Self(rules.into()))
    }

    /// The names of the rules, each once.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let mut last = "";
        self.0.iter().map(|rule| &*rule.name).filter(move |name| {
            let first = *name != last;
            last = name;
            first
        })
    }
}

fn of_table(table: &[(&str, &str)]) -> impl Iterator<Item = Rule> {
    table.iter().map(|(name, pattern)| {
        own(
            name,
            &pattern.replace("{BEFORE}", BEFORE).replace("{IS}", IS),
            Meaning::Secret,
        )
    })
}

/// A rule of this program: bytes, not characters, so that it is small and fast.
fn own(name: &str, pattern: &str, meaning: Meaning) -> Rule {
    let compiled = RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(16 << 20)
        .build();
    Rule {
        name: name.into(),
        pattern: compiled.expect("the patterns of this file are tested"),
        meaning,
    }
}

fn checked(pattern: &str) -> Result<Regex, PatternError> {
    let invalid = |error: String| PatternError::Invalid(one_line(&error));
    let meaning = regex_syntax::ParserBuilder::new()
        .utf8(false)
        .build()
        .parse(pattern)
        .map_err(|error| invalid(error.to_string()))?;
    if meaning.properties().minimum_len().unwrap_or(0) == 0 {
        return Err(PatternError::MatchesEmpty);
    }
    if names_line_feed(&meaning) {
        return Err(PatternError::SpansLines);
    }
    RegexBuilder::new(pattern)
        .size_limit(MOST_PROGRAM_BYTES)
        .build()
        .map_err(|error| invalid(error.to_string()))
}

fn names_line_feed(pattern: &Hir) -> bool {
    match pattern.kind() {
        HirKind::Literal(literal) => literal.0.contains(&b'\n'),
        HirKind::Repetition(repetition) => names_line_feed(&repetition.sub),
        HirKind::Capture(capture) => names_line_feed(&capture.sub),
        HirKind::Concat(parts) => parts.iter().any(names_line_feed),
        HirKind::Alternation(parts) => parts.iter().all(names_line_feed),
        HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) => false,
    }
}

/// The last line of what the library says: the lines before draw the pattern and point into it.
fn one_line(error: &str) -> String {
    let last = error.lines().rev().find(|line| !line.trim().is_empty());
    let last = last.unwrap_or(error).trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
