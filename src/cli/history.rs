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
    /// Whether the server has not taken it yet; then `at` is when it was made, too.
    pending: bool,
    device: String,
    user: String,
    bytes: u64,
    manifest: String,
    head: bool,
}

/// What the marks and the two times mean.
const LEGEND: &str = "* is what the file holds now (more than one: a conflict), o what it held before; `saved` is when its device made it, `taken` when the server took it, by which --at goes; all times are UTC";

impl From<VersionLine> for Line {
    fn from(version: VersionLine) -> Self {
        Self {
            version: version.version.to_string(),
            parents: version.parents.iter().map(ToString::to_string).collect(),
            at: moment::rfc3339(version.at),
            made_at: moment::rfc3339(version.made_at),
            pending: version.pending,
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
    talk.remark(LEGEND)?;
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
        format!("saved {}", line.made_at),
        if line.pending { "not sent yet".into() } else { format!("taken {}", line.at) },
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
