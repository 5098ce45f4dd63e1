//! `annals history`: the versions of one file, as a graph by their parents.

use super::{
    arguments::PathArg,
    failure::{Exit, Failure},
    moment, place, size,
    talk::Talk,
};
use crate::client::{Folder, VersionLine};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Line {
    version: String,
    parents: Vec<String>,
    at: String,
    /// When it was made, by its device's clock.
    made_at: String,
    /// Whether the server took it much later than that.
    #[serde(skip)]
    came_late: bool,
    device: String,
    user: String,
    bytes: u64,
    manifest: String,
    head: bool,
}

/// Times that are no further apart than this, in milliseconds, are one to people.
const SAME_MS: u64 = 60_000;

impl From<VersionLine> for Line {
    fn from(version: VersionLine) -> Self {
        Self {
            version: version.version.to_string(),
            parents: version.parents.iter().map(ToString::to_string).collect(),
            at: moment::rfc3339(version.at),
            made_at: moment::rfc3339(version.made_at),
            came_late: version.at.abs_diff(version.made_at) > SAME_MS,
            device: version.device,
            user: version.user,
            bytes: version.bytes,
            manifest: version.content.map(|id| id.to_hex()).unwrap_or_default(),
            head: version.head,
        }
    }
}

pub(super) fn run(
    history: &PathArg,
    folder: &mut Folder,
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let path = place::path_in(folder.root(), &history.path, directory)?;
    // The newest first, as everywhere.
    let lines: Vec<Line> = folder.versions(&path)?.into_iter().rev().map(Line::from).collect();
    if talk.output.json {
        talk.json(&lines)?;
        return Ok(Exit::Done);
    }
    talk.table(&lines.iter().map(row).collect::<Vec<_>>())?;
    if lines.iter().any(|line| line.came_late) {
        talk.remark(
            "the time before `saved` is when the server took it: that is the one which --at goes by",
        )?;
    }
    Ok(Exit::Done)
}

/// A line for people: ids short enough to type, long enough to be unique.
fn row(line: &Line) -> Vec<String> {
    let mark = if line.head { "*" } else { "o" };
    let from = match line.parents.as_slice() {
        [] => String::new(),
        parents => format!("from {}", parents.iter().map(|p| short(p)).collect::<Vec<_>>().join(", ")),
    };
    vec![
        mark.to_owned(),
        short(&line.version),
        line.at.clone(),
        if line.came_late { format!("saved {}", line.made_at) } else { String::new() },
        format!("{} on {}", line.user, line.device),
        size::human(line.bytes),
        from,
    ]
}

/// The first digits of the device and the counter: what `--version` also takes.
fn short(version: &str) -> String {
    match version.split_once(':') {
        Some((device, counter)) => format!("{}:{counter}", &device[..device.len().min(8)]),
        None => version.to_owned(),
    }
}
