//! Secrets are replaced whatever the pieces, and nothing else is.

use proptest::prelude::*;

use super::*;

const AKIA: &str = "AKIAZ7Q3XK5M2N4P6R8T";
const SECRET: &str = "kQ7vT2mXz9LpR4sW8yB1nC6dF3gH5jK0aEuIoVtS";
const KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA75\nx0Zk\n-----END RSA PRIVATE KEY-----";

fn at_once(rules: &Rules, window: usize, text: &[u8]) -> Vec<u8> {
    in_pieces(rules, window, [text])
}

fn in_pieces<'a>(rules: &Rules, window: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut redactor = Redactor::with_window(rules.clone(), window);
    let mut out = Vec::new();
    for piece in pieces {
        redactor.push(piece, &mut out);
        assert!(redactor.line.capacity() <= 2 * window, "memory is bounded");
    }
    redactor.finish(&mut out);
    out
}

fn redacted(text: &str) -> String {
    String::from_utf8(at_once(&Rules::standard(), WINDOW, text.as_bytes())).unwrap()
}

fn pattern(pattern: &str) -> Rules {
    Rules::default().with_patterns(&[pattern.to_owned()]).unwrap()
}

#[test]
fn what_is_known_to_be_a_secret_is_replaced() {
    let token = format!("IQoJb3JpZ2luX2VjE{}", "aB3/+".repeat(30));
    let jwt = format!("ey{}.ey{}.{}", "J0".repeat(20), "c3".repeat(30), "Ab_-".repeat(8));
    let base64_key = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUV2UUlCQURBTkJna3Foa2lHOXcwQkFRRUZBQVND";
    let cases = [
        (
            format!("export AWS_ACCESS_KEY_ID={AKIA}"),
            "export AWS_ACCESS_KEY_ID=[redacted:aws-access-key-id]",
        ),
        (
            format!("\x1b[32m{AKIA}\x1b[0m"),
            "\x1b[32m[redacted:aws-access-key-id]\x1b[0m",
        ),
        (
            format!("aws_secret_access_key = {SECRET}"),
            "aws_secret_access_key = [redacted:aws-secret-key]",
        ),
        (
            format!("AWS_SECRET_ACCESS_KEY='{SECRET}'"),
            "AWS_SECRET_ACCESS_KEY='[redacted:aws-secret-key]'",
        ),
        (
            format!("  \"SecretAccessKey\": \"{SECRET}\","),
            "  \"SecretAccessKey\": \"[redacted:aws-secret-key]\",",
        ),
        (
            format!("{{\\\"SecretAccessKey\\\": \\\"{SECRET}\\\"}}"),
            "{\\\"SecretAccessKey\\\": \\\"[redacted:aws-secret-key]\\\"}",
        ),
        (
            format!("||  SecretAccessKey |  {SECRET}  ||"),
            "||  SecretAccessKey |  [redacted:aws-secret-key]  ||",
        ),
        (
            format!("\"SessionToken\": \"{token}\""),
            "\"SessionToken\": \"[redacted:aws-session-token]\"",
        ),
        (
            format!("got {token} for it"),
            "got [redacted:aws-session-token] for it",
        ),
        (
            format!(
                "https://b.s3.amazonaws.com/k?X-Amz-Security-Token={token}&X-Amz-Signature={}",
                "0f".repeat(32)
            ),
            "https://b.s3.amazonaws.com/k?X-Amz-Security-Token=[redacted:aws-session-token]&X-Amz-Signature=[redacted:aws-signature]",
        ),
        (
            "Authorization: Basic a2F0ZTpzZXNhbWU=".to_owned(),
            "Authorization: Basic [redacted:authorization-header]",
        ),
        (
            "> authorization: Bearer opaque-token-1".to_owned(),
            "> authorization: Bearer [redacted:authorization-header]",
        ),
        (
            "used bearer 0123456789abcdef0123".to_owned(),
            "used bearer [redacted:bearer-token]",
        ),
        (format!("jwt={jwt}"), "jwt=[redacted:jwt]"),
        (
            format!("token: k8s-aws-v1.{}", "aHR0".repeat(20)),
            "token: [redacted:eks-token]",
        ),
        (
            "git clone https://kate:s3sam@e@git.example/x".to_owned(),
            "git clone https://kate:[redacted:url-password]@git.example/x",
        ),
        (
            "GET /hook?token=sesame&x=1".to_owned(),
            "GET /hook?token=[redacted:url-token]&x=1",
        ),
        (format!("ghp_{}", "a1B2".repeat(9)), "[redacted:github-token]"),
        ("glpat-0123456789abcdefABCD".to_owned(), "[redacted:gitlab-token]"),
        (
            format!("client-key-data: {base64_key}"),
            "client-key-data: [redacted:private-key]",
        ),
        (format!("key:\n{KEY}\nmore"), "key:\n[redacted:private-key]\nmore"),
        (
            format!("{{\"k\":\"{}\",\"n\":1}}", KEY.replace('\n', "\\n")),
            "{\"k\":\"[redacted:private-key]\",\"n\":1}",
        ),
        (
            KEY.replace('\n', "\r\n") + "\r\nmore",
            "[redacted:private-key]\r\nmore",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(redacted(&text), expected);
    }
}

#[test]
fn what_looks_like_a_secret_and_is_none_stays() {
    for text in [
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "arn:aws:iam::123456789012:role/AKIA",
        "ssh://git@github.com/x, http://host:8080/a@b, https://example.com/?q=token",
        "no token: the secret key is missing, and the session token has expired",
        "the bearer of bad news; Authorization: required",
        "-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----\n-----BEGIN PUBLIC KEY-----",
        "XAKIAZ7Q3XK5M2N4P6R8T, AKIAZ7Q3XK5M2N4P6R8TX and akiaz7q3xk5m2n4p6r8t",
        "",
        "\n\r\n\n",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn a_secret_that_comes_in_two_pieces_is_replaced_wherever_it_is_cut() {
    let text = format!("id {AKIA}\n{KEY}\naws_secret_access_key={SECRET}\nend, without a line feed {AKIA}");
    let rules = Rules::standard();
    let whole = at_once(&rules, WINDOW, text.as_bytes());
    for secret in [AKIA, SECRET, "MIIEpAIB"] {
        assert!(!String::from_utf8_lossy(&whole).contains(secret));
    }
    for cut in 0..=text.len() {
        let (first, second) = text.as_bytes().split_at(cut);
        assert_eq!(in_pieces(&rules, WINDOW, [first, second]), whole, "cut at {cut}");
    }
    let single = text.as_bytes().chunks(1);
    assert_eq!(in_pieces(&rules, WINDOW, single), whole);
}

#[test]
fn a_line_without_end_is_let_go_and_secrets_in_it_are_replaced_at_every_place() {
    const SMALL: usize = 256;
    let rules = Rules::standard();
    for place in 0..3 * SMALL {
        let text = [
            &b"x".repeat(place)[..],
            b" ",
            AKIA.as_bytes(),
            b" ",
            &b"y".repeat(2 * SMALL),
        ]
        .concat();
        let out = at_once(&rules, SMALL, &text);
        let expected = text.len() - AKIA.len() + "[redacted:aws-access-key-id]".len();
        assert_eq!(out.len(), expected, "at {place}");
    }
}

#[test]
fn a_secret_that_is_longer_than_a_window_is_replaced_to_its_end() {
    let token = format!("FwoGZXIvYXdz{}", "aB3d".repeat(40_000));
    let out = redacted(&format!("token {token} and more"));
    assert_eq!(out, "token [redacted:aws-session-token] and more");
}

#[test]
fn a_private_key_that_never_ends_hides_no_more_than_its_most() {
    let lines = "MIIEpAIBAAKCAQEA75\n".repeat(10_000);
    let text = format!("-----BEGIN PRIVATE KEY-----\n{lines}");
    let out = redacted(&text);
    assert_eq!(
        out.len(),
        text.len() - LONGEST_BLOCK + "[redacted:private-key]".len()
    );
}

#[test]
fn replaced_secrets_are_counted_by_rule_and_every_rule_is_named() {
    let mut redactor = Redactor::new(
        Rules::standard()
            .with_patterns(&["pass(word)".to_owned()])
            .unwrap(),
    );
    let mut out = Vec::new();
    redactor.push(
        format!("{AKIA} {AKIA}\n{KEY}\npassword and passport").as_bytes(),
        &mut out,
    );
    redactor.finish(&mut out);
    let out = String::from_utf8(out).unwrap();
    assert!(out.ends_with("pass[redacted:pattern-1] and passport"), "{out}");
    let counts: Vec<(&str, u64)> = redactor.counts().collect();
    let of = |name: &str| {
        counts
            .iter()
            .filter(|(rule, _)| *rule == name)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("aws-access-key-id"), [&("aws-access-key-id", 2)]);
    assert_eq!(of("private-key"), [&("private-key", 1)]);
    assert_eq!(of("pattern-1"), [&("pattern-1", 1)]);
    assert_eq!(of("jwt"), [&("jwt", 0)]);
}

#[test]
fn patterns_that_match_everywhere_nowhere_or_take_too_much_are_refused() {
    for wrong in [
        "a*",
        "",
        "(?:x|)",
        r"\b",
        "^",
        "[",
        "a\nb",
        r"x\ny",
        r"(?:\w{200}){200}",
        "(?=x)",
    ] {
        let patterns = ["fine".to_owned(), wrong.to_owned()];
        let (pattern, error) = Rules::default().with_patterns(&patterns).unwrap_err();
        assert_eq!(pattern, wrong);
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

/// Reference implementation of the redactor: each line for itself, with the library alone.
fn plainly(pattern: &regex::bytes::Regex, text: &[u8]) -> Vec<u8> {
    let line = |line: &[u8]| {
        pattern
            .replace_all(line, &b"[redacted:pattern-1]"[..])
            .into_owned()
    };
    let lines: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(line).collect();
    lines.join(&b'\n')
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Matches of up to half a window are found as if there were no window, whatever the pieces.
    #[test]
    fn neither_pieces_nor_windows_change_what_is_replaced(
        text in "[ab c\n]{0,300}",
        cuts in prop::collection::vec(0_usize..300, 0..12),
        pattern_text in prop::sample::select(vec!["aa", "a{2,9}", "b+?a", "ab|aab", r"\bb\b", "^a", "c$", "(?:^| )c", "a.{1,6}b"]),
    ) {
        let text = text.as_bytes();
        let plain = plainly(&regex::bytes::Regex::new(pattern_text).unwrap(), text);
        let rules = pattern(pattern_text);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces = || cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]);
        prop_assert_eq!(in_pieces(&rules, WINDOW, pieces()), &plain[..]);
        let short = regex::bytes::Regex::new(pattern_text).unwrap().find_iter(text).all(|found| found.len() <= 20);
        if short {
            prop_assert_eq!(in_pieces(&rules, 64, pieces()), plain);
        }
        let whole = at_once(&rules, 32, text);
        prop_assert_eq!(in_pieces(&rules, 32, pieces()), whole);
    }

    /// The same for all rules at once, with secrets anywhere, in windows that are too small for the lines.
    #[test]
    fn pieces_never_show_a_secret(
        parts in prop::collection::vec(prop::sample::select(vec![
            AKIA, SECRET, KEY, "aws_secret_access_key=", "\n", " ", "\r", "xx", "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----", "https://kate:pw@host ", "\"",
        ]), 0..30),
        cuts in prop::collection::vec(0_usize..2_000, 0..12),
        window in prop::sample::select(vec![160_usize, 256, 1_000, WINDOW]),
    ) {
        let text = parts.concat();
        let text = text.as_bytes();
        let rules = Rules::standard();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &text[ends[0]..ends[1]]);
        let whole = at_once(&rules, window, text);
        prop_assert_eq!(in_pieces(&rules, window, pieces), whole.clone());
        let shown = String::from_utf8_lossy(&whole).into_owned();
        let assigned = format!("aws_secret_access_key={SECRET} ");
        for secret in ["MIIEpAIB", "kate:pw@", &assigned] {
            prop_assert!(!shown.contains(secret), "{}", shown);
        }
    }
}
