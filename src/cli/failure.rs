//! What a verb says when it cannot do what it was asked: a line, a hint and an exit code.
//!
//! Every capability has an error type of its own; here they become words for a person. Nothing below the
//! command line knows about exit codes: what a server refuses has a class, and its exit code is given here.

use super::{arguments::CommandLine, place::typed};
use crate::client::{ClientError, binding::BindingError};
use annals_engine::{
    chunk_store::ChunkStoreError,
    disk::{Blocked, DiskError},
    protocol::Class,
    round::{RoundError, StoreError},
    transport::TransportError,
};
use clap::CommandFactory as _;
use std::{fmt, path::Path};

/// Exit codes: part of the interface that other programs rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, conflicts included.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Unknown flag, bad value, a path that is not in a linked folder.
    Usage = 2,
    /// A person has to decide.
    NeedsPerson = 3,
    /// Server or log unreachable.
    Unreachable = 4,
    /// Verification failed.
    Verification = 5,
    /// Refused: password, permission, quota.
    Refused = 6,
}

impl Exit {
    /// What another process of ours exited with.
    pub(crate) fn from_code(code: u8) -> Self {
        let all = [
            Self::Done,
            Self::Failed,
            Self::Usage,
            Self::NeedsPerson,
            Self::Unreachable,
            Self::Verification,
            Self::Refused,
        ];
        all.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Self::Failed)
    }
}

/// A verb that did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For scripts.
    pub exit: Exit,
    /// What happened, without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether FOLDER in the hint stands for a folder that is still to be named.
    names_folder: bool,
}

impl Failure {
    /// A failure of kind `exit`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, names_folder: false }
    }

    /// Plainly failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Asked in a way that cannot be answered.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        (self.hint, self.names_folder) = (Some(hint.into()), false);
        self
    }

    /// With advice in which FOLDER stands for the linked folder, as long as nobody says [which](Self::at).
    #[must_use]
    fn hint_at(self, hint: impl Into<String>) -> Self {
        Self { names_folder: true, ..self.hint(hint) }
    }
}

