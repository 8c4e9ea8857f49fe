//! `ekstrack session`, `collection` and `artifact`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tracking_model::{
    ArtifactId, ArtifactType, CollectionId, SessionId, SessionOutcome, Span, TaskId, UpgradeId,
};

use super::KeyValue;
use super::value::{age, artifact_type, outcome, size};

/// What can be done with a session.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Create a session for an upgrade
    #[command(after_help = "\
Examples:
  ekstrack session create prod-1.33 --cluster prod
  ekstrack session create prod-1.33 --cluster prod --name 'Nightly tests' --id nightly-12")]
    Create {
        /// The upgrade
        upgrade: UpgradeId,
        /// The cluster
        #[arg(long, value_name = "NAME")]
        cluster: String,
        /// Its display name
        #[arg(long)]
        name: Option<String>,
        /// Its id [default: a new one]
        #[arg(long)]
        id: Option<SessionId>,
        /// Days for which its artifacts are to be kept
        #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        retention_days: Option<u32>,
    },
    /// List the sessions of the data directory
    #[command(after_help = "Example:\n  ekstrack session list --upgrade prod-1.33")]
    List {
        /// Only those of this upgrade
        #[arg(long)]
        upgrade: Option<UpgradeId>,
    },
    /// Show a session, its collections and their artifacts, or what happened to it
    #[command(after_help = "\
With --history, prints every add, change, download and deletion with its time and author, the
oldest first; with --json one record a line.

Examples:
  ekstrack session show prod-1.33
  ekstrack session show prod-1.33 --history
  ekstrack --json session show prod-1.33 --history | jq -r .type | sort | uniq -c")]
    Show {
        /// The session
        session: SessionId,
        /// What happened to it, record by record
        #[arg(long)]
        history: bool,
    },
    /// Have retention leave a session alone
    #[command(after_help = "\
Examples:
  ekstrack session pin prod-1.33              gc deletes nothing in it, however old it gets
  ekstrack session pin prod-1.33 --off        gc may delete it again
  ekstrack --remote session pin prod-1.33 --off    in the bucket, whichever machine pinned it")]
    Pin {
        /// The session
        session: SessionId,
        /// No longer leave it alone
        #[arg(long)]
        off: bool,
    },
    /// Record that nothing more comes
    #[command(after_help = "\
A session that is completed stays so: nothing can be added to it any more, and gc counts the
days that it is kept from here. Without --outcome it takes the one that was noted when its
upgrade ended.

Examples:
  ekstrack session complete prod-1.33
  ekstrack session complete prod-1.33 --outcome failed
  ekstrack --remote session complete prod-1.33     in the bucket, where its machine is gone")]
    Complete {
        /// The session
        session: SessionId,
        /// How the upgrade ended
        #[arg(long, value_parser = outcome())]
        outcome: Option<SessionOutcome>,
    },
}

/// What can be done with a collection.
#[derive(Debug, Subcommand)]
pub(crate) enum CollectionCommand {
    /// Create a collection in a session
    #[command(
        after_help = "Example:\n  ekstrack collection create prod-1.33 'Node logs' --task drain --id nodes"
    )]
    Create {
        /// The session
        session: SessionId,
        /// Its display name
        name: String,
        /// The task that it belongs to
        #[arg(long)]
        task: Option<TaskId>,
        /// Its id [default: a new one]
        #[arg(long)]
        id: Option<CollectionId>,
    },
    /// List the collections of a session
    #[command(after_help = "\
Examples:
  ekstrack collection list prod-1.33
  ekstrack --remote collection list prod-1.33")]
    List {
        /// The session
        session: SessionId,
    },
}

