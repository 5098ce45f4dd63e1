//! `annals status`: how a linked folder stands, without asking a server, whoever has the folder. The exit code says in
//! which state it is: 3 where a person has to look, 4 where the server was not reached.

use super::{
    arguments::FolderArg,
    failure::{Exit, Failure},
    place,
    size::{self, many},
    talk::Talk,
};
use crate::client::{
    self, AtWork, ClientError, ConflictLine, Folder, Matter, Moving, SetAsideLine, State, Status, WaitsFor,
    control,
};
use annals_projections::ConflictKind;
use std::path::Path;

/// On a folder that nobody else has.
pub(super) fn run(folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let status = folder.status();
    show(&status, folder.root(), talk)
}

/// On any folder: by its daemon, or by what was noted where it cannot be opened.
pub(super) fn run_beside(
    arg: &FolderArg,
    typed: &[String],
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let root = place::folder_named(arg.folder.as_deref(), directory)?;
    match Folder::open(&root) {
        Ok(mut folder) => run(&mut folder, talk),
        Err(ClientError::Held { .. }) => {
            let asked = super::ask_daemon(&root.join(client::STATE_FOLDER), typed, directory, talk);
            asked.unwrap_or_else(|| show(&Status::as_noted(&root, AtWork::Command)?, &root, talk))
        }
        Err(error) if error.is_read_only() => {
            show(&Status::as_noted(&root, AtWork::Nobody(&error))?, &root, talk)
        }
        Err(error) => Err(Failure::from(error).at(&root)),
    }
}

/// In a daemon whose folder is at a round; `None` for any other verb, which has to wait for its turn.
pub(super) fn answer_meanwhile(request: &control::Request, root: &Path) -> Option<control::Answer> {
    let line = super::read_line(&request.arguments).ok()?;
    matches!(line.verb, super::Verb::OnFolder(super::FolderVerb::Status(_))).then(|| {
        super::answer_with(request, |_, talk| show(&Status::as_noted(root, AtWork::Daemon)?, root, talk))
    })
}

fn show(status: &Status, root: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    if talk.output.json {
        talk.json(status)?;
        return Ok(exit_in(status.state));
    }
    let stopped = !status.daemon && status.doing.is_none();
    let word = match status.state {
        State::Idle | State::Syncing if status.paused => "paused",
        // What is idle by what was seen last may not be so any more.
        State::Idle | State::Syncing if stopped => "stopped",
        state => state.word(),
    };
    talk.line(format_args!("{word}  {}", root.display()))?;
    trouble(status).iter().try_for_each(|line| talk.line(format_args!("  {line}")))?;
    if stopped {
        let root = place::typed(root);
        talk.line(format_args!("  no daemon keeps it in sync: `annals sync {root}` does, `annals service install {root}` from login on"))?;
    }
    let Status { namespace_name, owner, user, device, server, .. } = status;
    let whose = if owner.is_empty() { user } else { owner };
    talk.line(format_args!("  {namespace_name} of {whose}, here as {user}'s device {device}, on {server}"))?;
    talk.line(format_args!(
        "  {}, {}, {}; at event {} of {}",
        many(status.files, "file"),
        many(status.folders, "folder"),
        size::human(status.bytes),
        status.cursor,
        status.seq
    ))?;
    if status.paused {
        talk.line(format_args!(
            "  paused: nothing is sent or fetched until `annals sync {} --resume`",
            place::typed(root)
        ))?;
    }
    if let Some(rate) = status.limit_rate {
        talk.line(format_args!("  at most {} a second in each direction", size::human(rate)))?;
    }
    if let Some(doing) = &status.doing {
        talk.line(format_args!("  just now: {doing}"))?;
        for line in status.moving.iter().flat_map(in_words) {
            talk.line(format_args!("    {line}"))?;
        }
    }
    if let Some(unwatched) = &status.unwatched {
        talk.line(format_args!("  {unwatched}"))?;
    }
    for line in waiting(status) {
        talk.line(format_args!("  {line}{}", until(status)))?;
    }
    if let Some(at) = &status.last_exchange {
        talk.line(format_args!("  everything was exchanged at {at}"))?;
    }
    if status.conflicts > 0 {
        let conflicts = many(status.conflicts, "conflict");
        talk.line(format_args!("  {conflicts}: both sides are kept, one under a name with `(conflict …)`"))?;
        for line in status.conflicting.iter().flat_map(|line| choices(line, root)) {
            talk.line(format_args!("    {line}"))?;
        }
        if let more @ 1.. = status.conflicts - status.conflicting.len() as u64 {
            talk.line(format_args!("    and {more} more"))?;
        }
    }
    for line in attention(&status.set_aside, &status.skipped, &status.in_the_way) {
        talk.line(format_args!("  {line}"))?;
    }
    Ok(exit_in(status.state))
}

