//! New UUIDs.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use uuid::{ContextV7, Timestamp, Uuid};

/// Keeps the UUIDs of one millisecond in the order of their creation.
static CONTEXT: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// A new UUID v7, whose order is that of creation. `Uuid::now_v7` panics while the clock is before 1970; here such a
/// clock counts as 1970.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the time in an identifier only orders it; nothing is read from it"
)]
pub fn new_uuid() -> Uuid {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    uuid_at(since.unwrap_or(Duration::ZERO))
}

fn uuid_at(since: Duration) -> Uuid {
    let at = Timestamp::from_unix(&CONTEXT, since.as_secs(), since.subsec_nanos());
    Uuid::new_v7(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_in_the_order_of_creation_also_while_the_clock_stands() {
        for since in [Duration::ZERO, Duration::from_secs(1_800_000_000)] {
            let made: Vec<Uuid> = (0..10_000).map(|_| uuid_at(since)).collect();
            assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        }
        assert_eq!(new_uuid().get_version_num(), 7);
    }
}
