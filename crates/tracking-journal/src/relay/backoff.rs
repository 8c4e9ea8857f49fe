//! How long to wait before trying again.

use std::time::Duration;

/// The longest pause that a sink may ask for.
pub(super) const MAX_AFTER: Duration = Duration::from_secs(3600);

/// Pauses that double with each refusal, up to a limit, and differ at random so that many relays that lost the same
/// receiver do not come back at the same moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The first pause, half a second by default.
    pub initial: Duration,
    /// The longest pause, a minute by default.
    pub max: Duration,
    /// Which part of each pause is random, from 0 to 1; a half by default.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            max: Duration::from_secs(60),
            jitter: 0.5,
        }
    }
}

impl Backoff {
    /// The pause after `attempts` refusals in a row, at least `after` where the receiver asks for it.
    pub(super) fn pause(&self, attempts: u32, after: Option<Duration>, rng: &mut fastrand::Rng) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let full = self.initial.saturating_mul(1 << doublings).min(self.max);
        let kept = 1.0 - self.jitter.clamp(0.0, 1.0) * rng.f64();
        full.mul_f64(kept).max(after.unwrap_or_default().min(MAX_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_keeps_within_the_jitter() {
        let backoff = Backoff::default();
        let mut rng = fastrand::Rng::with_seed(1);
        for (attempts, full) in [
            (0, 500),
            (1, 500),
            (2, 1_000),
            (3, 2_000),
            (8, 60_000),
            (u32::MAX, 60_000),
        ] {
            let full = Duration::from_millis(full);
            for _ in 0..100 {
                let pause = backoff.pause(attempts, None, &mut rng);
                assert!(pause <= full && pause >= full / 2, "{attempts}: {pause:?}");
            }
        }
    }

    #[test]
    fn honours_what_the_receiver_asks_for_within_reason() {
        let backoff = Backoff {
            jitter: 0.0,
            ..Backoff::default()
        };
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(
            backoff.pause(1, Some(Duration::from_secs(7)), &mut rng),
            Duration::from_secs(7)
        );
        assert_eq!(backoff.pause(1, Some(Duration::MAX), &mut rng), MAX_AFTER);
        assert_eq!(
            backoff.pause(4, Some(Duration::from_secs(1)), &mut rng),
            Duration::from_secs(4)
        );
    }
}