/// A file with a conflict, and what to type for either side of it.
fn choices(line: &ConflictLine, root: &Path) -> Vec<String> {
    let typed = |path: &str| place::typed(&root.join(path));
    let beside = line.copies.iter().flat_map(|copy| {
        let (one, other) = (typed(&line.path), typed(copy));
        let there = [
            format!("  beside it: {copy}"),
            format!("    to keep the first: rm {other}"),
            format!("    to keep this: mv {other} {one}"),
        ];
        // Into a folder it would only be moved.
        let kept = if root.join(&line.path).is_dir() || root.join(copy).is_dir() { 1 } else { there.len() };
        let named =
            (line.why == ConflictKind::Name).then(|| format!("    to keep both: mv {other} ANOTHER-NAME"));
        there.into_iter().take(kept).chain(named)
    });
    std::iter::once(format!("{} ({})", line.path, line.why.word())).chain(beside).collect()
}

/// The exit code of whoever says in which state a folder is.
pub(super) fn exit_in(state: State) -> Exit {
    match state {
        State::Idle | State::Syncing => Exit::Done,
        State::Attention => Exit::NeedsPerson,
        State::Offline => Exit::Unreachable,
    }
}

/// What is wrong, and what to do about it, a line each.
pub(super) fn trouble(status: &Status) -> Vec<String> {
    let error = status.last_error.as_deref();
    let what = match status.state {
        State::Offline => {
            let since = status.offline_since.as_deref().unwrap_or("the last time");
            let waits = match status.pending_events + status.unread_files {
                0 => "nothing waits".to_owned(),
                1 => "1 change waits".to_owned(),
                more => format!("{more} changes wait"),
            };
            let why = error.map_or_else(String::new, |error| format!(" ({error})"));
            Some(format!("offline: server not reached since {since}, {waits}{why}"))
        }
        State::Attention => {
            Some(format!("attention: {}", error.unwrap_or("changes were refused, and are kept here")))
        }
        State::Idle | State::Syncing => error.map(|error| format!("last error: {error}")),
    };
    let goes_on = status.state == State::Offline && status.daemon;
    let hint = status.hint.as_deref().or_else(|| (status.state == State::Attention).then_some(REFUSED_HINT));
    let hint = hint.map(|hint| match goes_on {
        true if hint.ends_with(['.', '?']) => {
            format!("hint: {hint} It goes on by itself once the server is there.")
        }
        true => format!("hint: {hint}. It goes on by itself once the server is there."),
        false => format!("hint: {hint}"),
    });
    what.into_iter().chain(hint).collect()
}

/// What to do about changes that were refused once, as long as what they wrote is there.
const REFUSED_HINT: &str = "what stands below lies here under its own name: move it to where you may write, or remove it to discard it";

/// What waits to go in either direction, a line each.
fn waiting(status: &Status) -> Vec<String> {
    let Status { pending_events, unread_files, incoming_files, .. } = status;
    let events = (*pending_events > 0).then(|| many(*pending_events, "event"));
    let unread = (*unread_files > 0).then(|| format!("{} not read yet", many(*unread_files, "file")));
    let sent: Vec<String> = events.into_iter().chain(unread).collect();
    let sent = (!sent.is_empty())
        .then(|| format!("waiting to be sent: {}, {}", sent.join(", "), size::human(status.pending_bytes)));
    let fetched = (*incoming_files > 0).then(|| {
        let (files, bytes) = (many(*incoming_files, "file"), size::human(status.incoming_bytes));
        format!("waiting to be fetched: {files}, {bytes}")
    });
    sent.into_iter().chain(fetched).collect()
}

/// What has to happen for what waits to go on.
fn until(status: &Status) -> &'static str {
    match status.waits_for {
        Some(WaitsFor::Resume) => ", after `annals sync --resume`",
        Some(WaitsFor::Server) => ", once the server is reached",
        Some(WaitsFor::Person) => ", once somebody has looked at what stands below",
        Some(WaitsFor::Round) | None => "",
    }
}

/// What moves, how far that is and how long it takes.
fn in_words(moving: &Moving) -> Vec<String> {
    let mut lines: Vec<String> = moving.path.iter().cloned().collect();
    if moving.of_bytes > 0 {
        let far = format!("{} of {}", size::human(moving.bytes), size::human(moving.of_bytes));
        let left =
            moving.seconds_left.map_or_else(String::new, |left| format!(", about {} left", time(left)));
        lines.push(format!("{far}, {} a second on the wire{left}", size::human(moving.bytes_per_second)));
    }
    lines
}

/// So many seconds, as people say it.
fn time(seconds: u64) -> String {
    match seconds {
        ..120 => many(seconds, "second"),
        120..7200 => many(seconds / 60, "minute"),
        _ => many(seconds / 3600, "hour"),
    }
}

/// So many lines of a kind are said; `--json` has all.
const LINES_MAX: usize = 20;

