//! `annals status`: how a linked folder stands, without asking a server, whoever has the folder.

use super::{
    arguments::FolderArg,
    failure::{Exit, Failure},
    place,
    size::{self, many},
    talk::Talk,
};
use crate::client::{self, ClientError, Folder, Moving, SetAsideLine, Status, control};
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
    let root = place::folder_of(&super::Verb::Status(arg.clone()), directory)?;
    match Folder::open(&root) {
        Ok(mut folder) => run(&mut folder, talk),
        Err(held @ ClientError::Held { .. }) => {
            let asked = super::ask_daemon(&root.join(client::STATE_FOLDER), typed, directory, talk);
            asked.unwrap_or_else(|| show(&Status::as_noted(&root, &held)?, &root, talk))
        }
        Err(error) if error.is_read_only() => show(&Status::as_noted(&root, &error)?, &root, talk),
        Err(error) => Err(error.into()),
    }
}

/// In a daemon whose folder is at a round; `None` for any other verb, which has to wait for its turn.
pub(super) fn answer_meanwhile(request: &control::Request, root: &Path) -> Option<control::Answer> {
    let line = super::read_line(&request.arguments).ok()?;
    matches!(line.verb, super::Verb::Status(_)).then(|| {
        super::answer_with(request, |_, talk| {
            let held = ClientError::Held { folder: root.to_owned() };
            show(&Status::as_noted(root, &held)?, root, talk)
        })
    })
}

fn show(status: &Status, root: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    if talk.output.json {
        talk.json(status)?;
        return Ok(Exit::Done);
    }
    talk.line(format_args!("{}  {}", status.state.word(), root.display()))?;
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
        talk.line("  paused: nothing is sent or fetched until `annals sync --resume`")?;
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
    if status.pending_events > 0 {
        talk.line(format_args!(
            "  waiting to be sent: {}, {}{}",
            many(status.pending_events, "event"),
            size::human(status.pending_bytes),
            until(status)
        ))?;
    }
    if let Some(at) = &status.last_exchange {
        talk.line(format_args!("  everything was exchanged at {at}"))?;
    }
    if status.conflicts > 0 {
        talk.line(format_args!(
            "  {}: look for names with `(conflict …)`",
            many(status.conflicts, "conflict")
        ))?;
    }
    for line in attention(&status.set_aside, &status.skipped, &status.in_the_way) {
        talk.line(format_args!("  {line}"))?;
    }
    if let Some(error) = &status.last_error {
        talk.line(format_args!("  last error: {error}"))?;
    }
    Ok(Exit::Done)
}

/// What has to happen for what waits to go on.
fn until(status: &Status) -> &'static str {
    match status.waits_for.as_deref() {
        Some("resume") => ", after `annals sync --resume`",
        Some("server") => ", once the server is reached",
        Some("person") => ", once somebody has looked at what stands below",
        _ => "",
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

/// What a person should look at, a line each.
pub(super) fn attention(
    set_aside: &[SetAsideLine],
    skipped: &[client::PathLine],
    in_the_way: &[client::PathLine],
) -> Vec<String> {
    let set_aside = set_aside.iter().map(|line| {
        let what = if line.path.is_empty() { &line.kind } else { &line.path };
        match line.place.as_deref().filter(|place| place != what) {
            Some(place) => format!("set aside: {what} ({}); it is here as `{place}`", line.why),
            None if line.is_undone() => format!("undone: {what} ({})", line.why),
            None => format!("set aside: {what} ({})", line.why),
        }
    });
    let in_the_way = in_the_way.iter().map(|line| format!("in the way: {} ({})", line.path, line.why));
    let skipped = skipped.iter().map(|line| format!("not synced: {} ({})", line.path, line.why));
    set_aside.chain(in_the_way).chain(skipped).collect()
}
