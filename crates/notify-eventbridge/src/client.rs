//! The SDK's client: made at the first call, with every setting explicit.

use aws_connect::{AnswerCheck, Connection, Renewal, endpoint_of_chain};
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::config::retry::RetryConfig;
use aws_sdk_eventbridge::config::timeout::TimeoutConfig;

use crate::settings::Settings;

/// A client, and what takes up credentials that change.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) client: Client,
    pub(crate) renewal: Renewal,
}

/// Reads the standard chain and makes the one client of a sink.
pub(crate) async fn connect(settings: &Settings) -> Connected {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(settings.patience.connect_timeout)
        .operation_timeout(settings.patience.call_timeout)
        .build();
    let connection = Connection {
        region: settings.region.as_deref(),
        credentials: settings.credentials.as_ref(),
        timeouts,
        ..Connection::default()
    };
    let loaded = connection.load().await;
    let shared = loaded.config;
    let endpoint = settings
        .endpoint
        .clone()
        .or_else(|| endpoint_of_chain(&shared, "eventbridge"));
    let mut config = aws_sdk_eventbridge::config::Builder::from(&shared)
        // The relay tries again, in order and with pauses that the server may ask for. A second attempt here would
        // send twice what may have been taken.
        .retry_config(RetryConfig::disabled())
        // It hears of refused credentials also where nothing is tried again.
        .retry_classifier(loaded.renewal.clone())
        .interceptor(AnswerCheck);
    if let Some(endpoint) = endpoint {
        config = config.endpoint_url(endpoint);
    }
    Connected {
        client: Client::from_conf(config.build()),
        renewal: loaded.renewal,
    }
}
