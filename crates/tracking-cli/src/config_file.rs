//! The configuration file: everything that is wrong with it is told at once.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracking_facade::eventbridge::EventBridgeConfig;
use tracking_facade::s3::S3Config;
use tracking_facade::storage;

use crate::exit::{Failure, Kind};

const DEFAULT_CONFIG: &str = "ekstrack.toml";
/// No configuration comes near it.
const LARGEST_FILE: u64 = 1 << 20;

/// The configuration file: TOML, every key optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ConfigFile {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) actor: Option<String>,
    pub(crate) lock_timeout: Option<f64>,
    pub(crate) text_bytes: Option<u64>,
    pub(crate) s3: Option<S3Config>,
    pub(crate) eventbridge: Option<EventBridgeConfig>,
}

impl ConfigFile {
    /// The one that is named, else the one that is here, if there is one; with what of it cannot be read, whose sections
    /// count as absent.
    pub(crate) fn find(named: Option<&Path>) -> Result<(Self, Option<Misread>), Failure> {
        let path = named.unwrap_or(Path::new(DEFAULT_CONFIG));
        let attempted = || format!("read the configuration file {}", path.display());
        let text = match storage::read_named_to_string(path, LARGEST_FILE) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self::default(), None));
            }
            Err(error) => return Err(Failure::of(Kind::Usage, attempted(), &error)),
        };
        let mut problems = Vec::new();
        let file = match toml::from_str(&text) {
            Ok(table) => Self::of(table, &mut problems),
            Err(error) => {
                let before = error.span().and_then(|span| text.get(..span.start));
                let line = before.map_or(1, |before| before.matches('\n').count() + 1);
                problems.push(format!("line {line}: {}", error.message()));
                Self::default()
            }
        };
        let misread = (!problems.is_empty()).then(|| Misread {
            attempted: attempted(),
            problems,
        });
        Ok((file, misread))
    }

    fn of(mut table: toml::Table, problems: &mut Vec<String>) -> Self {
        let s3 = section(&mut table, "s3", problems);
        let eventbridge = section(&mut table, "eventbridge", problems);
        let file = fields(table, "", problems);
        Self {
            s3,
            eventbridge,
            ..file
        }
    }
}

/// A section, unless something of it cannot be read: what of it is wrong beside that could not be told from what is missing.
fn section<T: DeserializeOwned + Default>(
    table: &mut toml::Table,
    name: &str,
    problems: &mut Vec<String>,
) -> Option<T> {
    match table.remove(name)? {
        toml::Value::Table(section) => {
            let before = problems.len();
            let read = fields(section, &format!("[{name}] "), problems);
            (problems.len() == before).then_some(read)
        }
        other => {
            problems.push(format!(
                "{name} is {} and must be a section, [{name}]",
                other.type_str()
            ));
            None
        }
    }
}

/// Reads each field for itself, so that one that cannot be read hides no other.
fn fields<T: DeserializeOwned + Default>(table: toml::Table, place: &str, problems: &mut Vec<String>) -> T {
    let mut readable = toml::Table::new();
    for (key, value) in table {
        let alone = toml::Table::from_iter([(key.clone(), value.clone())]);
        match alone.try_into::<T>() {
            Ok(_) => {
                readable.insert(key, value);
            }
            Err(error) => problems.push(format!("{place}{key}: {}", error.message())),
        }
    }
    readable.try_into().unwrap_or_else(|error| {
        problems.push(format!("{place}{}", error.message()));
        T::default()
    })
}

/// What of the configuration file cannot be read.
#[derive(Debug)]
pub(crate) struct Misread {
    attempted: String,
    problems: Vec<String>,
}

impl Misread {
    /// The failure of all of it, and of what else is wrong with the settings.
    pub(crate) fn with(self, others: Option<Failure>) -> Failure {
        let others = others.iter().flat_map(|failure| failure.causes()).cloned();
        let problems: Vec<String> = self.problems.into_iter().chain(others).collect();
        Failure::new(Kind::Usage, self.attempted, problems.join("; ")).hint(
            "its keys are data_dir, actor, lock_timeout (seconds), text_bytes, and the sections [s3] and [eventbridge]",
        )
    }
}
