//! `annals restore`: one version of a file again, or a file or folder as it was at a time, as new events on top of what
//! is there.

use super::{
    arguments::Restore,
    cat,
    failure::{Exit, Failure},
    moment, place,
    size::many,
    sync,
    talk::Talk,
};
use crate::client::{ClientError, Folder, When};
use annals_engine::{
    observed::name,
    rewind::{Change, Line, Rewind},
    round::RoundError,
};
use std::{collections::BTreeSet, path::Path};

pub(super) fn run(
    restore: &Restore,
    folder: &mut Folder,
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let path = place::path_in(folder.root(), &restore.what.path, directory)?;
    match cat::when(&restore.what)? {
        When::Now => Err(Failure::usage("say which version: --version ID or --at T").hint(
            "`annals history FILE` lists versions; a whole folder comes back with --at, as in --at '2h ago'",
        )),
        When::At(at) => as_it_was(&path, at, restore.dry_run, folder, talk),
        when @ When::Version(_) => version(&path, &when, restore.dry_run, folder, talk),
    }
}

fn version(
    path: &str,
    when: &When,
    dry_run: bool,
    folder: &mut Folder,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    if dry_run {
        let version = folder.version_at(path, when)?;
        return say_version(path, version, None, false, folder, talk);
    }
    // What is in the folder now becomes a version before another one takes its place.
    sync::exchange(folder, talk)?;
    let version = folder.version_at(path, when)?;
    let sent = sync::tell(folder, talk, |folder| folder.restore(path, version))?;
    let now = folder.version_at(path, &When::Now)?;
    say_version(path, version, Some(now), sent, folder, talk)
}

fn say_version(
    path: &str,
    version: annals_events::Dot,
    now: Option<annals_events::Dot>,
    sent: bool,
    folder: &mut Folder,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    if talk.output.json {
        let now = now.map_or_else(|| folder.version_at(path, &When::Now), Ok)?;
        let (version, now) = (version.to_string(), now.to_string());
        talk.json(&serde_json::json!({ "path": path, "version": version, "now": now, "sent": sent }))?;
        return Ok(Exit::Done);
    }
    let would = if now.is_some() { "restored" } else { "would restore" };
    talk.line(format_args!("{would} {path} as it was in version {version}"))?;
    Ok(Exit::Done)
}

fn as_it_was(
    path: &str,
    at: u64,
    dry_run: bool,
    folder: &mut Folder,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let again = match dry_run {
        true => folder.would_come_again(path, at)?,
        false => take_what_is_there(path, folder, talk)?,
    };
    let mut found = folder.rewind(path, at)?;
    let mut sent = false;
    if !dry_run {
        sent = sync::tell(folder, talk, |folder| {
            found = folder.rewind(path, at)?;
            folder.say_rewind(&found)
        })?;
    }
    let said: BTreeSet<String> = found.lines.iter().map(|line| line.path.clone()).collect();
    let again = again.into_iter().filter(|path| !said.contains(path));
    found.lines.extend(again.map(|path| Line { change: Change::BroughtBack, path, from: None }));
    found.lines.sort_by(|a, b| a.path.cmp(&b.path));
    if talk.output.json {
        return say_json(path, at, dry_run, &found, sent, talk);
    }
    for line in &found.lines {
        talk.line(in_words(line))?;
    }
    for path in &found.not_kept {
        talk.line(format_args!("not kept any more: {path}"))?;
    }
    let whole = if path.is_empty() { folder.root().display().to_string() } else { path.to_owned() };
    let changes = many(found.lines.len() as u64, "change");
    match (found.lines.is_empty(), dry_run) {
        (true, _) => talk.remark(format_args!("{whole} is as it was then"))?,
        (false, true) => talk.remark(format_args!("{changes}; nothing was done"))?,
        (false, false) => talk.remark(format_args!("{whole} is as it was then: {changes}"))?,
    }
    Ok(Exit::Done)
}

/// What is in the folder now becomes versions. Where most of it vanished it was no person who removed it: it comes
/// again. Answers with what does.
fn take_what_is_there(path: &str, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Vec<String>, Failure> {
    let vanished = match folder.sync_once(&mut super::progress::Bar::new(talk.terminal)) {
        Err(ClientError::Round(RoundError::MassDelete(_))) => folder.put_back(path)?,
        Err(error) if error.is_passing() => Vec::new(),
        done => done.map(|_| Vec::new())?,
    };
    if !vanished.is_empty() {
        talk.remark(format_args!(
            "{} had vanished from the folder, and come again",
            many(vanished.len() as u64, "path")
        ))?;
        sync::exchange(folder, talk)?;
    }
    Ok(vanished)
}

fn say_json(
    path: &str,
    at: u64,
    dry_run: bool,
    found: &Rewind,
    sent: bool,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let changes: Vec<_> = found
        .lines
        .iter()
        .map(|line| serde_json::json!({ "path": line.path, "what": line.change.word(), "from": line.from }))
        .collect();
    talk.json(&serde_json::json!({
        "path": path, "at": moment::rfc3339(at), "dry_run": dry_run, "changes": changes,
        "not_kept": found.not_kept, "sent": sent
    }))?;
    Ok(Exit::Done)
}

fn in_words(line: &Line) -> String {
    let Line { change, path, from } = line;
    let from = from.as_deref().unwrap_or_default();
    match change {
        Change::BroughtBack => format!("brought back  {path}"),
        Change::MovedBack => format!("moved back    {path}  (was {from})"),
        Change::Content => format!("content       {path}"),
        Change::Attributes => format!("attributes    {path}"),
        Change::OutOfTheWay => format!("made room     {from} is called {} now", name(path)),
    }
}