/// What a person should look at, a line each.
pub(super) fn attention(
    set_aside: &[SetAsideLine],
    skipped: &[client::PathLine],
    in_the_way: &[client::PathLine],
) -> Vec<String> {
    let count = set_aside.len();
    let set_aside = set_aside.iter().map(|line| {
        let what = if line.path.is_empty() { &line.kind } else { &line.path };
        match line.place.as_deref().filter(|place| place != what) {
            Some(place) => format!("set aside: {what} ({}); it is here as `{place}`", line.why),
            None if line.undone => format!("undone: {what} ({})", line.why),
            None => format!("set aside: {what} ({})", line.why),
        }
    });
    let more = count.saturating_sub(LINES_MAX);
    let more = (more > 0)
        .then(|| format!("set aside: {more} more, {count} in all; `annals status --json` lists them"));
    let in_the_way = by_reason(in_the_way).into_iter().flat_map(|cause| cause.lines("in the way"));
    let skipped = by_reason(skipped).into_iter().flat_map(|cause| cause.lines("not synced"));
    set_aside.take(LINES_MAX).chain(more).chain(in_the_way).chain(skipped).collect()
}

/// Paths with which the same is the matter.
pub(super) struct Cause<'a> {
    /// What, in words that name none of them.
    pub(super) why: String,
    matter: Matter,
    /// Each with what is said of it.
    lines: Vec<&'a client::PathLine>,
}

/// So many paths are named of those with which the same is the matter.
const NAMED_MAX: usize = 3;

impl Cause<'_> {
    /// Whether it is that the disk has no room: nothing is in the way then.
    pub(super) fn is_room(&self) -> bool {
        self.matter == Matter::Room
    }

    /// One of them by its name, many by some.
    pub(super) fn paths(&self) -> String {
        let named: Vec<&str> = self.lines.iter().take(NAMED_MAX).map(|line| line.path.as_str()).collect();
        match self.lines.len() {
            ..=NAMED_MAX => named.join(", "),
            all => format!("{}, such as {}", many(all as u64, "path"), named.join(", ")),
        }
    }

    fn lines(&self, word: &str) -> Vec<String> {
        let word = if self.is_room() { "waits for room" } else { word };
        if self.lines.len() > NAMED_MAX {
            return vec![format!(
                "{word}: {} ({}); `annals status --json` lists them",
                self.paths(),
                self.why
            )];
        }
        self.lines.iter().map(|line| format!("{word}: {} ({})", line.path, line.why)).collect()
    }
}

/// Reasons in the order in which they come, each once.
pub(super) fn by_reason(lines: &[client::PathLine]) -> Vec<Cause<'_>> {
    let mut causes: Vec<Cause<'_>> = Vec::new();
    for line in lines {
        let why = line.why.replace(&format!("{:?}", line.path), "it");
        match causes.iter_mut().find(|cause| cause.why == why) {
            Some(cause) => cause.lines.push(line),
            None => causes.push(Cause { why, matter: line.matter, lines: vec![line] }),
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_engine::disk::Blocked;

    fn line(path: &str, why: impl ToString) -> client::PathLine {
        client::PathLine { path: path.into(), why: why.to_string(), matter: Matter::Other }
    }

    fn full(path: &str) -> client::PathLine {
        client::PathLine { matter: Matter::Room, ..line(path, Blocked::Full { path: path.into() }) }
    }

    #[test]
    fn one_reason_for_many_paths_is_said_once() {
        for (in_the_way, said) in [
            (vec![], vec![]),
            (vec![line("a", "a pipe")], vec!["in the way: a (a pipe)"]),
            (
                vec![full("a"), full("b")],
                vec![
                    "waits for room: a (no space left on the disk for \"a\")",
                    "waits for room: b (no space left on the disk for \"b\")",
                ],
            ),
            (
                vec![full("a"), full("b"), line("c", "a pipe"), full("d"), full("e")],
                vec![
                    "waits for room: 4 paths, such as a, b, d (no space left on the disk for it); `annals status --json` lists them",
                    "in the way: c (a pipe)",
                ],
            ),
        ] {
            assert_eq!(attention(&[], &[], &in_the_way), said);
        }
    }

    #[test]
    fn what_is_to_be_typed_for_a_conflict_is_about_two_files() {
        let line = ConflictLine {
            path: "in/a b.txt".into(),
            why: ConflictKind::Name,
            copies: vec!["in/a b (conflict).txt".into()],
        };
        assert_eq!(
            choices(&line, Path::new("/f")),
            [
                "in/a b.txt (name)",
                "  beside it: in/a b (conflict).txt",
                "    to keep the first: rm '/f/in/a b (conflict).txt'",
                "    to keep this: mv '/f/in/a b (conflict).txt' '/f/in/a b.txt'",
                "    to keep both: mv '/f/in/a b (conflict).txt' ANOTHER-NAME",
            ]
        );
    }
}
