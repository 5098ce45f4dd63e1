//! `annals tag` and `annals note`: what people say about a file or folder.

use super::{
    arguments::{Note, Tag},
    failure::{Exit, Failure},
    place, sync,
    talk::Talk,
};
use crate::client::Folder;
use std::path::Path;

pub(super) fn run_tag(
    tag: &Tag,
    folder: &mut Folder,
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let path = place::path_in(folder.root(), &tag.path, directory)?;
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    // What begins with a dash is a tag to remove, but for this one.
    let (flags, changes): (Vec<&String>, Vec<&String>) =
        tag.changes.iter().partition(|change| *change == "--json");
    talk.output.json |= !flags.is_empty();
    for change in &changes {
        let (list, name) = match change.split_at_checked(1) {
            Some(("+", name)) if !name.is_empty() => (&mut added, name),
            Some(("-", name)) if !name.is_empty() => (&mut removed, name),
            _ => {
                return Err(Failure::usage(format!("`{change}` is neither +TAG nor -TAG"))
                    .hint("for example: annals tag notes.txt +draft -old"));
            }
        };
        list.push(name.to_owned());
    }
    if !changes.is_empty() {
        sync::tell(folder, talk, |folder| folder.tag(&path, added.clone(), removed.clone()))?;
    }
    let tags: Vec<String> = folder.attributes(&path)?.tags.into_iter().collect();
    if talk.output.json {
        talk.json(&serde_json::json!({ "path": path, "tags": tags }))?;
    } else {
        tags.iter().try_for_each(|tag| talk.line(tag))?;
    }
    Ok(Exit::Done)
}

pub(super) fn run_note(
    note: &Note,
    folder: &mut Folder,
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let path = place::path_in(folder.root(), &note.path, directory)?;
    if let Some(text) = &note.text {
        sync::tell(folder, talk, |folder| folder.note(&path, text.clone()))?;
    }
    let notes = folder.attributes(&path)?.notes;
    if talk.output.json {
        talk.json(&serde_json::json!({ "path": path, "notes": notes }))?;
    } else {
        notes.iter().try_for_each(|note| talk.line(note))?;
    }
    Ok(Exit::Done)
}
