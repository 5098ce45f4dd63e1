//! The command line as clap reads it. What a verb does stands in the file of its name.

mod linked;
mod machine;

use annals_engine::protocol::Fingerprint;
use clap::{Args, Parser, Subcommand};
pub use linked::*;
pub use machine::*;
use std::{net::IpAddr, path::PathBuf};

/// Files on all your devices, every change kept as a signed event.
#[derive(Debug, Parser)]
#[command(
    name = "annals",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    subcommand_required = true
)]
#[command(
    after_help = "Start here:\n  annals up ~/Documents       keep a folder, and print how to link the next device\n\nExit codes: 0 done, 1 failed, 2 usage, 3 needs a person, 4 server unreachable, 5 verification failed, 6 refused"
)]
pub struct CommandLine {
    /// Output choices, the same for every verb.
    #[command(flatten)]
    pub output: Output,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// How a verb talks.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Output {
    /// One JSON document on stdout (or one a line, for streams)
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress and no remarks, only results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more; twice for a trace (ANNALS_LOG filters it)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Everything that can be asked.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Keep FOLDER on this machine: an embedded server, the folder linked to it and kept in sync
    #[command(
        after_help = "Example:\n  annals up ~/Documents\n\nThen, on the next device, type the line that it prints."
    )]
    Up(Up),
    /// Serve namespaces to devices
    #[command(
        after_help = "Examples:\n  annals serve --data /srv/annals --listen 127.0.0.1:8417\n  annals serve --data /srv/annals --listen 0.0.0.0:8417     TLS, with a certificate that it makes itself\n  annals serve --data /srv/annals --listen 0.0.0.0:443 --tls-cert fullchain.pem --tls-key privkey.pem"
    )]
    Serve(Serve),
    /// Accounts of a server
    #[command(subcommand)]
    User(User),
    /// Link FOLDER on this device to a namespace; what is on both sides is merged, never deleted. A linked folder takes
    /// another address of its server so, and keeps everything
    #[command(
        after_help = "Examples:\n  annals link http://127.0.0.1:8417 ~/Documents --ticket K7QX-…\n  ANNALS_PASSWORD=… annals link http://127.0.0.1:8417 ~/Documents --user ada\n  annals link https://nas.home:8417 ~/Documents --user ada --fingerprint 3f1c…\n  annals link http://10.0.0.7:8417 ~/Documents     a linked folder: its server is found there from now on\n\nA linked folder whose server has another address keeps its device, its history and what was not sent yet, and nobody is asked for a password; a daemon that keeps it goes on there. With --user or --ticket a folder is linked anew, as a new device, where the server there has another log, or has retired this device: both sides are merged, what this device knew stays in .annals/was-*."
    )]
    Link(Link),
    /// Forget the link of a folder; its files stay
    #[command(after_help = "Example:\n  annals unlink ~/Documents")]
    Unlink(Unlink),
    /// What is asked of a linked folder
    #[command(flatten)]
    OnFolder(FolderVerb),
    /// What is not synced, and by which rule of which `.annalsignore`
    #[command(
        subcommand,
        after_help = "Example:\n  annals ignore check build/out.o\n\n`.annalsignore` takes the rules of .gitignore: in any folder, about what lies in it and below. What is synced already stays synced. A few names are ignored unless a rule says otherwise, as `!*.part` does."
    )]
    Ignore(Ignore),
    /// Send one file to a server, without a linked folder
    #[command(
        after_help = "Examples:\n  annals put letter.txt https://nas.home:8417/v1/namespaces/NS/files/letters/ --user ada\n  tar c photos | annals put - https://nas.home:8417/v1/namespaces/NS/files/photos.tar --user ada\n\n`annals namespaces` lists NS."
    )]
    Put(Put),
    /// Fetch a file from a server, or a folder with all that is in it, without a linked folder
    #[command(
        after_help = "Examples:\n  annals get https://nas.home:8417/v1/namespaces/NS/files/letters --user ada     the folder, as ./letters\n  annals get https://nas.home:8417/v1/namespaces/NS/files/letters - --user ada     the names in it\n  annals get https://nas.home:8417/v1/namespaces/NS/files/letters/letter.txt --user ada\n  annals get https://nas.home:8417/v1/namespaces/NS/files/photos.tar - --user ada | tar x\n\n`annals namespaces` lists NS."
    )]
    Get(Get),
    /// Forget what passed its retention, and collect what nothing needs any more, in a server's data
    #[command(
        after_help = "Examples:\n  annals gc --data /srv/annals --dry-run\n  annals gc --data /srv/annals\n\nA server does this by itself once a day."
    )]
    Gc(Gc),
    /// Look at what may keep a folder from being in sync, and say what to do about it. Exit code 3 where that needs a
    /// person, 1 where something else is wrong, 4 where only the server is not there
    #[command(after_help = "Example:\n  annals doctor ~/Documents")]
    Doctor(FolderArg),
    /// Keep a folder in sync from login on, as a systemd user unit
    #[command(
        subcommand,
        after_help = "Examples:\n  annals service install ~/Documents\n  annals service install ~/Documents --print"
    )]
    Service(Service),
    /// A command to run when a conflict, or something else that needs a person, comes up
    #[command(
        subcommand,
        after_help = "Examples:\n  annals hook set ~/Documents --on conflict -- notify-send 'annals: a conflict'\n  annals hook set ~/Documents --on attention -- ~/bin/mail-me\n  annals hook remove ~/Documents --on conflict\n\nThe command gets ANNALS_EVENT, ANNALS_FOLDER and ANNALS_PATH, and more as JSON on its standard input. It runs once for each thing, also for what is there already, and may take a minute."
    )]
    Hook(Hook),
    /// What a shell needs to complete what is typed
    #[command(
        after_help = "Examples:\n  annals completions bash > ~/.local/share/bash-completion/completions/annals\n  annals completions zsh > ~/.zfunc/_annals\n  annals completions fish > ~/.config/fish/completions/annals.fish"
    )]
    Completions(Completions),
    /// Write the man pages
    #[command(after_help = "Example:\n  annals man --to ~/.local/share/man/man1")]
    Man(Man),
    /// Measure this machine, side by side with what is known
    #[command(subcommand, after_help = "Example:\n  annals bench replay --entries 1000000")]
    Bench(Bench),
}

