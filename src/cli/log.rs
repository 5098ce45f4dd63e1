//! `annals log`: what happened in a folder, or to one path in it.

use super::{
    arguments::{CommandLine, FolderVerb, Log, Verb},
    cat,
    failure::{Exit, Failure},
    moment, place,
    talk::{Columns, Talk},
};
use crate::client::{EventLine, EventsWanted, Folder};
use clap::Parser;
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Serialize, Deserialize)]
struct Line {
    seq: Option<u64>,
    at: String,
    kind: String,
    user: String,
    device: String,
    path: Option<String>,
    from: Option<String>,
    change: Option<String>,
    entry: Option<String>,
    dot: String,
    hash: String,
}

impl From<EventLine> for Line {
    fn from(event: EventLine) -> Self {
        Self {
            seq: event.seq.map(|seq| seq.0),
            at: moment::rfc3339(event.at),
            kind: event.kind,
            user: event.user,
            device: event.device,
            path: event.path,
            from: event.from,
            change: event.change,
            entry: event.entry.map(|entry| entry.0.to_string()),
            dot: event.dot.to_string(),
            hash: event.batch.to_hex(),
        }
    }
}

pub(super) fn run(
    log: &Log,
    folder: &mut Folder,
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let path = place::path_meant(log.folder.as_deref(), log.path.as_deref(), folder.root(), directory)?;
    let since = log.since.as_deref().map(|text| moment::parse(text, cat::now())).transpose()?;
    let wanted = EventsWanted { path: path.as_deref(), since, after: log.after, limit: log.limit };
    let lines: Vec<Line> = folder.events(wanted)?.into_iter().map(Line::from).collect();
    if talk.output.json {
        lines.iter().try_for_each(|line| talk.json(line))?;
    } else {
        talk.table(&lines.iter().map(row).collect::<Vec<_>>())?;
    }
    Ok(Exit::Done)
}

fn row(line: &Line) -> Vec<String> {
    let seq = line.seq.map_or_else(|| "pending".to_owned(), |seq| seq.to_string());
    let path = line.path.as_deref().unwrap_or_default();
    let moved = line.from.as_ref().map_or_else(|| path.to_owned(), |from| format!("{from} → {path}"));
    let about = match (&line.change, moved.is_empty()) {
        (None, _) => moved,
        (Some(change), true) => change.clone(),
        (Some(change), false) => format!("{moved} ({change})"),
    };
    vec![format!("{seq:>7}"), line.at.clone(), line.kind.clone(), line.device.clone(), about]
}

/// What is there, and then what comes: asks again every second, whoever holds the folder.
pub(super) fn follow(
    log: &Log,
    typed: &[String],
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let (mut after, mut columns) = (None, Columns::default());
    loop {
        let arguments = once(typed, log, after);
        let line = CommandLine::try_parse_from(
            std::iter::once("annals".to_owned()).chain(arguments.iter().cloned()),
        )
        .map_err(|error| Failure::usage(error.to_string()))?;
        let Verb::OnFolder(verb @ FolderVerb::Log(_)) = line.verb else {
            return Err(Failure::usage("only `log` can be followed"));
        };
        let mut lines = Vec::new();
        let mut quiet = Vec::new();
        let exit = super::on_folder(
            verb,
            &arguments,
            directory,
            &mut Talk::new(line.output, &mut lines, &mut quiet, false),
        );
        match exit {
            // Somebody is at work in the folder for a moment.
            Err(failure) if failure.exit == Exit::Failed && after.is_some() => {}
            Err(failure) => return Err(failure),
            Ok(Exit::Failed) if after.is_some() => {}
            // A daemon said no: what it said is all there is to say.
            Ok(exit) if exit != Exit::Done => return talk.raw_remarks(&quiet).map(|()| exit),
            Ok(_) => {
                let text = String::from_utf8_lossy(&lines).into_owned();
                let new: Vec<Line> =
                    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
                // What is pending comes again once it has its place.
                let new: Vec<Line> = new.into_iter().filter(|line| line.seq.is_some()).collect();
                after = new.last().and_then(|line| line.seq).max(after);
                new.iter().for_each(|line| columns.widen(&row(line)));
                for line in &new {
                    if talk.output.json { talk.json(line)? } else { talk.line(columns.line(&row(line)))? }
                }
                talk.flush()?;
                after = after.or(Some(0));
            }
        }
        crate::clock::pause(std::time::Duration::from_secs(1));
    }
}

/// The same question for once, as JSON, after what was shown already.
fn once(typed: &[String], log: &Log, after: Option<u64>) -> Vec<String> {
    let mut arguments: Vec<String> =
        typed.iter().filter(|a| *a != "--follow" && *a != "--json").cloned().collect();
    arguments.push("--json".into());
    if let Some(after) = after {
        // The limit was for the beginning.
        if log.limit.is_some()
            && let Some(at) = arguments.iter().position(|a| a.starts_with("--limit"))
        {
            let own_value = arguments[at].contains('=');
            arguments.drain(at..=at + usize::from(!own_value));
        }
        arguments.push(format!("--after={after}"));
    }
    arguments
}
