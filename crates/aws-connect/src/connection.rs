//! The connection: the SDK's standard chain, with every setting that matters explicit.

use std::fmt;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_types::SdkConfig;
use aws_types::service_config::ServiceConfigKey;

use crate::Renewal;
use crate::address::without_user_info;

/// How a service is reached. What is not set comes from the SDK's standard chain: environment, profiles, SSO, web
/// identity, containers, instance metadata.
///
/// Endpoints and retries are the adapters': services differ in them.
#[derive(Debug, Clone)]
pub struct Connection<'a> {
    /// The region.
    pub region: Option<&'a str>,
    /// Credentials set by hand, for servers of tests.
    pub credentials: Option<&'a StaticCredentials>,
    /// When an attempt, or an operation, is given up.
    pub timeouts: TimeoutConfig,
    /// Most connections that are kept open while nobody uses them; without a limit if absent.
    pub idle_connections: Option<usize>,
}

impl Default for Connection<'_> {
    fn default() -> Self {
        Self {
            region: None,
            credentials: None,
            timeouts: TimeoutConfig::disabled(),
            idle_connections: None,
        }
    }
}

/// Result of the standard chain.
#[derive(Debug, Clone)]
pub struct Connected {
    /// The configuration. It has an HTTP client of its own, so make one and share it.
    pub config: SdkConfig,
    /// Takes up credentials that change. Each client of the configuration needs it as a classifier of retries.
    pub renewal: Renewal,
}

impl Connection<'_> {
    /// Reads the standard chain.
    pub async fn load(&self) -> Connected {
        let mut http = aws_smithy_http_client::Builder::new();
        if let Some(most) = self.idle_connections {
            http = http.pool_max_idle_per_host(most);
        }
        let http = http
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let (timeouts, region) = (self.timeouts.clone(), self.region.map(str::to_owned));
        let loader = move || {
            let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
                .http_client(http.clone())
                .timeout_config(timeouts.clone());
            match &region {
                Some(region) => loader.region(Region::new(region.clone())),
                None => loader,
            }
        };
        let Some(given) = self.credentials else {
            let config = loader().load().await;
            let renewal = Renewal::new(Some(Box::new(loader)));
            let config = config
                .into_builder()
                .credentials_provider(SharedCredentialsProvider::new(renewal.clone()))
                .identity_cache(renewal.clone())
                .build();
            return Connected { config, renewal };
        };
        let credentials = Credentials::new(&given.access_key, &given.secret_key, None, None, "builder");
        Connected {
            config: loader().credentials_provider(credentials).load().await,
            renewal: Renewal::new(None),
        }
    }
}

/// The endpoint that the standard chain names for a service, such as `s3`: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, or
/// what the profile says. User and password in it are left out: requests are signed and never send them, and they would
/// stand in every presigned address and every error.
#[must_use]
pub fn endpoint_of_chain(shared: &SdkConfig, service_id: &'static str) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(service_id)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let endpoint = shared
        .service_config()
        .and_then(|config| config.load_config(key))
        .or_else(|| shared.endpoint_url().map(str::to_owned))?;
    Some(without_user_info(&endpoint).into_owned())
}

/// Credentials of servers of tests. Their text never shows.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticCredentials {
    access_key: String,
    secret_key: String,
}

impl StaticCredentials {
    /// An access key and its secret.
    #[must_use]
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self {
            access_key: access_key.into(),
            secret_key: secret_key.into(),
        }
    }
}

impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticCredentials(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_show() {
        let text = format!("{:?}", StaticCredentials::new("AKIA", "very secret"));
        assert!(!text.contains("secret") && !text.contains("AKIA"), "{text}");
    }
}
