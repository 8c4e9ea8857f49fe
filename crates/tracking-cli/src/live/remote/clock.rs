//! The server's clock, by which everything that it tells is dated. The machine of whoever watches may be set otherwise.

use tokio::time::Instant;
use tracking_facade::{Clock, Span, SystemClock, Timestamp};

/// Summaries are made up to a second before they are sent; by so much the clock that is shown does not go back.
const EARLY: Span = Span::from_secs(2);

/// The server's clock, as far as it tells the time; until then that of this machine.
#[derive(Debug, Default)]
pub(super) struct ServerClock(Option<(Timestamp, Instant)>);

impl ServerClock {
    /// The server says what time it is.
    pub(super) fn told(&mut self, at: Timestamp) {
        let is_early = self.0.is_some() && at <= self.now() && self.now().since(at) <= EARLY;
        if !is_early {
            self.0 = Some((at, Instant::now()));
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        match self.0 {
            Some((at, then)) => at + Span::from(then.elapsed()),
            None => SystemClock.now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_from_what_the_server_said() {
        let mut clock = ServerClock::default();
        let begun = Timestamp::from_micros(1_000_000_000_000);
        clock.told(begun);
        advance(Duration::from_secs(10)).await;
        let ten_later = begun + Span::from_secs(10);
        assert_eq!(clock.now(), ten_later);
        clock.told(begun + Span::from_secs(9));
        assert_eq!(clock.now(), ten_later, "it was on its way for so long");
        clock.told(begun + Span::from_secs(11));
        assert_eq!(clock.now(), begun + Span::from_secs(11));
        clock.told(begun);
        assert_eq!(clock.now(), begun, "it was set back");
    }
}