/// What is asked of a linked folder: of whoever has it.
#[derive(Debug, Subcommand)]
pub enum FolderVerb {
    /// A ticket for the next device, good once and for 15 minutes
    #[command(after_help = "Example:\n  annals invite ~/Documents")]
    Invite(FolderArg),
    /// The devices of a namespace, when each was last here and how far
    #[command(
        after_help = "Examples:\n  annals devices ~/Documents\n  annals devices ~/Documents --retire old-laptop"
    )]
    Devices(Devices),
    /// Exchange changes with the server
    #[command(
        after_help = "Examples:\n  annals sync ~/Documents --once     until everything is exchanged, then exit\n  annals sync ~/Documents            keep going\n  annals sync ~/Documents --pause     send and fetch nothing until --resume\n  annals sync ~/Documents --limit-rate 2MB"
    )]
    Sync(Sync),
    /// How a linked folder stands; works without daemon and without server
    #[command(after_help = "Example:\n  annals status ~/Documents --json")]
    Status(FolderArg),
    /// The events of a folder, or of one path in it
    #[command(
        after_help = "Examples:\n  annals log ~/Documents --limit 20\n  annals log ~/Documents notes.txt --since 2h"
    )]
    Log(Log),
    /// The versions of one file, the newest first; below, those of older files that had its name
    #[command(
        after_help = "Example:\n  annals history notes.txt\n\n`*` marks what the file holds now (more than one: a conflict), `o` what it held before. `saved` is when the device made it, by its clock; `taken` is when the server took it, by which --at goes. All times are UTC. --json has them in the same order."
    )]
    History(PathArg),
    /// The content of a file, now or as it was
    #[command(
        disable_version_flag = true,
        after_help = "Examples:\n  annals cat notes.txt --at '2h ago'\n  annals cat notes.txt --version 6f3c…:12"
    )]
    Cat(AtVersion),
    /// What is different between two versions of a file, or two states of a folder: by default what was synced last and
    /// what lies in the folder
    #[command(
        after_help = "Examples:\n  annals diff notes.txt --from '2h ago'\n  annals diff notes.txt --from 6f3c…:12 --to 6f3c…:14\n  annals diff ~/Documents --from 2026-11-20"
    )]
    Diff(Diff),
    /// Bring back one version of a file, or a file or a whole folder as it was at a time, as new events
    #[command(
        disable_version_flag = true,
        after_help = "Examples:\n  annals restore notes.txt --version 6f3c…:12\n  annals restore ~/Documents/letters --at '2h ago' --dry-run\n  annals restore ~/Documents --at 2026-11-21\n  annals restore ~/Documents --missing\n\nOf a folder: what was removed since comes back, what was moved goes back, what was edited holds what it held. What was made since stays; where its name is needed it is called `NAME (newer)`. Nothing is lost: what a file held before is in its history."
    )]
    Restore(Restore),
    /// What was removed: look at it, bring it back, forget it for good
    #[command(
        subcommand,
        after_help = "Examples:\n  annals trash list ~/Documents\n  annals trash restore ~/Documents letters/bob.txt"
    )]
    Trash(Trash),
    /// For how long what was replaced or removed is kept
    #[command(
        subcommand,
        after_help = "Examples:\n  annals retention show ~/Documents\n  annals retention set ~/Documents --keep 30d"
    )]
    Retention(Retention),
    /// Show, add (+TAG) or remove (-TAG) tags
    #[command(
        after_help = "Examples:\n  annals tag notes.txt +draft +2026\n  annals tag notes.txt -draft\n  annals tag notes.txt"
    )]
    Tag(Tag),
    /// Show or set the note of a file or folder; an empty text removes it
    #[command(after_help = "Examples:\n  annals note notes.txt 'for Ada'\n  annals note notes.txt")]
    Note(Note),
    /// Let another user into a linked folder
    #[command(after_help = "Example:\n  annals share ~/Documents --with bob --role editor")]
    Share(Share),
    /// Let a user out again
    #[command(after_help = "Example:\n  annals unshare ~/Documents --with bob")]
    Unshare(Unshare),
    /// The namespaces that one may read, with role
    #[command(
        after_help = "Examples:\n  annals namespaces ~/Documents\n  annals namespaces --server http://127.0.0.1:8417 --user ada"
    )]
    Namespaces(Namespaces),
    /// Check the log, signatures, projections and chunks
    #[command(
        after_help = "Examples:\n  annals verify ~/Documents\n  annals verify --data /srv/annals --deep"
    )]
    Verify(Verify),
}

