//! The SDK's client: made at the first call, with every setting explicit.

use aws_config::BehaviorVersion;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::Credentials;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::config::Region;
use aws_sdk_eventbridge::config::retry::RetryConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_types::SdkConfig;

use crate::settings::Settings;

/// Reads the standard chain and makes the one client of a sink.
pub(crate) async fn connect(settings: &Settings) -> Client {
    let shared = shared_config(settings).await;
    let mut config = aws_sdk_eventbridge::config::Builder::from(&shared)
        // The relay tries again, in order and with pauses that the server may ask for. A second attempt here would
        // send twice what may have been taken.
        .retry_config(RetryConfig::disabled());
    if let Some(endpoint) = &settings.endpoint {
        config = config.endpoint_url(endpoint);
    }
    Client::from_conf(config.build())
}

async fn shared_config(settings: &Settings) -> SdkConfig {
    let http_client = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(settings.patience.connect_timeout)
        .operation_timeout(settings.patience.call_timeout)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client)
        .timeout_config(timeouts);
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(given) = &settings.credentials {
        let credentials = Credentials::new(&given.access_key, &given.secret_key, None, None, "builder");
        loader = loader.credentials_provider(credentials);
    }
    loader.load().await
}
