//! `annals trash`: what was removed, bringing it back, and forgetting it for good.

use super::{
    arguments::{FolderVerb, Trash, TrashArg},
    failure::{Exit, Failure},
    moment, place,
    progress::Bar,
    size::{human, many},
    sync,
    talk::Talk,
};
use crate::client::{Folder, TrashLine};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    io::{BufRead, IsTerminal},
    path::Path,
};

#[derive(Serialize)]
struct Line {
    path: String,
    entry: String,
    kind: annals_events::EntryKind,
    removed_at: String,
    device: String,
    user: String,
    entries: u64,
    files: u64,
    bytes: u64,
    /// None unless it is to be forgotten.
    waits_for: Option<Vec<String>>,
}

impl From<TrashLine> for Line {
    fn from(line: TrashLine) -> Self {
        Self {
            path: line.path,
            entry: line.entry.0.to_string(),
            kind: line.kind,
            removed_at: moment::rfc3339(line.removed_at),
            device: line.device,
            user: line.user,
            entries: line.entries,
            files: line.files,
            bytes: line.bytes,
            waits_for: line.waits_for,
        }
    }
}

pub(super) fn run(
    trash: &Trash,
    folder: &mut Folder,
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let argument = trash.argument();
    let path =
        place::path_meant(argument.folder.as_deref(), argument.path.as_deref(), folder.root(), directory)?;
    match trash {
        Trash::List(_) => list(path.as_deref(), folder, talk),
        Trash::Restore(_) => {
            let path = path.filter(|path| !path.is_empty()).ok_or_else(|| {
                Failure::usage("say what to bring back: its path, as `annals trash list` shows it")
                    .hint("for example: annals trash restore notes.txt")
            })?;
            restore(&path, folder, talk)
        }
        Trash::Empty { yes: true, .. } => empty(path.as_deref(), folder, talk),
        Trash::Empty { .. } => {
            let path = path.filter(|path| !path.is_empty());
            let path = path.map_or_else(String::new, |path| format!(" {}", place::typed(Path::new(&path))));
            let what = format!("{}{path}", place::typed(folder.root()));
            Err(Failure::new(Exit::NeedsPerson, "what is forgotten cannot be brought back").hint(format!(
                "look at it with `annals trash list {what}`, then say so: annals trash empty {what} --yes"
            )))
        }
    }
}

fn list(path: Option<&str>, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let lines: Vec<Line> = folder.trash(path)?.into_iter().map(Line::from).collect();
    if talk.output.json {
        talk.json(&lines)?;
        return Ok(Exit::Done);
    }
    talk.table(&lines.iter().map(row).collect::<Vec<_>>())?;
    if lines.is_empty() {
        talk.remark("nothing is in the trash")?;
    }
    Ok(Exit::Done)
}

fn row(line: &Line) -> Vec<String> {
    let folder = line.kind == annals_events::EntryKind::Folder;
    vec![
        if folder { format!("{}/", line.path) } else { line.path.clone() },
        line.removed_at.clone(),
        format!("{} on {}", line.user, line.device),
        human(line.bytes),
        if folder { many(line.files, "file") } else { String::new() },
        line.waits_for
            .as_ref()
            .map_or_else(String::new, |devices| format!("forgotten once {}", they(devices, "knows", "know"))),
    ]
}

fn restore(path: &str, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    // What is in the folder now keeps its name.
    sync::exchange(folder, talk)?;
    let mut restored = Vec::new();
    let sent = sync::tell(folder, talk, |folder| {
        restored = folder.restore_removed(path)?;
        Ok(())
    })?;
    if talk.output.json {
        let now = restored.iter().find(|(was, _)| was == path).map_or(path, |(_, now)| now);
        let all: Vec<_> =
            restored.iter().map(|(was, now)| serde_json::json!({ "path": was, "now": now })).collect();
        talk.json(&serde_json::json!({ "path": path, "now": now, "sent": sent, "restored": all }))?;
        return Ok(Exit::Done);
    }
    for (was, now) in restored {
        if now == was {
            talk.line(format_args!("restored {was}"))?;
        } else {
            talk.line(format_args!("restored {was} as {now}: its place is taken"))?;
        }
    }
    Ok(Exit::Done)
}

