//! The secret that viewers show.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use subtle::ConstantTimeEq;

/// 43 characters of 6 bits each.
const LEAST_CHARACTERS: usize = 43;
/// 64 of 4 bits.
const LEAST_HEX_DIGITS: usize = 64;
/// Fewer different characters come from no random source of this length.
const LEAST_DIFFERENT: usize = 8;

/// The secret that viewers show: at least 256 bits, as 64 hexadecimal digits or 43 characters of base64url.
///
/// It is compared in constant time, and is in no log, error or URL.
#[derive(Clone)]
pub struct Token(Arc<str>);

/// Why a text cannot be a token. Never repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Fewer than 256 bits.
    #[error(
        "a token needs 256 bits: 64 hexadecimal digits, or 43 characters of base64url; `openssl rand -hex 32` makes one"
    )]
    TooShort,
    /// Too few different characters to be random.
    #[error("the token does not look random; `openssl rand -hex 32` makes one")]
    NotRandom,
    /// A character that cannot stand in a subprotocol.
    #[error("a token consists of letters, digits, `-`, `_`, `.` and `~`")]
    Character,
}

impl Token {
    /// Whether `shown` is the token; takes as long whichever character differs.
    #[must_use]
    pub fn matches(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }

    /// For whoever has to show it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let allowed = |character: char| character.is_ascii_alphanumeric() || "-_.~".contains(character);
        if !text.chars().all(allowed) {
            return Err(TokenError::Character);
        }
        let is_hex = text.chars().all(|character| character.is_ascii_hexdigit());
        let least = if is_hex {
            LEAST_HEX_DIGITS
        } else {
            LEAST_CHARACTERS
        };
        if text.len() < least {
            return Err(TokenError::TooShort);
        }
        let different: BTreeSet<_> = text.chars().collect();
        if different.len() < LEAST_DIFFERENT {
            return Err(TokenError::NotRandom);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn tokens_have_256_bits() {
        let token: Token = format!("{GOOD}\n").parse().unwrap();
        assert!(token.matches(GOOD));
        assert!(!token.matches(""));
        assert!(!token.matches(&GOOD.replace('f', "e")));
        assert!(!format!("{token:?}").contains("0123"));
        let error = |text: &str| text.parse::<Token>().unwrap_err();
        assert_eq!(error(GOOD.trim_start_matches('0')), TokenError::TooShort);
        assert_eq!(error("secret"), TokenError::TooShort);
        assert_eq!(error(&"ab".repeat(40)), TokenError::NotRandom);
        assert_eq!(error(&format!("{GOOD} {GOOD}")), TokenError::Character);
        assert!(
            "abcdefghijklmnopqrstuvwxyz-_ABCDEFGHIJKLMNO"
                .parse::<Token>()
                .is_ok()
        );
    }
}
