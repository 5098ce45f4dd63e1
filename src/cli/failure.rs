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

/// What to do about something that went wrong, and how bad it is.
struct Advice {
    exit: Exit,
    hint: String,
    /// As in a [`Failure`].
    names_folder: bool,
}

fn advise(exit: Exit, hint: impl Into<String>) -> Advice {
    Advice { exit, hint: hint.into(), names_folder: false }
}

/// With FOLDER in place of the linked folder, as long as nobody says which.
fn advise_at(exit: Exit, hint: impl Into<String>) -> Advice {
    Advice { names_folder: true, ..advise(exit, hint) }
}

impl Advice {
    fn on(self, error: &dyn fmt::Display) -> Failure {
        let Self { exit, hint, names_folder } = self;
        Failure { names_folder, ..Failure::new(exit, error.to_string()).hint(hint) }
    }
}

/// What is said of something that went wrong with a linked folder.
pub(crate) fn of_client(error: &ClientError) -> Failure {
    match error {
        // Where nobody reads the result there is nobody to advise.
        ClientError::Output(error) => Failure::of_writing(error),
        error => advice_on(error).on(error),
    }
}

/// Whatever goes wrong, there is something to do about it.
fn advice_on(error: &ClientError) -> Advice {
    match error {
        ClientError::Binding(error) => of_binding(error),
        ClientError::Transport(error) => of_transport(error),
        ClientError::Round(error) => of_round(error),
        ClientError::Store(error) => of_store(error),
        ClientError::Disk(error) => of_disk(error),
        ClientError::Copied { folder, server, user, device } => {
            let (folder, device) = (typed(folder), typed(Path::new(device)));
            advise(
                Exit::NeedsPerson,
                format!(
                    "`annals sync {folder} --once` makes it a device of its own; if that is refused: annals unlink {folder}, then annals link {server} {folder} --user {user} --device {device}. Both sides are merged, nothing is deleted"
                ),
            )
        }
        ClientError::Stranger { folder, server, user, device, .. } => {
            let (folder, device) = (typed(folder), typed(Path::new(device)));
            advise(
                Exit::NeedsPerson,
                format!(
                    "nothing was deleted. Is it the right server, and was it to begin anew? Then stop the daemon that keeps this folder, if one does; make the account there again, on the server's machine (with --data as its `annals serve` has it): `annals user add {user} --server {server}`; and link the folder anew: `annals link {server} {folder} --user {user} --device {device}`. The files of both sides are merged then, nothing is deleted, and tags and notes come along; the history is that of the new log, what this device knew of the old one stays in .annals/was-*"
                ),
            )
        }
        ClientError::Retired { folder, server, user, device } => {
            let (folder, device) = (typed(folder), typed(Path::new(device)));
            advise(
                Exit::Refused,
                format!(
                    "nothing is lost of what lies in the folder. `annals link {server} {folder} --user {user} --device {device}` makes it a device of its own (stop the daemon that keeps it first, if one does): both sides are merged, nothing is deleted, and what lies there is sent, tags and notes too. Versions in between that were not sent are not; they stay in .annals/was-*"
                ),
            )
        }
        ClientError::Unsent { folder, .. } => {
            let folder = typed(folder);
            advise(
                Exit::NeedsPerson,
                format!(
                    "`annals sync {folder} --once` sends them (if the server has another address by now, tell it first: annals link URL {folder}); or forget them: annals unlink {folder} --forget-unsent"
                ),
            )
        }
        ClientError::Held { .. } => advise(
            Exit::Failed,
            "a daemon or another command has it: stop that, or try again when it is done",
        ),
        ClientError::Folder { .. } => advise(Exit::Failed, "is it a folder, and may you write to it?"),
        ClientError::NoSuchPath { .. } => advise(
            Exit::Usage,
            "check the spelling; a file that was never synced is known after `annals sync --once`",
        ),
        ClientError::Unsaid { .. } => advise_at(
            Exit::Failed,
            "it gets one when it was read, at the next round: `annals status FOLDER` says what is on its way, waits or is paused, `annals ignore check PATH` whether it is to stay here",
        ),
        ClientError::NotInTrash { .. } => advise(Exit::Usage, "`annals trash list` shows what is"),
        ClientError::NotAFile { .. } => {
            advise(Exit::Usage, "contents and versions are those of files: name one")
        }
        ClientError::Changed { .. } => advise(Exit::Failed, "try again once it is at rest"),
        ClientError::NoSuchVersion { path, .. } => {
            advise(Exit::Usage, format!("`annals history {path}` lists them"))
        }
        ClientError::NotYet { path } => {
            advise(Exit::Usage, format!("`annals history {path}` says since when there are versions"))
        }
        ClientError::Elsewhere { path, now } => advise(
            Exit::Usage,
            format!(
                "name {}; `annals history {}` shows what was there, and with --at T a path means what was there then",
                typed(Path::new(now)),
                typed(Path::new(path))
            ),
        ),
        ClientError::Withheld { .. } => {
            advise(Exit::Failed, "`annals history` lists the versions: another one may be shown")
        }
        ClientError::Forgotten { .. } => {
            advise(Exit::Failed, "`annals history` lists the versions; later ones are kept")
        }
        ClientError::Lost { .. } => advise(Exit::Failed, LOST),
        ClientError::NotAllowed { .. } => {
            advise(Exit::Refused, "ask an owner for another role: `annals share`")
        }
        ClientError::Owner { .. } => advise(Exit::Usage, "an owner's role is not given and not taken away"),
        ClientError::NoMember { .. } => advise(Exit::Usage, "nothing has to be done: they are not let in"),
        ClientError::BadText { .. } => advise(Exit::Usage, "say it in other words, or in fewer"),
        ClientError::Output(_) => advise(Exit::Failed, super::talk::WRITING_HINT),
    }
}