/// `annals up`.
#[derive(Args, Debug)]
pub struct Up {
    /// The folder to keep; made if it is missing
    pub folder: PathBuf,
    /// Where the server keeps its log and chunks [default: annals/ in the user's data folder]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where the server listens; port 0 picks one [default: where its devices know it, or 127.0.0.1:8417]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Speak TLS on loopback, too
    #[arg(long, conflicts_with = "insecure")]
    pub tls: bool,
    /// Listen on an address that is not loopback without TLS
    #[arg(long)]
    pub insecure: bool,
}

/// `annals serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// Where the server keeps its log and chunks [default: annals/ in the user's data folder]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Where to listen; port 0 picks one [default: where its devices know it, or 127.0.0.1:8417]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Speak TLS on loopback, too
    #[arg(long, conflicts_with = "insecure")]
    pub tls: bool,
    /// A certificate (PEM, with what it was signed by behind it) in place of the server's own; read anew when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "insecure")]
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Listen on an address that is not loopback without TLS
    #[arg(long)]
    pub insecure: bool,
    /// A proxy before the server, by its address: it is believed for whom it asks (X-Forwarded-For), and nobody else is
    #[arg(long, value_name = "ADDR")]
    pub trusted_proxy: Vec<IpAddr>,
}

/// `annals user …`.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Add an account (password: ANNALS_PASSWORD, or asked; admin credential: DATA/admin.token, or ANNALS_ADMIN_TOKEN)
    #[command(
        after_help = "Example:\n  ANNALS_ADMIN_TOKEN=$(cat /srv/annals/admin.token) annals user add ada --server http://127.0.0.1:8417 --quota 50GB"
    )]
    Add(UserAdd),
    /// Change what an account may store, or its password (ANNALS_PASSWORD, or asked); its devices stay linked
    #[command(
        after_help = "Examples:\n  annals user set ada --server http://127.0.0.1:8417 --quota 100GB\n  annals user set ada --server http://127.0.0.1:8417 --password"
    )]
    Set(UserSet),
}

/// `annals user set`.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true).args(["quota", "password"])))]
pub struct UserSet {
    /// The account's name
    pub name: String,
    /// What the account may store from now on, for example 500MB or 2TB, or `unlimited`
    #[arg(long, value_name = "SIZE")]
    pub quota: Option<String>,
    /// Give it another password
    #[arg(long)]
    pub password: bool,
    /// Which server.
    #[command(flatten)]
    pub admin: AdminOf,
}

