//! `annals history`: the versions of one file, as a graph by their parents; then those of older files of that name.

use super::{
    arguments::PathArg,
    failure::{Exit, Failure},
    moment, place, size,
    talk::Talk,
};
use crate::client::{FileLines, Folder, Held, VersionLine, Whereabouts};
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
    /// What became of its content: `kept`, `forgotten`, `lost` or `withheld`.
    content: &'static str,
    /// Which file it is of.
    entry: String,
    /// Whether that is an older file than the one that the path means now; then none of its versions is a head of that.
    earlier: bool,
    /// Where that file is, or was last.
    path: String,
}

const LOST: &str = "lost";

/// What is said of contents that are.
const ABOUT_LOST: &str = "lost: neither the server nor this folder has that content; a device that still has it sends it when it syncs";

/// What the marks and the two times mean.
const LEGEND: &str = "* is what the file holds now (more than one: a conflict), o what it held before; `saved` is when its device made it, `taken` when the server took it, by which --at goes; all times are UTC";

impl Line {
    fn of(version: &VersionLine, file: &FileLines) -> Self {
        Self {
            version: version.version.to_string(),
            parents: version.parents.iter().map(ToString::to_string).collect(),
            at: moment::rfc3339(version.at),
            made_at: moment::rfc3339(version.made_at),
            pending: version.pending,
            device: version.device.clone(),
            user: version.user.clone(),
            bytes: version.bytes,
            manifest: version.content.map(|id| id.to_hex()).unwrap_or_default(),
            head: version.head && file.current,
            content: match version.held {
                Held::Kept => "kept",
                Held::Forgotten => "forgotten",
                Held::Lost => LOST,
                Held::Withheld => "withheld",
            },
            entry: file.entry.0.to_string(),
            earlier: !file.current,
            path: file.path.clone(),
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
    let files = folder.histories(&path)?;
    // The newest first, as everywhere.
    let lines_of = |file: &FileLines| -> Vec<Line> {
        file.versions.iter().rev().map(|version| Line::of(version, file)).collect()
    };
    if talk.output.json {
        talk.json(&files.iter().flat_map(lines_of).collect::<Vec<_>>())?;
        return Ok(Exit::Done);
    }
    for file in &files {
        if !file.current {
            talk.line(heading(file, &path))?;
        }
        talk.table(&lines_of(file).iter().map(row).collect::<Vec<_>>())?;
    }
    talk.remark(LEGEND)?;
    if files.iter().flat_map(|file| &file.versions).any(|version| version.held == Held::Lost) {
        talk.remark(ABOUT_LOST)?;
    }
    Ok(Exit::Done)
}

/// What is said of a file that is not the one that the path means now.
fn heading(file: &FileLines, path: &str) -> String {
    match file.is {
        Whereabouts::Here => format!("another file behind the name {path}:"),
        Whereabouts::Elsewhere => format!("a file that had the name {path}, and is {} now:", file.path),
        Whereabouts::Removed(at) => {
            let at = at.map(|at| format!(" {}", moment::rfc3339(at))).unwrap_or_default();
            let last = if file.path == path { String::new() } else { format!(" as {}", file.path) };
            format!("a file that had the name {path}, and was removed{last}{at}:")
        }
    }
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
        match line.content {
            "kept" => from,
            "forgotten" => format!("{from} (not kept any more)"),
            other => format!("{from} ({other})"),
        }
        .trim_start()
        .to_owned(),
    ]
}

/// The first digits of the device and the counter: what `--version` also takes.
fn short(version: &str) -> String {
    match version.split_once(':') {
        Some((device, counter)) => format!("{}:{counter}", &device[..device.len().min(8)]),
        None => version.to_owned(),
    }
}