impl Failure {
    /// Of the linked folder `root`: what is to be typed names it.
    #[must_use]
    pub(crate) fn at(mut self, root: &Path) -> Self {
        // Who typed something wrong may have meant another one.
        if self.names_folder && self.exit != Exit::Usage {
            self.hint = self.hint.map(|hint| hint.replace("FOLDER", &typed(root)));
            self.names_folder = false;
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", super::talk::shown(&self.message))?;
        self.hint.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        of_client(&error)
    }
}

/// What is said of something that went wrong with a linked folder.
pub(crate) fn of_client(error: &ClientError) -> Failure {
    let message = error.to_string();
    match error {
        ClientError::Binding(error) => of_binding(error, message),
        ClientError::Transport(error) => of_transport(error, message),
        ClientError::Round(error) => of_round(error, message),
        ClientError::Store(error) => of_store(error, message),
        ClientError::Disk(error) => of_disk(error, message),
        ClientError::Copied { folder, server, user, device } => {
            let (folder, device) = (typed(folder), typed(Path::new(device)));
            Failure::new(Exit::NeedsPerson, message).hint(format!("`annals sync {folder} --once` makes it a device of its own; if that is refused: annals unlink {folder}, then annals link {server} {folder} --user {user} --device {device}. Both sides are merged, nothing is deleted"))
        }
        ClientError::Stranger { folder, server, user, device, .. } => {
            let (folder, device) = (typed(folder), typed(Path::new(device)));
            Failure::new(Exit::NeedsPerson, message).hint(format!("nothing was deleted. Is it the right server, and was it to begin anew? Then stop the daemon that keeps this folder, if one does; make the account there again, on the server's machine (with --data as its `annals serve` has it): `annals user add {user} --server {server}`; and link the folder anew: `annals link {server} {folder} --user {user} --device {device}`. The files of both sides are merged then, nothing is deleted, and tags and notes come along; the history is that of the new log, what this device knew of the old one stays in .annals/was-*"))
        }
        ClientError::Unsent { folder, .. } => {
            let folder = typed(folder);
            Failure::new(Exit::NeedsPerson, message).hint(format!("`annals sync {folder} --once` sends them; or forget them: annals unlink {folder} --forget-unsent"))
        }
        ClientError::Held { .. } => Failure::failed(message)
            .hint("a daemon or another command has it: stop that, or try again when it is done"),
        ClientError::Folder { .. } => {
            Failure::failed(message).hint("is it a folder, and may you write to it?")
        }
        ClientError::NoSuchPath { .. } => Failure::usage(message)
            .hint("check the spelling; a file that was never synced is known after `annals sync --once`"),
        ClientError::Unsaid { .. } => Failure::failed(message).hint_at("it gets one when it was read, at the next round: `annals status FOLDER` says what is on its way, waits or is paused, `annals ignore check PATH` whether it is to stay here"),
        ClientError::NotInTrash { .. } => Failure::usage(message).hint("`annals trash list` shows what is"),
        ClientError::NotAFile { .. } => {
            Failure::usage(message).hint("contents and versions are those of files: name one")
        }
        ClientError::Changed { .. } => Failure::failed(message).hint("try again once it is at rest"),
        ClientError::NoSuchVersion { path, .. } => {
            Failure::usage(message).hint(format!("`annals history {path}` lists them"))
        }
        ClientError::NotYet { path } => Failure::usage(message)
            .hint(format!("`annals history {path}` says since when there are versions")),
        ClientError::Withheld { .. } => {
            Failure::failed(message).hint("`annals history` lists the versions: another one may be shown")
        }
        ClientError::Forgotten { .. } => {
            Failure::failed(message).hint("`annals history` lists the versions; later ones are kept")
        }
        ClientError::NotAllowed { .. } => {
            Failure::new(Exit::Refused, message).hint("ask an owner for another role: `annals share`")
        }
        ClientError::Owner { .. } => {
            Failure::usage(message).hint("an owner's role is not given and not taken away")
        }
        ClientError::NoMember { .. } => {
            Failure::usage(message).hint("nothing has to be done: they are not let in")
        }
        ClientError::BadText { .. } => Failure::usage(message).hint("say it in other words, or in fewer"),
        ClientError::Output(error) => Failure::of_writing(error),
    }
}

impl From<BindingError> for Failure {
    fn from(error: BindingError) -> Self {
        of_binding(&error, error.to_string())
    }
}

fn of_binding(error: &BindingError, message: String) -> Failure {
    match error {
        BindingError::NotLinked { .. } => Failure::usage(message)
            .hint_at("link it with `annals up FOLDER` or `annals link URL FOLDER --ticket CODE`"),
        BindingError::AlreadyLinked { .. } => Failure::usage(message)
            .hint_at("`annals status FOLDER` shows the link, `annals unlink FOLDER` takes it away"),
        BindingError::Inside { .. } | BindingError::Around { .. } => {
            Failure::usage(message).hint("a file belongs to one link: choose a folder beside it")
        }
        BindingError::HoldsData { .. } => Failure::usage(message)
            .hint("its keys would reach every device: choose a folder beside it, or move the data"),
        BindingError::Format { .. } => {
            Failure::failed(message).hint("update annals, or link the folder anew")
        }
        BindingError::Damaged { .. } => Failure::new(Exit::Verification, message)
            .hint("move .annals/ away and link the folder anew; both sides are merged, nothing is deleted"),
        BindingError::Io { source, .. }
            if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem
                || source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            Failure::failed(message)
                .hint_at("the folder cannot be written: a link keeps its state in FOLDER/.annals")
        }
        BindingError::Io { .. } => Failure::failed(message)
            .hint("is that disk there, and has it room? put that right, then try again"),
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        of_transport(&error, error.to_string())
    }
}