/// Whose admin one is.
#[derive(Args, Debug)]
pub struct AdminOf {
    /// The server's address
    #[arg(long, value_name = "URL")]
    pub server: String,
    /// Where the server keeps its data, to find admin.token
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The SHA-256 of the server's certificate, as `annals serve` prints it, where no authority vouches for it
    #[arg(long, value_name = "HEX", value_parser = fingerprint)]
    pub fingerprint: Option<Fingerprint>,
}

/// `annals user add`.
#[derive(Args, Debug)]
pub struct UserAdd {
    /// The account's name
    pub name: String,
    /// What the account may store, for example 500MB or 2TB
    #[arg(long, value_name = "SIZE", default_value = "15GB")]
    pub quota: String,
    /// Which server.
    #[command(flatten)]
    pub admin: AdminOf,
}

/// `annals link`.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("credential").args(["user", "ticket"])))]
pub struct Link {
    /// The server's address, for example http://127.0.0.1:8417
    pub url: String,
    /// The folder; made if it is missing
    pub folder: PathBuf,
    /// Log in as this account (password: ANNALS_PASSWORD, or asked)
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// A ticket from `annals invite` or `annals up`
    #[arg(long, value_name = "CODE")]
    pub ticket: Option<String>,
    /// What to call this device [default: the host's name]
    #[arg(long, value_name = "LABEL")]
    pub device: Option<String>,
    /// Which namespace, by name or id [default: the account's home]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The SHA-256 of the server's certificate, as `annals serve` prints it, where no authority vouches for it
    #[arg(long, value_name = "HEX", value_parser = fingerprint)]
    pub fingerprint: Option<Fingerprint>,
}

fn fingerprint(typed: &str) -> Result<Fingerprint, String> {
    Fingerprint::parse(typed).ok_or_else(|| "a fingerprint has 64 hex digits".into())
}

/// A linked folder.
#[derive(Args, Clone, Debug)]
pub struct FolderArg {
    /// The linked folder [default: the one this runs in]
    pub folder: Option<PathBuf>,
}

/// `annals unlink`.
#[derive(Args, Debug)]
pub struct Unlink {
    /// The linked folder [default: the one this runs in]
    pub folder: Option<PathBuf>,
    /// Forget what was not sent yet: tags, notes, renames, deletes, versions in between
    #[arg(long)]
    pub forget_unsent: bool,
}

/// A path in a linked folder.
#[derive(Args, Debug)]
pub struct PathArg {
    /// A path in a linked folder
    pub path: PathBuf,
}

/// `annals devices`.
#[derive(Args, Debug)]
pub struct Devices {
    /// The linked folder [default: the one this runs in]
    pub folder: Option<PathBuf>,
    /// Cut the device with this label off at once
    #[arg(long, value_name = "LABEL")]
    pub retire: Option<String>,
}

/// `annals sync`.
#[derive(Args, Debug)]
pub struct Sync {
    /// The linked folder [default: the one this runs in]
    pub folder: Option<PathBuf>,
    /// Exchange everything, then exit
    #[arg(long)]
    pub once: bool,
    /// Confirm that many entries vanished on purpose
    #[arg(long)]
    pub accept_deletes: bool,
    /// Send this first, and what is below it; may be given several times
    #[arg(long, value_name = "PATH")]
    pub first: Vec<PathBuf>,
    /// From now on send and fetch nothing; saves are still kept as versions
    #[arg(long, conflicts_with_all = ["once", "resume"])]
    pub pause: bool,
    /// Go on after --pause
    #[arg(long)]
    pub resume: bool,
    /// From now on at most so many bytes a second in each direction (500kB, 2MB), or `off`
    #[arg(long, value_name = "RATE")]
    pub limit_rate: Option<String>,
    /// From now on the server is known by the certificate with this SHA-256: it was given another one
    #[arg(long, value_name = "HEX", value_parser = fingerprint)]
    pub fingerprint: Option<Fingerprint>,
}

impl Sync {
    /// Whether it says how to sync from now on, and does nothing else.
    pub(crate) fn is_setting(&self) -> bool {
        !self.once && (self.pause || self.resume || self.limit_rate.is_some())
    }
}
