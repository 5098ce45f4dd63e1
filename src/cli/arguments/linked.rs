//! What the verbs about what is in a linked folder take.

use super::FolderArg;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `annals log`.
#[derive(Args, Debug)]
pub struct Log {
    /// The linked folder [default: the one this runs in]
    pub folder: Option<PathBuf>,
    /// Only events about this path
    pub path: Option<PathBuf>,
    /// Only events admitted since then
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
    /// At most so many, the latest
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Only events after this place
    #[arg(long, hide = true)]
    pub after: Option<u64>,
    /// Go on as new events arrive
    #[arg(long)]
    pub follow: bool,
}

/// A path at a version: `annals cat`, `annals restore`.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("when").args(["version-id", "at"])))]
pub struct AtVersion {
    /// A path in a linked folder, also one that was deleted
    pub path: PathBuf,
    /// A version's id, or its beginning, as `annals history` shows it
    #[arg(long = "version", value_name = "ID", id = "version-id")]
    pub version: Option<String>,
    /// What stood at this path then, by when the server took it (not by when it was saved, if that was offline)
    #[arg(long, value_name = "T")]
    pub at: Option<String>,
}

/// `annals diff`.
#[derive(Args, Debug)]
pub struct Diff {
    /// A path in a linked folder, also one that was deleted
    pub path: PathBuf,
    /// From this time or version on [default: what was synced last]
    #[arg(long, value_name = "T|ID")]
    pub from: Option<String>,
    /// To this time or version [default: what lies in the folder]
    #[arg(long, value_name = "T|ID")]
    pub to: Option<String>,
}

/// `annals restore`.
#[derive(Args, Debug)]
pub struct Restore {
    /// What, and as it was when.
    #[command(flatten)]
    pub what: AtVersion,
    /// Bring back what is gone from the folder and was not said to be removed yet; everything else stays as it is
    #[arg(long, conflicts_with_all = ["version-id", "at"])]
    pub missing: bool,
    /// Only say what would happen
    #[arg(long)]
    pub dry_run: bool,
}

/// `annals trash …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Trash {
    /// What was removed and can be brought back: where it was, when it was removed and by whom, how much it holds
    #[command(
        after_help = "Examples:\n  annals trash list ~/Documents\n  annals trash list ~/Documents letters"
    )]
    List(TrashArg),
    /// Bring a file or a folder back, with all that went with it; beside what has its name by now
    #[command(after_help = "Example:\n  annals trash restore ~/Documents letters/bob.txt")]
    Restore(TrashArg),
    /// Forget what was removed, for good: at once, or as soon as every device knows of the removal
    #[command(
        after_help = "Examples:\n  annals trash empty ~/Documents\n  annals trash empty ~/Documents old-photos --yes"
    )]
    Empty {
        /// Where.
        #[command(flatten)]
        argument: TrashArg,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

impl Trash {
    /// Which folder, and what in it.
    #[must_use]
    pub fn argument(&self) -> &TrashArg {
        match self {
            Self::List(argument) | Self::Restore(argument) | Self::Empty { argument, .. } => argument,
        }
    }
}

/// A linked folder, and a path in it that was removed.
#[derive(Args, Clone, Debug)]
pub struct TrashArg {
    /// The linked folder [default: the one this runs in]
    pub folder: Option<PathBuf>,
    /// Only what was removed there, and below
    pub path: Option<PathBuf>,
}

/// `annals retention …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Retention {
    /// For how long it is
    #[command(after_help = "Example:\n  annals retention show ~/Documents")]
    Show(FolderArg),
    /// Keep it for another time, from now on and for everybody in this folder
    #[command(
        after_help = "Examples:\n  annals retention set ~/Documents --keep 30d\n  annals retention set ~/Documents --keep forever --silence 180d"
    )]
    Set {
        /// The linked folder [default: the one this runs in]
        folder: Option<PathBuf>,
        /// How long after it was replaced or removed: 90d, 12h, forever [default: 90d]
        #[arg(long, value_name = "TIME")]
        keep: Option<String>,
        /// How long a device that stands in the way may be silent before it is retired [default: 90d]
        #[arg(long, value_name = "TIME")]
        silence: Option<String>,
        /// Forget at once what is older than that, without asking
        #[arg(long)]
        yes: bool,
    },
}

impl Retention {
    /// Which folder.
    #[must_use]
    pub fn folder(&self) -> Option<&PathBuf> {
        match self {
            Self::Show(argument) => argument.folder.as_ref(),
            Self::Set { folder, .. } => folder.as_ref(),
        }
    }
}

/// `annals ignore …`.
#[derive(Debug, Subcommand)]
pub enum Ignore {
    /// Say which rule decides about PATH: its file, line and pattern, as `git check-ignore -v` does. Exit code 0 if it is
    /// ignored, 1 if not
    #[command(after_help = "Example:\n  annals ignore check build/out.o && echo 'stays here'")]
    Check(IgnoreCheck),
}

/// `annals ignore check`.
#[derive(Args, Debug)]
pub struct IgnoreCheck {
    /// A path in a linked folder; one that is not there is taken for a folder's if it ends in `/`
    pub path: PathBuf,
}

/// `annals tag`.
#[derive(Args, Debug)]
pub struct Tag {
    /// A path in a linked folder
    pub path: PathBuf,
    /// +TAG to add, -TAG to remove
    #[arg(allow_hyphen_values = true, value_name = "+TAG|-TAG")]
    pub changes: Vec<String>,
}

/// `annals note`.
#[derive(Args, Debug)]
pub struct Note {
    /// A path in a linked folder
    pub path: PathBuf,
    /// The note
    pub text: Option<String>,
}

/// `annals share`.
#[derive(Args, Debug)]
pub struct Share {
    /// A linked folder
    pub path: PathBuf,
    /// The other account
    #[arg(long = "with", value_name = "USER")]
    pub with: String,
    /// What they may do
    #[arg(long, value_name = "viewer|editor|owner")]
    pub role: RoleArg,
}

/// The roles, as words.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum RoleArg {
    /// Read
    Viewer,
    /// Change entries
    Editor,
    /// Grant and revoke
    Owner,
}

/// `annals unshare`.
#[derive(Args, Debug)]
pub struct Unshare {
    /// A linked folder
    pub path: PathBuf,
    /// The other account
    #[arg(long = "with", value_name = "USER")]
    pub with: String,
}