/// What clap says of what was typed, with its last line as a hint, as everywhere.
pub(crate) fn of_typing(error: &clap::Error, typed: &[String]) -> String {
    let (said, verb) = (error.to_string(), verb_in(typed));
    let said = said.split("\nUsage: ").next().unwrap_or_default();
    let said = said.split("\nFor more information").next().unwrap_or_default().trim_end();
    // Nothing went wrong where somebody typed too little and is shown what there is.
    if !said.starts_with("error: ") {
        return format!(
            "{}\nhint: `{verb} --help` says more, with an example\n",
            error.to_string().trim_end()
        );
    }
    // Its own advice is part of the hint.
    let (said, tips) = said.split_once("\n\n  tip: ").unwrap_or((said, ""));
    let tips: String =
        tips.split("\n  tip: ").filter(|tip| !tip.is_empty()).map(|tip| format!("{tip}; ")).collect();
    format!("{}\nhint: {tips}`{verb} --help` shows what it takes, with an example\n", said.trim_end())
}

/// The verb that was typed, as far as there is one of that name.
fn verb_in(typed: &[String]) -> String {
    let (program, mut verb) = (CommandLine::command(), String::from("annals"));
    let mut command = &program;
    for word in typed.iter().filter(|word| !word.starts_with('-')) {
        let Some(below) = command.find_subcommand(word) else { break };
        verb = format!("{verb} {}", below.get_name());
        command = below;
    }
    verb
}

fn of_class(class: Class) -> Exit {
    match class {
        Class::Failed => Exit::Failed,
        Class::Misused => Exit::Usage,
        Class::Lineage => Exit::NeedsPerson,
        Class::Passing => Exit::Unreachable,
        Class::Damaged => Exit::Verification,
        Class::Forbidden => Exit::Refused,
    }
}

fn of_transport(error: &TransportError, message: String) -> Failure {
    match error {
        TransportError::Refused(problem) => {
            Failure::new(of_class(problem.class()), message).hint(problem.hint.clone())
        }
        TransportError::Unreachable { .. } => {
            Failure::new(Exit::Unreachable, message).hint("is the server running, and is the address right?")
        }
        TransportError::Paused => paused(message),
        TransportError::Untrusted { found, pinned: true, .. } => Failure::new(Exit::NeedsPerson, message).hint_at(format!("if the server was given another certificate, compare this with what `annals serve` prints there and accept it: annals sync FOLDER --once --fingerprint {found}; if it was not, somebody stands in between. Nothing was said to them")),
        TransportError::Untrusted { found, pinned: false, .. } => Failure::new(Exit::NeedsPerson, message).hint(format!("compare it with what `annals serve` prints on the server, then add --fingerprint {found}; if it differs, somebody stands in between. Nothing was said to them")),
        TransportError::OtherScheme { meant, .. } => Failure::usage(message).hint_at(format!(
            "type {meant} in place of it; a folder that is linked to it: annals unlink FOLDER, then annals link {meant} FOLDER --user NAME, which merges both sides and deletes nothing"
        )),
        TransportError::Malformed { .. } => {
            Failure::failed(message).hint("is this the address of an annals server of this version?")
        }
    }
}

fn paused(message: String) -> Failure {
    Failure::new(Exit::NeedsPerson, message)
        .hint_at("annals sync FOLDER --resume: what was saved meanwhile is kept, and goes out then")
}

/// What to do about a disk that takes nothing.
const MAKE_ROOM: &str =
    "make room on that disk: nothing was lost, and a daemon goes on by itself then; without one, sync again";

