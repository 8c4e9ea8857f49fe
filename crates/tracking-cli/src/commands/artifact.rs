//! `ekstrack artifact`.

mod content;
mod list;
mod one;
mod prefix;
mod shared;

pub(super) use content::Content;
pub(super) use shared::bucket;

use tracking_facade::Artifact;

use crate::args::{ArtifactCommand, ArtifactRef};
use crate::exit::Failure;
use crate::render::{Table, bytes, time};
use crate::settings::Settings;

pub(crate) fn artifact(command: ArtifactCommand, settings: &Settings) -> Result<(), Failure> {
    match command {
        ArtifactCommand::Add(args) => super::artifact_add::add(settings, &args),
        ArtifactCommand::List(args) => list::list(settings, args),
        ArtifactCommand::Cat(ArtifactRef { id }) => content::cat(settings, &id),
        ArtifactCommand::Show(ArtifactRef { id }) => one::show(settings, &id),
        ArtifactCommand::Verify(ArtifactRef { id }) => one::verify(settings, &id),
        ArtifactCommand::Download { artifact, dest } => one::download(settings, &artifact.id, &dest),
        ArtifactCommand::Upload { ids } => shared::upload(settings, &ids),
        ArtifactCommand::Url { artifact, expires } => shared::url(settings, &artifact.id, expires),
        ArtifactCommand::Tag {
            artifact,
            add,
            remove,
        } => one::tag(settings, &artifact.id, &add, &remove),
        ArtifactCommand::Rm {
            artifact,
            reason,
            force,
        } => one::remove(settings, &artifact.id, reason, force),
    }
}

/// Artifacts, one a line.
pub(super) fn artifact_table<'a>(artifacts: impl IntoIterator<Item = &'a Artifact>) -> Table<6> {
    let mut table = Table::new(["ARTIFACT", "NAME", "TYPE", "SIZE", "ADDED", "TAGS"]);
    for artifact in artifacts {
        let tags: Vec<&str> = artifact.tags.iter().map(AsRef::as_ref).collect();
        table.row([
            artifact.artifact_id.as_str().into(),
            (&artifact.name).into(),
            artifact.artifact_type.as_str().into(),
            artifact.file_size.map_or_else(|| "-".to_owned(), bytes).into(),
            time(artifact.created_at).into(),
            tags.join(",").into(),
        ]);
    }
    table
}