fn empty(path: Option<&str>, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    sync::exchange(folder, talk)?;
    let lines = folder.trash(path)?;
    folder.empty_trash(path)?;
    sync::exchange(folder, talk)?;
    let mut left = folder.trash(path)?;
    if !left.is_empty() {
        left = match folder.ask_others(path, &mut Bar::new(talk.terminal)) {
            Err(error) if error.is_passing() || error.problem().is_some() => folder.trash(path)?,
            asked => asked?,
        };
    }
    let entries = |lines: &[TrashLine]| lines.iter().map(|line| line.entries).sum::<u64>();
    let bytes = |lines: &[TrashLine]| lines.iter().map(|line| line.bytes).sum::<u64>();
    let forgotten = entries(&lines).saturating_sub(entries(&left));
    let freed = bytes(&lines).saturating_sub(bytes(&left));
    let waits_for: BTreeSet<&str> =
        left.iter().filter_map(|line| line.waits_for.as_ref()).flatten().map(String::as_str).collect();
    if talk.output.json {
        let until: Vec<_> = absent(&waits_for, folder)
            .iter()
            .map(|(label, seen, until)| serde_json::json!({ "device": label, "last_seen": seen, "until": until }))
            .collect();
        talk.json(&serde_json::json!({
            "forgotten": forgotten, "bytes": freed, "waiting": entries(&left), "waits_for": waits_for, "absent": until
        }))?;
        return Ok(Exit::Done);
    }
    talk.line(format_args!("forgot {forgotten} of {} files and folders, {}", entries(&lines), human(freed)))?;
    if !left.is_empty() {
        let devices: Vec<String> = waits_for.iter().map(|label| (*label).to_owned()).collect();
        talk.line(format_args!(
            "the rest goes by itself once {} here and said so: a device is asked at its next sync; one that is gone for good: annals devices {} --retire LABEL",
            they(&devices, "was", "were"),
            place::typed(folder.root())
        ))?;
        for (label, seen, until) in absent(&waits_for, folder) {
            let seen =
                seen.map_or_else(|| "was never here".to_owned(), |seen| format!("was last here {seen}"));
            let until = until.map_or_else(
                || "it is waited for however long that takes".to_owned(),
                |until| format!("it is waited for until {until}, then retired"),
            );
            talk.line(format_args!("  {label} {seen}: {until}"))?;
        }
    }
    Ok(Exit::Done)
}

/// These, and what one of them does, or several do.
fn they(labels: &[String], one: &str, several: &str) -> String {
    match labels {
        [label] => format!("{label} {one}"),
        [rest @ .., last] => format!("{} and {last} {several}", rest.join(", ")),
        [] => format!("everybody {one}"),
    }
}

/// Which of the devices that are waited for are not here: when they last were, and until when they are waited for. None
/// where nobody can be asked.
fn absent(labels: &BTreeSet<&str>, folder: &mut Folder) -> Vec<(String, Option<String>, Option<String>)> {
    let (namespace, silence) = (folder.binding().namespace, folder.retention().silence());
    let known = folder.http().ok().and_then(|http| http.devices(namespace).ok()).unwrap_or_default();
    let waited = known.into_iter().filter(|info| !info.retired && labels.contains(info.label.as_str()));
    waited
        .map(|info| {
            let until = info.last_seen.zip(silence).map(|(seen, silence)| seen.saturating_add(silence));
            (info.label, info.last_seen.map(moment::rfc3339), until.map(moment::rfc3339))
        })
        .collect()
}

/// Asks who watches, before anything is done, whether that is meant. True: it is, and `--yes` goes with what was typed.
pub(super) fn confirm(argument: &TrashArg, directory: &Path, talk: &mut Talk<'_>) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut typed = vec!["trash".to_owned(), "list".to_owned()];
    let given = argument.folder.iter().chain(&argument.path);
    typed.extend(given.map(|path| path.to_string_lossy().into_owned()));
    super::on_folder(FolderVerb::Trash(Trash::List(argument.clone())), &typed, directory, talk)?;
    talk.remark("forget all of this for good? It cannot be brought back. Type yes:")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(Failure::writing)?;
    if answer.trim() == "yes" {
        return Ok(true);
    }
    Err(Failure::new(Exit::NeedsPerson, "nothing was forgotten").hint("type yes to forget, or use --yes"))
}
