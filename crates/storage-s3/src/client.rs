//! The SDK's client: made at the first request, with every setting explicit, watched for what it costs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_connect::{AnswerCheck, Connection, endpoint_of_chain};
use aws_sdk_s3::Client;
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

use crate::limits::Concurrency;
use crate::settings::{ChecksumPolicy, Settings};

/// A client, and what its configuration turned out to be.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) sdk: Client,
    /// The same with less patience, for requests that send no bytes.
    pub(crate) asking: Client,
    /// Where requests go, for messages.
    pub(crate) place: String,
    /// Whether requests go to a server that is not AWS.
    pub(crate) custom_endpoint: bool,
}

/// How many requests were sent, by operation (`PutObject`, `ListObjectsV2`, …); each attempt counts.
#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    sent: Mutex<BTreeMap<String, u64>>,
    answers: AtomicU64,
}

impl RequestLog {
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many of them were answered.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self, operation: &str) {
        let mut counts = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(operation) {
            Some(count) => *count += 1,
            None => {
                counts.insert(operation.to_owned(), 1);
            }
        }
    }
}

/// Reads the standard chain and makes the one client of a store.
pub(crate) async fn connect(
    settings: &Settings,
    log: &Arc<RequestLog>,
    concurrency: &Arc<Concurrency>,
) -> Connected {
    let patience = &settings.patience;
    let connection = Connection {
        region: settings.region.as_deref(),
        credentials: settings.credentials.as_ref(),
        timeouts: timeouts(settings).build(),
        idle_connections: Some(settings.limits.max_concurrency),
    };
    let loaded = connection.load().await;
    let shared = loaded.config;
    let endpoint = settings
        .endpoint
        .clone()
        .or_else(|| endpoint_of_chain(&shared, "s3"));
    let custom_endpoint = endpoint.is_some();
    let place = match (&endpoint, shared.region()) {
        (Some(endpoint), _) => endpoint.clone(),
        (None, Some(region)) => format!("AWS, region {region}"),
        (None, None) => "AWS".to_owned(),
    };
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(settings.path_style.unwrap_or(custom_endpoint))
        // Retries are the standard mode's, whatever becomes the SDK's default.
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(patience.attempts)
                .with_initial_backoff(patience.backoff)
                .with_max_backoff(patience.max_backoff),
        )
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled()
                .grace_period(patience.stall_timeout)
                .build(),
        )
        .retry_classifier(TooManyRequests)
        .retry_classifier(loaded.renewal)
        .interceptor(AnswerCheck)
        .interceptor(Watch {
            log: Arc::clone(log),
            concurrency: Arc::clone(concurrency),
        });
    if let Some(endpoint) = endpoint {
        config = config.endpoint_url(endpoint);
    }
    let required = match settings.checksums {
        ChecksumPolicy::WhenRequired => true,
        ChecksumPolicy::WhenSupported => false,
        ChecksumPolicy::Auto => custom_endpoint && shared.request_checksum_calculation().is_none(),
    };
    if required {
        config = config.request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    } else if settings.checksums == ChecksumPolicy::WhenSupported {
        config = config.request_checksum_calculation(RequestChecksumCalculation::WhenSupported);
    }
    // Whole objects are verified against SHA-256 here; a second checksum of the same bytes adds nothing.
    config = config.response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    let asking = timeouts(settings)
        .read_timeout(patience.ask_timeout)
        .operation_timeout(patience.ask_deadline)
        .build();
    Connected {
        asking: Client::from_conf(config.clone().timeout_config(asking).build()),
        sdk: Client::from_conf(config.build()),
        custom_endpoint,
        place,
    }
}

/// What holds for every request.
fn timeouts(settings: &Settings) -> TimeoutConfigBuilder {
    let patience = &settings.patience;
    TimeoutConfig::builder()
        .connect_timeout(patience.connect_timeout)
        .read_timeout(patience.read_timeout)
        .operation_attempt_timeout(patience.attempt_timeout)
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

/// Counts what is sent, and hears what the server thinks of its pace also where a later attempt succeeds.
#[derive(Debug)]
struct Watch {
    log: Arc<RequestLog>,
    concurrency: Arc<Concurrency>,
}

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(operation) = config.load::<Metadata>() {
            self.log.count(operation.name());
        }
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.log.answered();
        match context.response().status().as_u16() {
            429 | 503 => self.concurrency.throttled(),
            200..300 => self.concurrency.succeeded(),
            _ => {}
        }
        Ok(())
    }
}
