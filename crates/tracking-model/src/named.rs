//! Enumerations whose values have names in JSON.

/// A name that no value of an enumeration has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {name:?}: use one of {choices}")]
pub struct UnknownName {
    /// What was to be named: `status`, `task type`.
    pub what: &'static str,
    /// The name given.
    pub name: String,
    /// The names there are.
    pub choices: String,
}

/// Lets an enumeration that has `ALL` and `as_str` be written by its names, and read from them in either case.
macro_rules! named {
    ($name:ident, $what:literal) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::UnknownName;

            fn from_str(name: &str) -> Result<Self, crate::UnknownName> {
                Self::ALL
                    .into_iter()
                    .find(|one| one.as_str().eq_ignore_ascii_case(name))
                    .ok_or_else(|| crate::UnknownName {
                        what: $what,
                        name: name.to_owned(),
                        choices: Self::ALL.map(Self::as_str).join(", "),
                    })
            }
        }
    };
}
pub(crate) use named;
