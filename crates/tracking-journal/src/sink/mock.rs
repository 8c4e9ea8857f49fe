//! A sink that expects calls.

use async_trait::async_trait;

use super::{Delivery, EventSink};
use crate::Record;

// Written out, not derived: so the mock keeps the trait's own `pace`, of which tests need expect nothing.
mockall::mock! {
    /// A sink that fails its test when it is not called as it expects.
    #[derive(Debug)]
    pub EventSink {}

    #[async_trait]
    impl EventSink for EventSink {
        fn name(&self) -> &str;
        async fn publish(&self, first: &Record, batch: &[Record]) -> Vec<Delivery>;
    }
}
