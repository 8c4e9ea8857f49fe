//! Notifications over Amazon EventBridge: everything of `notify-eventbridge` that an agent needs.
//!
//! [`TrackingBuilder::eventbridge`](crate::TrackingBuilder::eventbridge) has an agent announce what happens on a bus;
//! [`SinkSet::with_sink`](crate::SinkSet::with_sink) takes the sink too.

pub use notify_eventbridge::{
    BuildError as EventBridgeSettingsError, BusCheck, Cause, EventBridgeBuilder, EventBridgeConfig,
    EventBridgeSink, Failure,
};

use crate::TrackingError;

/// Makes sure that nothing speaks against sending to a bus; what may pass is a warning in the log.
pub(crate) async fn check(sink: &EventBridgeSink) -> Result<(), TrackingError> {
    match sink.check().await? {
        BusCheck::NotAllowed(error) | BusCheck::Unreachable(error) => {
            let hint = error.hint();
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                error,
                hint,
                bus = sink.bus(),
                "cannot tell whether the bus exists"
            );
        }
        _ => {}
    }
    Ok(())
}
