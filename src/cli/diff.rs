//! `annals diff`: what is different between two versions of a file, or two states of a folder.

use super::{
    arguments::Diff,
    cat,
    failure::{Exit, Failure},
    moment, place,
    size::human,
    talk::{Talk, shown},
};
use crate::client::{Compared, Difference, DifferenceKind, FileState, Folder, Side, When};
use std::{io::IsTerminal, path::Path, time::Duration};

/// After so long a difference is told more coarsely.
const PATIENCE: Duration = Duration::from_secs(5);
/// Lines around a difference.
const CONTEXT: usize = 3;

pub(super) fn run(
    diff: &Diff,
    folder: &mut Folder,
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let path = place::path_in(folder.root(), &diff.path, directory)?;
    let from = side(diff.from.as_deref(), Side::Log(When::Now));
    let to = side(diff.to.as_deref(), Side::Folder);
    match folder.compare(&path, &from, &to)? {
        Compared::Folder(found) => of_folder(&found, talk),
        Compared::File { states, same } => of_file(&path, &states[0], &states[1], same, talk),
    }
}

/// `2026`, `3d` and the like are times; what is none is a version.
fn side(typed: Option<&str>, otherwise: Side) -> Side {
    typed.map_or(otherwise, |text| match moment::parse(text, cat::now()) {
        Ok(at) => Side::Log(When::At(at)),
        Err(_) => Side::Log(When::Version(text.to_owned())),
    })
}

fn of_file(
    path: &str,
    before: &FileState,
    after: &FileState,
    same: bool,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let text = match (&before.text, &after.text) {
        _ if same => None,
        (Some(one), Some(other)) => Some(unified(path, (before, one), (after, other))),
        _ => None,
    };
    if talk.output.json {
        talk.json(&serde_json::json!({
            "path": path, "from": before.label, "to": after.label, "same": same,
            "binary": !same && text.is_none(),
            "bytes_from": before.bytes, "bytes_to": after.bytes, "diff": text
        }))?;
        return Ok(Exit::Done);
    }
    match text {
        Some(text) if is_watched(talk) => text.lines().try_for_each(|line| coloured(line, talk))?,
        // As it is: `patch` reads it.
        Some(text) => talk.raw(text.as_bytes())?,
        None if same => talk.remark(format_args!("{path} holds the same"))?,
        None => {
            let (before, after) = (human(before.bytes), human(after.bytes));
            talk.line(format_args!("binary files differ: {path} ({before}, then {after})"))?;
        }
    }
    Ok(Exit::Done)
}

fn unified(path: &str, (before, one): (&FileState, &str), (after, other): (&FileState, &str)) -> String {
    let names = [(before, "a"), (after, "b")].map(|(state, prefix)| match state.label.as_str() {
        "/dev/null" => state.label.clone(),
        label => format!("{prefix}/{path}\t{label}"),
    });
    let diff = similar::TextDiff::configure().timeout(PATIENCE).diff_lines(one, other);
    diff.unified_diff().context_radius(CONTEXT).header(&names[0], &names[1]).to_string()
}

/// Whether a person reads what is said: not a pipe, and not a daemon that says it for somebody else.
fn is_watched(talk: &Talk<'_>) -> bool {
    talk.terminal && std::io::stdout().is_terminal()
}

fn coloured(line: &str, talk: &mut Talk<'_>) -> Result<(), Failure> {
    let colour = match line.as_bytes().first() {
        _ if std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty()) => None,
        Some(b'+') => Some(32),
        Some(b'-') => Some(31),
        Some(b'@') => Some(36),
        _ => None,
    };
    let text = line.split('\t').map(shown).collect::<Vec<_>>().join("\t");
    let text = colour.map_or_else(|| format!("{text}\n"), |code| format!("\x1b[{code}m{text}\x1b[0m\n"));
    talk.raw(text.as_bytes())
}

fn of_folder(found: &[Difference], talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    if talk.output.json {
        let lines: Vec<_> = found
            .iter()
            .map(|line| {
                serde_json::json!({
                    "path": line.path, "what": word(line.kind), "from": line.from, "folder": line.folder,
                    "bytes_from": line.bytes_before, "bytes_to": line.bytes_after
                })
            })
            .collect();
        talk.json(&lines)?;
        return Ok(Exit::Done);
    }
    for line in found {
        talk.line(in_words(line))?;
    }
    if found.is_empty() {
        talk.remark("nothing is different")?;
    }
    Ok(Exit::Done)
}

fn word(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::Added => "added",
        DifferenceKind::Removed => "removed",
        DifferenceKind::Moved => "moved",
        DifferenceKind::Changed => "changed",
        DifferenceKind::Mode => "mode",
    }
}

fn in_words(line: &Difference) -> String {
    let Difference { path, kind, from, folder, bytes_before, bytes_after } = line;
    let name = format!("{path}{}", if *folder { "/" } else { "" });
    let size = |bytes: &Option<u64>| bytes.map_or_else(String::new, human);
    let about = match kind {
        DifferenceKind::Added => size(bytes_after),
        DifferenceKind::Removed => size(bytes_before),
        DifferenceKind::Moved => format!("was {}", from.as_deref().unwrap_or_default()),
        DifferenceKind::Changed => format!("{}, then {}", size(bytes_before), size(bytes_after)),
        DifferenceKind::Mode => "executable or not".into(),
    };
    let about = if about.is_empty() { about } else { format!("  ({about})") };
    format!("{:<8} {name}{about}", word(*kind))
}
