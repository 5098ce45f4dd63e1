//! `annals log`: what happened in a folder, or to one path in it.

use super::{
    arguments::{CommandLine, Log, Verb},
    cat,
    failure::{Exit, Failure},
    moment, place,
    talk::Talk,
};
use crate::client::{EventLine, Folder};
use clap::Parser;
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Line {
    seq: Option<u64>,
    at: String,
    kind: String,
    user: String,
    device: String,
    path: Option<String>,
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
    let path = place::log_path(log, folder.root(), directory)?;
    let since = log.since.as_deref().map(|text| moment::parse(text, cat::now())).transpose()?;
    let events = folder.events(path.as_deref(), since, log.after, log.limit)?;
    for line in events.into_iter().map(Line::from) {
        show(&line, talk)?;
    }
    Ok(Exit::Done)
}

fn show(line: &Line, talk: &mut Talk<'_>) -> Result<(), Failure> {
    if talk.output.json {
        return talk.json(line);
    }
    let seq = line.seq.map_or_else(|| "pending".to_owned(), |seq| seq.to_string());
    let path = line.path.as_deref().unwrap_or("");
    talk.line(format_args!("{seq:>8}  {}  {:20} {:12} {path}", line.at, line.kind, line.device))
}

/// What is there, and then what comes: asks again every second, whoever holds the folder.
pub(super) fn follow(
    log: &Log,
    typed: &[String],
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let mut after = None;
    loop {
        let arguments = once(typed, log, after);
        let line = CommandLine::try_parse_from(
            std::iter::once("annals".to_owned()).chain(arguments.iter().cloned()),
        )
        .map_err(|error| Failure::usage(error.to_string()))?;
        let Verb::Log(_) = line.verb else { return Err(Failure::usage("only `log` can be followed")) };
        let mut lines = Vec::new();
        let mut quiet = Vec::new();
        let exit = super::on_folder(
            line.verb,
            &arguments,
            directory,
            &mut Talk::new(line.output, &mut lines, &mut quiet, false),
        );
        match exit {
            // Somebody is at work in the folder for a moment.
            Err(failure) if failure.exit == Exit::Failed && after.is_some() => {}
            Err(failure) => return Err(failure),
            Ok(_) => {
                let text = String::from_utf8_lossy(&lines).into_owned();
                for line in text.lines() {
                    let document: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
                    after = document["seq"].as_u64().max(after);
                    print_followed(line, &document, talk)?;
                }
                after = after.or(Some(0));
            }
        }
        crate::clock::pause(std::time::Duration::from_secs(1));
    }
}

fn print_followed(line: &str, document: &serde_json::Value, talk: &mut Talk<'_>) -> Result<(), Failure> {
    if document["seq"].is_null() {
        return Ok(());
    }
    if talk.output.json {
        return talk.line(line);
    }
    let text = |key: &str| document[key].as_str().unwrap_or("").to_owned();
    talk.line(format_args!(
        "{:>8}  {}  {:20} {:12} {}",
        document["seq"],
        text("at"),
        text("kind"),
        text("device"),
        text("path")
    ))
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