fn of_round(error: &RoundError, message: String) -> Failure {
    match error {
        RoundError::Transport(error) => of_transport(error, message),
        RoundError::Store(error) => of_store(error, message),
        RoundError::Disk(error) => of_disk(error, message),
        RoundError::Blocked(Blocked::Full { .. }) => Failure::failed(message).hint(MAKE_ROOM),
        RoundError::Blocked(_) => Failure::failed(message).hint("nothing was lost: put that right, then sync again"),
        RoundError::InTheWay(_) => Failure::new(Exit::NeedsPerson, message).hint("move it out of the way, or make it readable: what belongs there comes by itself then; everything else was exchanged"),
        RoundError::Outbox(ChunkStoreError::Damaged { .. }) => Failure::new(Exit::Verification, message).hint_at("what waits to be sent was damaged: move FOLDER/.annals/outbox away and sync again, it is made anew from the folder"),
        RoundError::Outbox(_) => Failure::failed(message).hint("check that the disk has room and the folder can be written, then sync again: nothing was lost"),
        RoundError::MassDelete(_) => Failure::new(Exit::NeedsPerson, message).hint_at("nothing was deleted elsewhere. `annals restore FOLDER --missing` brings back what is gone and leaves everything else as it is; if it is meant to be gone: `annals sync FOLDER --once --accept-deletes`"),
        RoundError::Stranger { .. } | RoundError::PutBack { .. } | RoundError::Lineage { .. } => Failure::new(Exit::NeedsPerson, message).hint("unlink the folder and link it anew: both sides are merged, nothing is deleted"),
        RoundError::SetAside { .. } => Failure::new(Exit::Refused, message).hint_at("nothing is lost: a refused file stays, beside the shared one as `NAME (refused)`; `annals status FOLDER` lists them"),
        RoundError::Paused => paused(message),
        RoundError::Stopped | RoundError::GaveWay => Failure::failed(message).hint("sync again: it goes on from there"),
        RoundError::Restless => Failure::failed(message).hint("this is a mistake in annals: please report it"),
    }
}

fn of_store(error: &StoreError, message: String) -> Failure {
    match error {
        StoreError::Full { .. } => Failure::failed(message).hint(MAKE_ROOM),
        StoreError::Damaged { .. } => Failure::new(Exit::Verification, message)
            .hint_at("`annals unlink FOLDER`, then link it anew: both sides are merged, nothing is deleted. Versions that were not sent yet are not in the history then; what there is of them stays in FOLDER/.annals, in a folder was-…"),
        StoreError::Replaced { .. } => Failure::new(Exit::NeedsPerson, message).hint_at("nothing of it was taken for a person's doing. Where a backup was put back: annals sync FOLDER goes on as a device of its own, both sides are merged, nothing is deleted. Where it was removed: link the folder anew, or leave it at that"),
        StoreError::Failed { .. } => Failure::failed(message)
            .hint("is that disk there, and may you write to it? put that right, then sync again"),
    }
}

