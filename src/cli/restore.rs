//! `annals restore`: one version of a file again, or a file or folder as it was at a time, as new events on top of what
//! is there.

use super::{
    arguments::Restore,
    cat,
    failure::{Exit, Failure, LOST},
    moment, place,
    progress::Bar,
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
    if restore.missing {
        return missing(&path, restore.dry_run, folder, talk);
    }
    match cat::when(&restore.what)? {
        When::Now => Err(Failure::usage("say which version: --version ID or --at T, or --missing").hint(
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
        folder.is_to_be_had(version)?;
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
    let rewind = folder.rewind(path, at);
    let is_new = matches!(rewind, Err(ClientError::NotYet { .. })) && !again.is_empty();
    // What came later and vanished comes again, and nothing else has to be done.
    let mut found = if is_new { Rewind::default() } else { rewind? };
    let mut sent = false;
    if !dry_run && !is_new {
        sent = sync::tell(folder, talk, |folder| {
            found = folder.rewind(path, at)?;
            folder.say_rewind(&found)
        })?;
    }
    let said: BTreeSet<String> = found.lines.iter().map(|line| line.path.clone()).collect();
    found.lines.extend(brought_back(again.into_iter().filter(|path| !said.contains(path))));
    found.lines.sort_by(|a, b| a.path.cmp(&b.path));
    say(path, Some(at), dry_run, &found, sent, talk)?;
    let whole = if path.is_empty() { folder.root().display().to_string() } else { path.to_owned() };
    let lacking = lacking(&found);
    if let (true, Some(lacking)) = (found.lines.is_empty(), &lacking) {
        let hint = if found.not_kept.is_empty() { LOST } else { NOT_KEPT };
        return Err(Failure::failed(format!(
            "nothing was brought back of {whole} as it was then: {lacking}"
        ))
        .hint(hint));
    }
    if talk.output.json {
        return Ok(Exit::Done);
    }
    let changes = many(found.lines.len() as u64, "change");
    let but = lacking.map(|lacking| format!(", but for this: {lacking}")).unwrap_or_default();
    let stays = match found.stays {
        0 => String::new(),
        1 => "; 1 path that came since stays".to_owned(),
        more => format!("; {more} paths that came since stay"),
    };
    match (found.lines.is_empty(), dry_run) {
        (true, _) => talk.remark(format_args!("{whole} is as it was then{stays}"))?,
        (false, true) => talk.remark(format_args!("{changes}{but}{stays}; nothing was done"))?,
        (false, false) if is_new => talk.remark(format_args!("{whole} is there again: {changes}"))?,
        (false, false) => {
            talk.remark(format_args!("{whole} is as it was then{but}: {changes}{stays}"))?;
        }
    }
    Ok(Exit::Done)
}

/// What to do about what is forgotten.
const NOT_KEPT: &str = "`annals history FILE` lists the versions and marks those that are kept no more, `annals retention show` says for how long they are kept";

/// What is not to be had of what was there then.
fn lacking(found: &Rewind) -> Option<String> {
    let of = |paths: &[String]| match paths {
        [] => None,
        [one] => Some(one.clone()),
        [one, more @ ..] => Some(format!("{one} and {} more", more.len())),
    };
    let not_kept = of(&found.not_kept).map(|paths| format!("what {paths} held is not kept any more"));
    let lost = of(&found.lost).map(|paths| format!("what {paths} held is lost"));
    let all: Vec<String> = not_kept.into_iter().chain(lost).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// What is gone from the folder comes again, and nothing else changes.
fn missing(path: &str, dry_run: bool, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let mut sent = false;
    let paths = if dry_run {
        folder.missing(path)?
    } else {
        let paths = folder.bring_back(path, &mut Bar::new(talk.terminal))?;
        sent = sync::exchange(folder, talk)?;
        paths
    };
    let found = Rewind { lines: brought_back(paths.into_iter()).collect(), ..Rewind::default() };
    say(path, None, dry_run, &found, sent, talk)?;
    if talk.output.json {
        return Ok(Exit::Done);
    }
    let whole = if path.is_empty() { folder.root().display().to_string() } else { path.to_owned() };
    let things = many(found.lines.len() as u64, "thing");
    match (found.lines.is_empty(), dry_run) {
        (true, _) => talk.remark(format_args!("nothing is missing from {whole}"))?,
        (false, true) => talk.remark(format_args!("{things} would come again; nothing was done"))?,
        (false, false) => {
            talk.remark(format_args!("{things} came again; the rest of {whole} is as it was"))?
        }
    }
    Ok(Exit::Done)
}

fn brought_back(paths: impl Iterator<Item = String>) -> impl Iterator<Item = Line> {
    paths.map(|path| Line { change: Change::BroughtBack, path, from: None })
}

/// What is in the folder now becomes versions. Where most of it vanished it was no person who removed it: it comes
/// again. Answers with what does.
fn take_what_is_there(path: &str, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Vec<String>, Failure> {
    let vanished = match folder.sync_once(&mut Bar::new(talk.terminal)) {
        Err(ClientError::Round(RoundError::MassDelete(_))) => folder.put_back(path)?,
        Err(ClientError::Round(RoundError::GaveWay)) => {
            folder.leave_rest_to_daemon();
            Vec::new()
        }
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

/// What happened, or would, a line each.
fn say(
    path: &str,
    at: Option<u64>,
    dry_run: bool,
    found: &Rewind,
    sent: bool,
    talk: &mut Talk<'_>,
) -> Result<(), Failure> {
    if !talk.output.json {
        // What was done is told unless that is not wanted; what would be done was asked for.
        let told = if dry_run || !talk.output.quiet { &found.lines[..] } else { &[] };
        for line in told {
            talk.line(in_words(line))?;
        }
        for path in &found.not_kept {
            talk.line(format_args!("not kept any more: {path}"))?;
        }
        for path in &found.lost {
            talk.line(format_args!("lost: {path}"))?;
        }
        return Ok(());
    }
    let changes: Vec<_> = found
        .lines
        .iter()
        .map(|line| serde_json::json!({ "path": line.path, "what": line.change.word(), "from": line.from }))
        .collect();
    talk.json(&serde_json::json!({
        "path": path, "at": at.map(moment::rfc3339), "dry_run": dry_run, "changes": changes,
        "not_kept": found.not_kept, "lost": found.lost, "stays": found.stays, "sent": sent
    }))
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
