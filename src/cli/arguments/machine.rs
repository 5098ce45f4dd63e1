//! What the verbs about servers and about this machine take.

use super::{FolderArg, fingerprint};
use crate::client::HookEvent;
use annals_engine::protocol::Fingerprint;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `annals namespaces`.
#[derive(Args, Debug)]
pub struct Namespaces {
    /// A linked folder [default: the one this runs in]
    #[arg(conflicts_with_all = ["server", "user"])]
    pub folder: Option<PathBuf>,
    /// A server's address
    #[arg(long, value_name = "URL", requires = "user")]
    pub server: Option<String>,
    /// An account there (password: ANNALS_PASSWORD, or asked)
    #[arg(long, value_name = "NAME", requires = "server")]
    pub user: Option<String>,
    /// The SHA-256 of the server's certificate, as `annals serve` prints it, where no authority vouches for it
    #[arg(long, value_name = "HEX", value_parser = fingerprint)]
    pub fingerprint: Option<Fingerprint>,
}

/// `annals put`.
#[derive(Args, Debug)]
pub struct Put {
    /// The file; - for standard input
    pub file: PathBuf,
    /// Where: URL/v1/namespaces/NS/files/PATH; ending in / it is the folder
    pub url: String,
    /// An account there (password: ANNALS_PASSWORD, or asked)
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// Only if this version is there
    #[arg(long, value_name = "VERSION")]
    pub if_match: Option<String>,
    /// The SHA-256 of the server's certificate, as `annals serve` prints it, where no authority vouches for it
    #[arg(long, value_name = "HEX", value_parser = fingerprint)]
    pub fingerprint: Option<Fingerprint>,
}

/// `annals get`.
#[derive(Args, Debug)]
pub struct Get {
    /// Where: URL/v1/namespaces/NS/files/PATH
    pub url: String,
    /// The file to write, in place of what is there, or the folder to put it in; - for standard output [default: its own
    /// name, here]
    pub file: Option<PathBuf>,
    /// Replace files that are there also where they were not named
    #[arg(long)]
    pub force: bool,
    /// An account there (password: ANNALS_PASSWORD, or asked)
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// The SHA-256 of the server's certificate, as `annals serve` prints it, where no authority vouches for it
    #[arg(long, value_name = "HEX", value_parser = fingerprint)]
    pub fingerprint: Option<Fingerprint>,
}

/// `annals verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// A linked folder [default: the one this runs in]
    #[arg(conflicts_with = "data")]
    pub folder: Option<PathBuf>,
    /// A server's data, stopped or running
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Also read every pack and hash every chunk
    #[arg(long)]
    pub deep: bool,
}

/// `annals gc`.
#[derive(Args, Clone, Debug)]
pub struct Gc {
    /// A server's data, stopped or running
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// How long what nothing needs is kept at least [default: 24h]
    #[arg(long, value_name = "TIME")]
    pub grace: Option<String>,
}

/// `annals service …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Service {
    /// Write the unit, and start it where systemd answers
    #[command(after_help = "Example:\n  annals service install ~/Documents")]
    Install {
        /// The linked folder [default: the one this runs in]
        folder: Option<PathBuf>,
        /// Only show the unit
        #[arg(long)]
        print: bool,
    },
    /// Stop it, and remove the unit
    #[command(after_help = "Example:\n  annals service uninstall ~/Documents")]
    Uninstall(FolderArg),
    /// Whether there is one, and whether it runs
    #[command(after_help = "Example:\n  annals service status ~/Documents")]
    Status(FolderArg),
}

impl Service {
    /// Which folder.
    #[must_use]
    pub fn folder(&self) -> Option<&PathBuf> {
        match self {
            Self::Install { folder, .. } => folder.as_ref(),
            Self::Uninstall(arg) | Self::Status(arg) => arg.folder.as_ref(),
        }
    }
}

/// `annals hook …`.
#[derive(Clone, Debug, Subcommand)]
pub enum Hook {
    /// Run COMMAND from now on, in place of the one that was set for the same
    #[command(
        after_help = "Example:\n  annals hook set ~/Documents --on conflict -- notify-send 'annals: a conflict'"
    )]
    Set {
        /// The linked folder [default: the one this runs in]
        folder: Option<PathBuf>,
        /// When
        #[arg(long, value_name = "conflict|attention")]
        on: HookOn,
        /// The command and its arguments; no shell reads them
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// The commands that are set
    #[command(after_help = "Example:\n  annals hook show ~/Documents")]
    Show(FolderArg),
    /// Run it no more
    #[command(after_help = "Example:\n  annals hook remove ~/Documents --on conflict")]
    Remove {
        /// The linked folder [default: the one this runs in]
        folder: Option<PathBuf>,
        /// Which [default: all]
        #[arg(long, value_name = "conflict|attention")]
        on: Option<HookOn>,
    },
}

impl Hook {
    /// Which folder.
    #[must_use]
    pub fn folder(&self) -> Option<&PathBuf> {
        match self {
            Self::Set { folder, .. } | Self::Remove { folder, .. } => folder.as_ref(),
            Self::Show(arg) => arg.folder.as_ref(),
        }
    }
}

/// What a command is for, as a word.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum HookOn {
    /// Several versions of one file
    Conflict,
    /// Whatever needs a person
    Attention,
}

impl HookOn {
    /// The same for the client.
    #[must_use]
    pub fn event(self) -> HookEvent {
        match self {
            Self::Conflict => HookEvent::Conflict,
            Self::Attention => HookEvent::Attention,
        }
    }
}

/// `annals completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// Which shell
    pub shell: clap_complete::Shell,
}

/// `annals man`.
#[derive(Args, Debug)]
pub struct Man {
    /// Where to, a page a verb; made if it is missing
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// `annals bench …`.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Durable appends to the embedded log, beside SQLite; --entries: groups of 256 events
    Append(BenchSize),
    /// Replay of a log into all projections, and their memory; --entries: files
    Replay(BenchSize),
    /// Cut and hash in memory, beside the bare loop; --entries: mebibytes
    Content(BenchSize),
    /// Bytes on the wire of small edits, in both directions; --entries: mebibytes of the largest file
    Delta(BenchSize),
    /// From a save to its being visible on the other device, by way of a server on loopback
    Latency {
        /// How many saves
        #[arg(long)]
        saves: Option<usize>,
        /// How many other files the folder holds
        #[arg(long, default_value_t = 100)]
        files: usize,
        /// Beside a copy of this tree in place of such files
        #[arg(long, value_name = "DIR", conflicts_with = "files")]
        tree: Option<PathBuf>,
    },
    /// A device that has nothing to do: how soon it is ready after a restart, its memory, its time on a core
    Idle {
        /// How many files the folder holds
        #[arg(long)]
        files: Option<usize>,
        /// A copy of this tree in place of such files
        #[arg(long, value_name = "DIR", conflicts_with = "files")]
        tree: Option<PathBuf>,
    },
    /// Many small files to a server and to a second device, on loopback; --entries: files of 4 KiB
    Files(BenchSize),
    /// One measurement of `replay`, in a process of its own
    #[command(hide = true)]
    Measure {
        /// Which.
        role: String,
        /// The records.
        path: PathBuf,
    },
}

/// How much to measure.
#[derive(Args, Debug)]
pub struct BenchSize {
    /// How much, in what the measurement counts
    #[arg(long)]
    pub entries: Option<usize>,
}