fn of_disk(error: &DiskError, message: String) -> Failure {
    match error {
        DiskError::Full { .. } => Failure::failed(message).hint(MAKE_ROOM),
        DiskError::ReadOnly { .. } => Failure::failed(message).hint("the folder must be writable"),
        DiskError::NoFolder { .. } => {
            Failure::new(Exit::NeedsPerson, message).hint("is the disk mounted? it goes on once it is")
        }
        DiskError::Missing { .. } => Failure::failed(message)
            .hint("it went away meanwhile: sync again, and the folder is taken as it is then"),
        DiskError::NotDurable { .. } => Failure::failed(message)
            .hint("the disk may be failing: check it (`dmesg` says more), then sync again, which looks at the folder anew"),
        DiskError::Io { .. } => Failure::failed(message)
            .hint("make it readable and writable, or move it out of the folder, then sync again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_engine::{
        author::MassDelete,
        protocol::{Code, Fingerprint, Problem},
    };
    use annals_events::{DeviceId, NamespaceId, Role};
    use std::{io, path::PathBuf};

    fn io_error() -> io::Error {
        io::Error::other("no")
    }

    fn bindings() -> Vec<BindingError> {
        let (folder, path) = (PathBuf::from("f"), PathBuf::from("p"));
        let refused = io::ErrorKind::PermissionDenied.into();
        vec![
            BindingError::NotLinked { folder: folder.clone() },
            BindingError::AlreadyLinked { folder: folder.clone(), server: "s".into() },
            BindingError::Inside { folder: folder.clone(), outer: path.clone() },
            BindingError::HoldsData { folder: folder.clone(), data: path.clone() },
            BindingError::Around { folder: folder.clone(), inner: path.clone() },
            BindingError::Format { folder, found: 9 },
            BindingError::Damaged { path: path.clone(), what: "w".into() },
            BindingError::Io { path: path.clone(), source: refused },
            BindingError::Io { path, source: io_error() },
        ]
    }

    fn transports() -> Vec<TransportError> {
        let (found, text) = (Fingerprint([1; 32]), || String::from("t"));
        let untrusted = |pinned| TransportError::Untrusted { server: text(), found, pinned, what: text() };
        vec![
            TransportError::Refused(Problem::plain(Code::Quota)),
            TransportError::Unreachable { server: text(), what: text() },
            TransportError::Paused,
            untrusted(true),
            untrusted(false),
            TransportError::OtherScheme { server: text(), meant: text() },
            TransportError::Malformed { server: text(), what: text() },
        ]
    }

    fn stores() -> Vec<StoreError> {
        let text = || String::from("t");
        vec![
            StoreError::Full { place: text() },
            StoreError::Damaged { place: text(), what: text() },
            StoreError::Replaced { place: text() },
            StoreError::Failed { place: text(), what: text() },
        ]
    }

    fn disks() -> Vec<DiskError> {
        let text = || String::from("t");
        vec![
            DiskError::NoFolder { folder: text(), why: text() },
            DiskError::Missing { path: text() },
            DiskError::Full { folder: text() },
            DiskError::ReadOnly { folder: text(), why: text() },
            DiskError::NotDurable { folder: text(), why: text() },
            DiskError::Io { path: text(), why: text() },
        ]
    }

    fn rounds() -> Vec<RoundError> {
        let (text, namespace) = (|| String::from("t"), NamespaceId([1; 16]));
        let mut all = vec![
            RoundError::Blocked(Blocked::NotEmpty { path: text() }),
            RoundError::Blocked(Blocked::Full { path: text() }),
            RoundError::InTheWay(Vec::new()),
            RoundError::Outbox(ChunkStoreError::Full { place: text() }),
            RoundError::Outbox(ChunkStoreError::Unavailable { what: text() }),
            RoundError::MassDelete(MassDelete { gone: 3, known: 4 }),
            RoundError::Lineage { namespace, why: text() },
            RoundError::Stranger { namespace, why: text() },
            RoundError::PutBack { namespace, device: DeviceId([1; 16]), why: text() },
            RoundError::SetAside { namespace, events: 1, why: text() },
            RoundError::Paused,
            RoundError::GaveWay,
            RoundError::Stopped,
            RoundError::Restless,
        ];
        all.extend(transports().into_iter().map(RoundError::Transport));
        all.extend(stores().into_iter().map(RoundError::Store));
        all.extend(disks().into_iter().map(RoundError::Disk));
        all
    }

    #[test]
    fn whatever_is_typed_wrongly_is_told_with_the_help_of_the_verb_it_was_for() {
        use clap::Parser as _;
        for (line, verb) in [
            ("nothing", "annals"),
            ("--bogus", "annals"),
            ("snyc", "annals"),
            ("link", "annals link"),
            ("sync --bogus", "annals sync"),
            ("--json sync a b", "annals sync"),
            ("share x --with bob --role king", "annals share"),
            ("user add", "annals user add"),
            ("user ad", "annals user"),
            ("completions nosuch", "annals completions"),
            ("retention set --keep", "annals retention set"),
            ("serve --tls --insecure", "annals serve"),
            ("serve --trusted-proxy here", "annals serve"),
            ("link u f --user a --ticket b", "annals link"),
            ("link u f --user a --fingerprint 12", "annals link"),
            ("hook set --on nope -- x", "annals hook set"),
            ("get --user ada", "annals get"),
            ("log --limit many", "annals log"),
        ] {
            let typed: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let wrong = CommandLine::try_parse_from(std::iter::once("annals").chain(line.split(' ')));
            let said = of_typing(&wrong.unwrap_err(), &typed);
            assert!(said.starts_with("error: ") && !said.contains("\n\n"), "{line}: {said}");
            assert_eq!(said.matches("\nhint: ").count(), 1, "{line}: {said}");
            assert!(said.contains(&format!("`{verb} --help`")), "{line}: {said}");
            assert!(!said.contains("Usage:") && !said.contains("tip:"), "{line}: {said}");
        }
        // The tips of clap are not lost.
        let wrong = CommandLine::try_parse_from(["annals", "snyc"]).unwrap_err();
        assert!(of_typing(&wrong, &["snyc".into()]).contains("'sync'"));
    }

    #[test]
    fn whatever_goes_wrong_there_is_a_hint_what_to_do() {
        let (text, folder) = (|| String::from("t"), PathBuf::from("f"));
        let (server, user) = (text(), text());
        let mut all = vec![
            ClientError::Copied {
                folder: folder.clone(),
                server: server.clone(),
                user: user.clone(),
                device: text(),
            },
            ClientError::Stranger { folder: folder.clone(), server, user, device: text(), other_log: true },
            ClientError::Unsent { folder: folder.clone(), events: 1 },
            ClientError::Held { folder: folder.clone() },
            ClientError::Folder { folder, source: io_error() },
            ClientError::NoSuchPath { path: text() },
            ClientError::Unsaid { path: text() },
            ClientError::NotInTrash { path: text() },
            ClientError::NotAFile { path: text(), what: "a folder" },
            ClientError::Changed { path: text() },
            ClientError::NoSuchVersion { path: text(), version: text(), found: 0 },
            ClientError::NotYet { path: text() },
            ClientError::Withheld { version: text() },
            ClientError::Forgotten { version: text() },
            ClientError::NotAllowed { needed: Role::Owner },
            ClientError::Owner { user: text() },
            ClientError::NoMember { user: text() },
            ClientError::BadText { what: text() },
            ClientError::Output(io_error()),
        ];
        all.extend(bindings().into_iter().map(ClientError::Binding));
        all.extend(transports().into_iter().map(ClientError::Transport));
        all.extend(stores().into_iter().map(ClientError::Store));
        all.extend(disks().into_iter().map(ClientError::Disk));
        all.extend(rounds().into_iter().map(ClientError::Round));
        for error in all {
            let failure = of_client(&error);
            assert!(failure.hint.is_some_and(|hint| !hint.is_empty()), "{error:?}");
        }
    }

    #[test]
    fn a_hint_names_the_folder_once_whatever_that_is_called() {
        let root = Path::new("/home/ada/my FOLDER");
        let stored =
            of_store(&StoreError::Damaged { place: String::new(), what: String::new() }, String::new());
        assert!(stored.hint.as_deref().unwrap().starts_with("`annals unlink FOLDER`"));
        let hint = stored.at(root).at(root).hint.unwrap();
        assert!(hint.starts_with("`annals unlink '/home/ada/my FOLDER'`"), "{hint}");
        assert!(!hint.contains("FOLDER/.annals"), "{hint}");
        let copied = ClientError::Copied {
            folder: root.into(),
            server: "http://nas:8417".into(),
            user: "ada".into(),
            device: "laptop".into(),
        };
        let hint = of_client(&copied).at(root).hint.unwrap();
        assert!(hint.starts_with("`annals sync '/home/ada/my FOLDER' --once`"), "{hint}");
    }
}
