//! Credentials that change while a program runs: a file that is rotated, an SSO session that is renewed.
//!
//! The SDK reads files once and keeps an identity until it expires. When a service says that an identity is not valid any
//! more, [`Renewal`] reads the standard chain anew, and the request is made once more with what it brings.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_config::ConfigLoader;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{
    self, ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future,
};
use aws_smithy_runtime_api::client::identity::{
    IdentityFuture, ResolveCachedIdentity, SharedIdentityCache, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::retry::ErrorKind;
use tokio::sync::Mutex as AsyncMutex;

/// The codes with which services refuse an identity that was valid, or may be by now.
const REFUSED: [&str; 7] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "TokenRefreshRequired",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
];
/// After reading the chain brought nothing new, it is not read again for so long.
const REST: Duration = Duration::from_secs(5);
/// Bytes of an answer in which its code is looked for.
const CODE_BYTES: usize = 4096;

/// Reads the standard chain again when a service refuses its credentials. Clones share it.
#[derive(Clone)]
pub struct Renewal(Arc<Shared>);

struct Shared {
    /// Makes the standard chain; `None` for credentials that were set by hand.
    chain: Option<Box<dyn Fn() -> ConfigLoader + Send + Sync>>,
    provider: AsyncMutex<Option<SharedCredentialsProvider>>,
    state: Mutex<State>,
    identities: Mutex<SharedIdentityCache>,
    new_cache: fn() -> SharedIdentityCache,
}

#[derive(Default)]
struct State {
    /// True if the chain is to be read anew before the next request.
    is_stale: bool,
    /// Credentials that the chain returned last.
    loaded: Option<Credentials>,
    /// When reading it anew brought the same.
    brought_nothing: Option<Instant>,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Renewal(…)")
    }
}

impl Renewal {
    pub(crate) fn new(chain: Option<Box<dyn Fn() -> ConfigLoader + Send + Sync>>) -> Self {
        let new_cache = || aws_config::identity::IdentityCache::lazy().build();
        Self(Arc::new(Shared {
            chain,
            provider: AsyncMutex::new(None),
            state: Mutex::default(),
            identities: Mutex::new(new_cache()),
            new_cache,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up that a service refused the credentials; returns whether another request may be made with others. It may
    /// not where reading the chain has just brought the same ones.
    pub(crate) fn refused(&self) -> bool {
        if self.0.chain.is_none() {
            return false;
        }
        let mut state = self.state();
        if !state.is_stale {
            if state.brought_nothing.is_some_and(|at| at.elapsed() < REST) {
                return false;
            }
            state.is_stale = true;
            drop(state);
            *self.0.identities.lock().unwrap_or_else(PoisonError::into_inner) = (self.0.new_cache)();
        }
        true
    }

    /// True if the credentials were refused and the next request has those that the chain brings then.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.state().is_stale
    }

    async fn load(&self) -> provider::Result {
        let Some(chain) = &self.0.chain else {
            return Err(CredentialsError::not_loaded("no chain"));
        };
        let mut provider = self.0.provider.lock().await;
        let is_stale = self.state().is_stale;
        let known = provider.clone().filter(|_| !is_stale);
        let current = match known {
            Some(known) => known,
            None => {
                let none =
                    || CredentialsError::not_loaded("the standard chain has no provider of credentials");
                let made = chain().load().await.credentials_provider().ok_or_else(none)?;
                *provider = Some(made.clone());
                made
            }
        };
        let loaded = current.provide_credentials().await;
        let mut state = self.state();
        match &loaded {
            Ok(credentials) => {
                let same = state
                    .loaded
                    .as_ref()
                    .is_some_and(|before| is_same(before, credentials));
                state.brought_nothing = (is_stale && same).then(Instant::now);
                state.loaded = Some(credentials.clone());
                state.is_stale = false;
            }
            // A chain remembers that it found nothing; the next one looks again.
            Err(_) => *provider = None,
        }
        loaded
    }
}

fn is_same(one: &Credentials, other: &Credentials) -> bool {
    one.access_key_id() == other.access_key_id()
        && one.secret_access_key() == other.secret_access_key()
        && one.session_token() == other.session_token()
}

impl ProvideCredentials for Renewal {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

impl ResolveCachedIdentity for Renewal {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        runtime_components: &'a RuntimeComponents,
        config_bag: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let identities = self
            .0
            .identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        IdentityFuture::new(async move {
            identities
                .resolve_cached_identity(resolver, runtime_components, config_bag)
                .await
        })
    }
}

impl ClassifyRetry for Renewal {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response() {
            Some(response) if refuses_credentials(response) && self.refused() => {
                RetryAction::retryable_error(ErrorKind::TransientError)
            }
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "renewal"
    }
}

/// True if an answer says that the credentials are not valid. The answer to a HEAD has no body: 400 may mean that.
fn refuses_credentials(response: &HttpResponse) -> bool {
    let status = response.status().as_u16();
    if !matches!(status, 400 | 401 | 403) {
        return false;
    }
    let body = response.body().bytes().unwrap_or_default();
    if body.is_empty() && status == 400 {
        return true;
    }
    let body = String::from_utf8_lossy(body.get(..CODE_BYTES).unwrap_or(body));
    let in_header = |code: &str| {
        let named = ["x-amzn-errortype", "x-minio-error-code"];
        named.iter().any(|name| {
            let value = response.headers().get(*name).unwrap_or_default();
            value.split(':').next() == Some(code)
        })
    };
    let in_body = |code: &str| {
        body.contains(&format!("<Code>{code}</Code>"))
            || body.contains(&format!("\"{code}\""))
            || body.contains(&format!("#{code}\""))
    };
    REFUSED.iter().any(|code| in_header(code) || in_body(code))
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::StatusCode;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    #[test]
    fn a_refusal_of_credentials_is_known_by_its_code() {
        let answer = |status: u16, body: &'static str| {
            HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body))
        };
        for (status, body) in [
            (400, "<Error><Code>ExpiredToken</Code></Error>"),
            (403, "<Error><Code>InvalidAccessKeyId</Code></Error>"),
            (
                400,
                r#"{"__type":"com.amazon.coral.service#ExpiredTokenException"}"#,
            ),
            (400, r#"{"__type":"UnrecognizedClientException","message":"no"}"#),
            (400, ""),
        ] {
            assert!(refuses_credentials(&answer(status, body)), "{status} {body}");
        }
        for (status, body) in [
            (200, "<Error><Code>ExpiredToken</Code></Error>"),
            (403, "<Error><Code>AccessDenied</Code></Error>"),
            (403, ""),
            (400, r#"{"__type":"ValidationException"}"#),
        ] {
            assert!(!refuses_credentials(&answer(status, body)), "{status} {body}");
        }
        let mut answer = answer(403, "");
        answer
            .headers_mut()
            .insert("x-amzn-errortype", "ExpiredTokenException:http://x");
        assert!(refuses_credentials(&answer));
    }
}
