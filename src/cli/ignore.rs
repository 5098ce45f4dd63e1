//! `annals ignore`: why something is not synced. Asks the rules alone, so it needs no daemon and disturbs none.

use super::{
    arguments::{Ignore, IgnoreCheck},
    failure::{Exit, Failure},
    place,
    talk::Talk,
};
use crate::{client::binding::linked_at_or_above, disk::rules_about};
use annals_engine::ignore::{DEFAULTS, RULES_FILE};
use annals_events::path::is_reserved;
use serde::Serialize;
use std::{os::unix::fs::FileTypeExt, path::Path};

#[derive(Serialize)]
struct Document {
    path: String,
    ignored: bool,
    rule: Option<Line>,
    /// Why no rule is needed.
    never: Option<&'static str>,
    mistakes: Vec<Mistaken>,
}

/// A line of a file of rules.
#[derive(Serialize)]
struct Line {
    /// None for a default.
    file: Option<String>,
    line: usize,
    pattern: String,
    /// The path that it fits: what was asked for, or a folder above.
    fits: String,
    /// Of a default.
    why: Option<&'static str>,
}

#[derive(Serialize)]
struct Mistaken {
    file: String,
    line: usize,
    why: String,
}

pub(super) fn run(ignore: &Ignore, directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let Ignore::Check(IgnoreCheck { path: typed }) = ignore;
    let full = place::absolute(typed, directory);
    let root = linked_at_or_above(&full).ok_or_else(|| place::not_linked(typed))?;
    let path = place::path_in(&root, typed, directory)?;
    if path.is_empty() {
        return Err(Failure::usage("the folder itself is never ignored").hint("name something in it"));
    }
    if let Some(why) = never_synced(&full, &path) {
        let document = Document { path, ignored: true, rule: None, never: Some(why), mistakes: Vec::new() };
        match talk.output.json {
            true => talk.json(&document)?,
            false => talk.line(format_args!("never synced: {}  ({why})", document.path))?,
        }
        return Ok(Exit::Done);
    }
    let is_folder =
        full.symlink_metadata().map_or(typed.to_string_lossy().ends_with('/'), |meta| meta.is_dir());
    let document = document(&root, path, is_folder);
    for Mistaken { file, line, why } in &document.mistakes {
        talk.remark(format_args!("{file}:{line} is no rule: {why}"))?;
    }
    let exit = if document.ignored { Exit::Done } else { Exit::Failed };
    if talk.output.json {
        talk.json(&document)?;
    } else if let Some(Line { file, line, pattern, why, .. }) = &document.rule {
        let source = file.as_deref().unwrap_or("(default)");
        let about = why.map(|why| format!("  ({why})")).unwrap_or_default();
        talk.line(format_args!("{source}:{line}:{pattern}  {}{about}", document.path))?;
    }
    Ok(exit)
}

/// Why something is not synced whatever the rules say.
fn never_synced(full: &Path, path: &str) -> Option<&'static str> {
    if path.split('/').next().is_some_and(is_reserved) {
        return Some("this device's own state");
    }
    let kind = full.symlink_metadata().ok()?.file_type();
    match kind {
        kind if kind.is_fifo() => Some("a named pipe"),
        kind if kind.is_socket() => Some("a socket"),
        kind if kind.is_block_device() || kind.is_char_device() => Some("a device"),
        _ => None,
    }
}

fn document(root: &Path, path: String, is_folder: bool) -> Document {
    let rules = rules_about(root, &path);
    let file_in =
        |folder: &str| if folder.is_empty() { RULES_FILE.into() } else { format!("{folder}/{RULES_FILE}") };
    let rule = rules.deciding(&path, is_folder);
    let mistakes = rules.mistakes().map(|(folder, mistake)| Mistaken {
        file: file_in(folder),
        line: mistake.line,
        why: mistake.why.clone(),
    });
    Document {
        ignored: rule.as_ref().is_some_and(|rule| rule.ignores),
        mistakes: mistakes.collect(),
        never: None,
        rule: rule.map(|rule| Line {
            why: rule.folder.is_none().then(|| DEFAULTS.get(rule.line - 1).map(|(_, why)| *why)).flatten(),
            file: rule.folder.as_deref().map(file_in),
            line: rule.line,
            pattern: rule.pattern,
            fits: rule.fits,
        }),
        path,
    }
}