/// What can be done with artifacts.
#[derive(Debug, Subcommand)]
pub(crate) enum ArtifactCommand {
    /// Add files to a collection
    #[command(after_help = "\
FILE may be '-' for standard input (with --name), a quoted glob, or a directory, whose regular
files are all added, those below it too; their places in it are kept as metadata
`relative_path`. The data directory is left out where one leads to it; what is named of it is
refused. What cannot be added is reported file by file, and the rest is kept.

Examples:
  ekstrack artifact add prod-1.33 nodes kubelet.log --tag node --task drain
  ekstrack artifact add prod-1.33 nodes 'logs/*.log' --type log_file
  ekstrack artifact add prod-1.33 nodes ./must-gather
  kubectl get nodes -o json | ekstrack artifact add prod-1.33 nodes - --name nodes.json
  kubectl logs web-1 | ekstrack artifact add prod-1.33 nodes - --name web-1.log --max-bytes 100M")]
    Add(ArtifactAdd),
    /// List artifacts, the newest first
    #[command(after_help = "\
`ekstrack search` finds artifacts by words and many more criteria.

Examples:
  ekstrack artifact list
  ekstrack artifact list --upgrade prod-1.33 --task drain
  ekstrack --json artifact list --session prod-1.33 | jq -r '.artifacts[].artifact_id'")]
    List(ArtifactListArgs),
    /// Show an artifact
    #[command(after_help = "\
Examples:
  ekstrack artifact show 0197a3b2-55d8-7c3e-9d4e-5b8a0f6c2d11
  ekstrack artifact show 0197a3b2-55d8      the beginning of an id will do where it is the only one")]
    Show(ArtifactRef),
    /// Print the bytes of an artifact, verified before
    #[command(after_help = "\
Prints the bytes as they are. With --json they are `text`, or `base64` where they are not UTF-8.
No record tells of it; `artifact download ID -` prints the same and is recorded.

Examples:
  ekstrack artifact cat 0197a3b2-55d8-7c3e-9d4e-5b8a0f6c2d11 | less
  ekstrack --remote artifact cat 0197a3b2-55d8 > kubelet.log")]
    Cat(ArtifactRef),
    /// Compare the bytes of an artifact with its recorded digest
    #[command(after_help = "Example:\n  ekstrack artifact verify 0197a3b2-55d8-7c3e-9d4e-5b8a0f6c2d11")]
    Verify(ArtifactRef),
    /// Add tags to an artifact, or take some away
    #[command(after_help = "\
Examples:
  ekstrack artifact tag 0197a3b2-55d8-7c3e-9d4e-5b8a0f6c2d11 incident-42 node
  ekstrack artifact tag 0197a3b2-55d8-7c3e-9d4e-5b8a0f6c2d11 --remove node")]
    Tag {
        #[command(flatten)]
        artifact: ArtifactRef,
        /// Tags that it is to have
        #[arg(value_name = "TAG", required_unless_present = "remove")]
        add: Vec<String>,
        /// Tag that it is to have no longer; may be given again
        #[arg(long, value_name = "TAG")]
        remove: Vec<String>,
    },
    /// Delete an artifact; its record stays and tells what it was
    #[command(after_help = "\
Works in open sessions too. In a pinned session it is refused without --force.

Examples:
  ekstrack artifact rm 0197a3b2-55d8-7c3e-9d4e-5b8a0f6c2d11 --reason 'has a password in it'")]
    Rm {
        #[command(flatten)]
        artifact: ArtifactRef,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Also if its session is pinned
        #[arg(long)]
        force: bool,
    },
    /// Put artifacts into the bucket of the team now
    #[command(after_help = "\
Needs --s3, or [s3] in ekstrack.toml. What is there already is not sent again. `ekstrack sync
SESSION` uploads a whole session, `ekstrack sync` everything.

Example:
  ekstrack --s3 s3://team-bucket/upgrades artifact upload 0197a3b2-55d8-7c3e-9d4e-5b8a0f6c2d11")]
    Upload {
        /// The artifacts' ids, or their beginnings
        #[arg(required = true, value_name = "ID")]
        ids: Vec<ArtifactId>,
    },
    /// Print an address in the bucket from which anybody may read an artifact for a while
    #[command(after_help = "\
Whoever has the address has the artifact until it expires: it belongs into no ticket and no log.
It is made with your credentials and ends with them, if they are temporary.

Examples:
  ekstrack --s3 s3://team-bucket/upgrades artifact url 0197a3b2-55d8-7c3e-9d4e-5b8a0f6c2d11
  ekstrack --remote artifact url 0197a3b2-55d8-7c3e-9d4e-5b8a0f6c2d11 --expires 2h")]
    Url {
        #[command(flatten)]
        artifact: ArtifactRef,
        /// For how long: a second to seven days
        #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = age)]
        expires: Span,
    },
    /// Copy an artifact to a file, verified before it appears there
    #[command(after_help = "\
DEST is a file that does not exist, an existing directory, or '-' for standard output. That it was taken, by whom and
when, stands in the history of its session. With --remote, or where its bytes are not here any
more, it comes from the bucket; only copies out of the data directory are recorded.

Examples:
  ekstrack artifact download 0197a3b2-55d8-7c3e-9d4e-5b8a0f6c2d11 ./kubelet.log
  ekstrack artifact download 0197a3b2-55d8-7c3e-9d4e-5b8a0f6c2d11 - | gunzip | less")]
    Download {
        #[command(flatten)]
        artifact: ArtifactRef,
        /// Where to
        dest: PathBuf,
    },
}

/// Arguments of `artifact list`.
#[derive(Debug, Args)]
pub(crate) struct ArtifactListArgs {
    /// Only those of this session
    #[arg(long)]
    pub(crate) session: Option<SessionId>,
    /// Only those of this collection
    #[arg(long)]
    pub(crate) collection: Option<CollectionId>,
    /// Only those of this upgrade
    #[arg(long)]
    pub(crate) upgrade: Option<UpgradeId>,
    /// Only those of this task
    #[arg(long)]
    pub(crate) task: Option<TaskId>,
}

/// Names an artifact.
#[derive(Debug, Args)]
pub(crate) struct ArtifactRef {
    /// The artifact's id, or its beginning (4 characters or more) where no other begins so
    pub(crate) id: ArtifactId,
}

/// Arguments of `artifact add`.
#[derive(Debug, Args)]
pub(crate) struct ArtifactAdd {
    /// The session
    pub(crate) session: SessionId,
    /// The collection
    pub(crate) collection: CollectionId,
    /// Files, globs, directories, '-' for standard input, or streams of the shell: `<(command)`
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Type of the artifact, such as log_file or test_result [default: by name and content]
    #[arg(long = "type", value_name = "TYPE", value_parser = artifact_type())]
    pub(crate) artifact_type: Option<ArtifactType>,
    /// Take what symbolic links lead to, if that is a regular file
    #[arg(long)]
    pub(crate) follow: bool,
    /// Refuse standard input of more than so many bytes, such as 4096, 10k, 4M or 1G
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) max_bytes: Option<u64>,
    /// Tag; may be given again
    #[arg(long)]
    pub(crate) tag: Vec<String>,
    /// The task that it belongs to
    #[arg(long)]
    pub(crate) task: Option<TaskId>,
    /// The step that it belongs to
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// Its name [default: the file's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// In words
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// Metadata, `key=text` or `key:=json`; may be given again
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) meta: Vec<KeyValue>,
}
