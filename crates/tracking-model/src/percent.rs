//! Percentages: finite numbers from 0 to 100.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A percentage, from 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Percent(f64);

/// NaN or an infinity where a percentage was expected.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is not a percentage: give a finite number, which is clamped to 0–100")]
pub struct PercentError(pub f64);

impl Percent {
    /// Nothing done.
    pub const ZERO: Self = Self(0.0);
    /// All done.
    pub const FULL: Self = Self(100.0);

    /// Takes a finite number and clamps it to 0–100, as the reference does.
    ///
    /// # Errors
    /// [`PercentError`] for NaN and infinities.
    pub fn new(value: f64) -> Result<Self, PercentError> {
        // Adding zero turns -0.0, which would print as "-0", into 0.0.
        if value.is_finite() {
            Ok(Self(value.clamp(0.0, 100.0) + 0.0))
        } else {
            Err(PercentError(value))
        }
    }

    /// The share of `done` in `total` steps; 0 if there are none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of steps are far below 2^52")]
    pub fn from_steps(done: u64, total: u64) -> Self {
        if total == 0 {
            Self::ZERO
        } else {
            Self((done as f64 / total as f64 * 100.0).clamp(0.0, 100.0))
        }
    }

    /// Its value, from 0 to 100.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Percent {
    /// One decimal, rounded down so that only 100 reads as 100; honours width.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.1}", (self.0 * 10.0).floor() / 10.0))
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finite_values_are_clamped_and_others_refused() {
        assert_eq!(Percent::new(-5.0).unwrap(), Percent::ZERO);
        assert_eq!(Percent::new(1e300).unwrap(), Percent::FULL);
        assert_eq!(
            serde_json::to_string(&Percent::new(-0.0).unwrap()).unwrap(),
            "0.0"
        );
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Percent::new(value).is_err());
        }
        assert_eq!(Percent::new(99.99).unwrap().to_string(), "99.9");
        assert_eq!(Percent::from_steps(1, 3).to_string(), "33.3");
        assert_eq!(Percent::from_steps(0, 0), Percent::ZERO);
        assert_eq!(Percent::from_steps(5, 3), Percent::FULL);
    }
}
