//! The SDK's client: made at the first request, with every setting explicit, and counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_connect::{AnswerCheck, Connection, endpoint_of_chain};
use aws_sdk_s3::Client as Sdk;
use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef, InterceptorContext,
};
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction, RetryConfig};
use aws_sdk_s3::config::timeout::{TimeoutConfig, TimeoutConfigBuilder};
use aws_sdk_s3::config::{
    ConfigBag, Intercept, RequestChecksumCalculation, ResponseChecksumValidation, RuntimeComponents,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;

use crate::config::Settings;

/// The connection to S3.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) sdk: Sdk,
    /// The same with shorter timeouts, for requests that send no body.
    pub(crate) metadata: Sdk,
    /// The address of requests, for messages.
    pub(crate) endpoint: String,
    pub(crate) is_aws: bool,
}

/// Requests that were sent, by operation (`PutObject`, `ListObjectsV2`, …), and answers. Each attempt counts.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    sent: Mutex<BTreeMap<String, u64>>,
    answers: AtomicU64,
}

impl RequestLog {
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }
}

/// Reads the standard chain and makes the client of a store.
pub(crate) async fn connect(settings: &Settings, log: &Arc<RequestLog>) -> Client {
    let retry = &settings.retry;
    let connection = Connection {
        region: settings.region.as_deref(),
        credentials: settings.credentials.as_ref(),
        timeouts: timeouts(settings).build(),
        idle_connections: Some(settings.concurrency),
    };
    let loaded = connection.load().await;
    let shared = loaded.config;
    let endpoint = settings
        .endpoint
        .clone()
        .or_else(|| endpoint_of_chain(&shared, "s3"));
    let is_aws = endpoint.is_none();
    let place = match (&endpoint, shared.region()) {
        (Some(endpoint), _) => endpoint.clone(),
        (None, Some(region)) => format!("AWS, region {region}"),
        (None, None) => "AWS".to_owned(),
    };
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(settings.path_style.unwrap_or(!is_aws))
        // The mode and its numbers are explicit, for the SDK's defaults change.
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(settings.attempts)
                .with_initial_backoff(retry.backoff)
                .with_max_backoff(retry.max_backoff),
        )
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .grace_period(retry.stall_timeout)
                .build(),
        )
        .retry_classifier(TooManyRequests)
        .retry_classifier(loaded.renewal)
        .interceptor(AnswerCheck)
        .interceptor(CountRequests(Arc::clone(log)))
        // Whole objects are verified against SHA-256 here; a second checksum of the same bytes adds nothing.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = endpoint {
        config = config.endpoint_url(endpoint);
    }
    let by_environment = shared.request_checksum_calculation();
    let for_others =
        (!is_aws && by_environment.is_none()).then_some(RequestChecksumCalculation::WhenRequired);
    if let Some(checksums) = settings.checksums.or(for_others) {
        config = config.request_checksum_calculation(checksums);
    }
    let metadata_timeouts = timeouts(settings)
        .read_timeout(retry.metadata_timeout)
        .operation_timeout(retry.metadata_deadline)
        .build();
    Client {
        metadata: Sdk::from_conf(config.clone().timeout_config(metadata_timeouts).build()),
        sdk: Sdk::from_conf(config.build()),
        endpoint: place,
        is_aws,
    }
}

/// The timeouts of every request.
fn timeouts(settings: &Settings) -> TimeoutConfigBuilder {
    let retry = &settings.retry;
    TimeoutConfig::builder()
        .connect_timeout(retry.connect_timeout)
        .read_timeout(retry.read_timeout)
        .operation_attempt_timeout(retry.attempt_timeout)
}

/// S3 throttles with 503; other servers, and proxies on the way, do with 429, whatever code they write beside it.
#[derive(Debug)]
struct TooManyRequests;

impl ClassifyRetry for TooManyRequests {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response() {
            Some(response) if response.status().as_u16() == 429 => RetryAction::throttling_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "too-many-requests"
    }
}

#[derive(Debug)]
struct CountRequests(Arc<RequestLog>);

impl Intercept for CountRequests {
    fn name(&self) -> &'static str {
        "count-requests"
    }

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(operation) = config.load::<Metadata>() {
            let mut sent = self.0.sent.lock().unwrap_or_else(PoisonError::into_inner);
            *sent.entry(operation.name().to_owned()).or_default() += 1;
        }
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        _context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.answers.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