impl From<BindingError> for Failure {
    fn from(error: BindingError) -> Self {
        of_binding(&error).on(&error)
    }
}

fn of_binding(error: &BindingError) -> Advice {
    match error {
        BindingError::NotLinked { .. } => advise_at(
            Exit::Usage,
            "link it with `annals up FOLDER` or `annals link URL FOLDER --ticket CODE`",
        ),
        BindingError::AlreadyLinked { .. } => advise_at(
            Exit::Usage,
            "`annals status FOLDER` shows the link, `annals unlink FOLDER` takes it away; if the server has another address by now: annals link URL FOLDER",
        ),
        BindingError::Inside { .. } | BindingError::Around { .. } => {
            advise(Exit::Usage, "a file belongs to one link: choose a folder beside it")
        }
        BindingError::HoldsData { .. } => advise(
            Exit::Usage,
            "its keys would reach every device: choose a folder beside it, or move the data",
        ),
        BindingError::Format { .. } => advise(Exit::Failed, "update annals, or link the folder anew"),
        BindingError::Damaged { .. } => advise(
            Exit::Verification,
            "move .annals/ away and link the folder anew; both sides are merged, nothing is deleted",
        ),
        BindingError::Io { source, .. }
            if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem
                || source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            advise_at(Exit::Failed, "the folder cannot be written: a link keeps its state in FOLDER/.annals")
        }
        BindingError::Io { .. } => {
            advise(Exit::Failed, "is that disk there, and has it room? put that right, then try again")
        }
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        of_transport(&error).on(&error)
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

fn of_transport(error: &TransportError) -> Advice {
    match error {
        TransportError::Refused(problem) => advise_at(of_class(problem.class()), problem.hint.clone()),
        TransportError::Unreachable { .. } => advise_at(
            Exit::Unreachable,
            "is the server running? If it has another address by now: annals link URL FOLDER, which keeps everything",
        ),
        TransportError::Paused => paused(),
        TransportError::Untrusted { found, pinned: true, .. } => advise_at(
            Exit::NeedsPerson,
            format!(
                "if the server was given another certificate, compare this with what `annals serve` prints there and accept it: annals sync FOLDER --once --fingerprint {found}; if it was not, somebody stands in between. Nothing was said to them"
            ),
        ),
        TransportError::Untrusted { found, pinned: false, .. } => advise(
            Exit::NeedsPerson,
            format!(
                "compare it with what `annals serve` prints on the server, then add --fingerprint {found}; if it differs, somebody stands in between. Nothing was said to them"
            ),
        ),
        TransportError::OtherScheme { meant, .. } => advise_at(
            Exit::Usage,
            format!(
                "type {meant} in place of it; a folder that is linked to it: annals link {meant} FOLDER, which keeps everything"
            ),
        ),
        TransportError::Malformed { .. } => {
            advise(Exit::Failed, "is this the address of an annals server of this version?")
        }
    }
}

fn paused() -> Advice {
    advise_at(
        Exit::NeedsPerson,
        "annals sync FOLDER --resume: what was saved meanwhile is kept, and goes out then",
    )
}

/// What can be done about a content that nobody has.
pub(super) const LOST: &str = "a device whose folder still shows it sends it when it syncs; if none does, it is gone for good: `annals history` lists the other versions";

/// What to do about a disk that takes nothing.
const MAKE_ROOM: &str =
    "make room on that disk: nothing was lost, and a daemon goes on by itself then; without one, sync again";

fn of_round(error: &RoundError) -> Advice {
    match error {
        RoundError::Transport(error) => of_transport(error),
        RoundError::Store(error) => of_store(error),
        RoundError::Disk(error) => of_disk(error),
        RoundError::Blocked(Blocked::Full { .. }) => advise(Exit::Failed, MAKE_ROOM),
        RoundError::Blocked(_) => advise(Exit::Failed, "nothing was lost: put that right, then sync again"),
        RoundError::InTheWay(_) => advise(
            Exit::NeedsPerson,
            "move it out of the way, or make it readable: what belongs there comes by itself then; everything else was exchanged",
        ),
        RoundError::Outbox(ChunkStoreError::Damaged { .. }) => advise_at(
            Exit::Verification,
            "what waits to be sent was damaged: move FOLDER/.annals/outbox away and sync again, it is made anew from the folder",
        ),
        RoundError::Outbox(_) => advise(
            Exit::Failed,
            "check that the disk has room and the folder can be written, then sync again: nothing was lost",
        ),
        RoundError::MassDelete(_) => advise_at(
            Exit::NeedsPerson,
            "nothing was deleted elsewhere. `annals restore FOLDER --missing` brings back what is gone and leaves everything else as it is; if it is meant to be gone: `annals sync FOLDER --once --accept-deletes`",
        ),
        RoundError::Stranger { .. } | RoundError::PutBack { .. } | RoundError::Lineage { .. } => advise(
            Exit::NeedsPerson,
            "unlink the folder and link it anew: both sides are merged, nothing is deleted",
        ),
        RoundError::SetAside { .. } => advise_at(
            Exit::Refused,
            "nothing is lost: a refused file stays, beside the shared one as `NAME (refused)`; `annals status FOLDER` lists them",
        ),
        RoundError::Paused => paused(),
        RoundError::Stopped | RoundError::GaveWay => {
            advise(Exit::Failed, "sync again: it goes on from there")
        }
        RoundError::Restless => advise(Exit::Failed, "this is a mistake in annals: please report it"),
    }
}

fn of_store(error: &StoreError) -> Advice {
    match error {
        StoreError::Full { .. } => advise(Exit::Failed, MAKE_ROOM),
        StoreError::Damaged { .. } => advise_at(
            Exit::Verification,
            "`annals unlink FOLDER`, then link it anew: both sides are merged, nothing is deleted. Versions that were not sent yet are not in the history then; what there is of them stays in FOLDER/.annals, in a folder was-…",
        ),
        StoreError::Replaced { .. } => advise_at(
            Exit::NeedsPerson,
            "nothing of it was taken for a person's doing. Where a backup was put back: annals sync FOLDER goes on as a device of its own, both sides are merged, nothing is deleted. Where it was removed: link the folder anew, or leave it at that",
        ),
        StoreError::Failed { .. } => advise(
            Exit::Failed,
            "is that disk there, and may you write to it? put that right, then sync again",
        ),
    }
}

fn of_disk(error: &DiskError) -> Advice {
    match error {
        DiskError::Full { .. } => advise(Exit::Failed, MAKE_ROOM),
        DiskError::ReadOnly { .. } => advise(Exit::Failed, "the folder must be writable"),
        DiskError::NoFolder { .. } => advise(Exit::NeedsPerson, "is the disk mounted? it goes on once it is"),
        DiskError::Missing { .. } => {
            advise(Exit::Failed, "it went away meanwhile: sync again, and the folder is taken as it is then")
        }
        DiskError::NotDurable { .. } => advise(
            Exit::Failed,
            "the disk may be failing: check it (`dmesg` says more), then sync again, which looks at the folder anew",
        ),
        DiskError::Io { .. } => advise(
            Exit::Failed,
            "make it readable and writable, or move it out of the folder, then sync again",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_hint_names_the_folder_once_whatever_that_is_called() {
        let root = Path::new("/home/ada/my FOLDER");
        let damaged = StoreError::Damaged { place: String::new(), what: String::new() };
        let stored = of_client(&ClientError::Store(damaged));
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
