//! Tags and notes of a log that is gone, said again to the one that the folder is linked to anew.
//!
//! When a link is set aside, what its log said beside the contents lies in `.annals/retell.json`, by path. Once everything
//! of the folder is in the new log it is said there, as far as nobody did before: another device of the same folder may
//! have been sooner. What must always hold: nothing that the new log says is changed, only added to. Left out: versions
//! and who said it when; that is in the state that was set aside.

use super::{
    ClientError, Folder,
    layout::{self, RETELL},
};
use crate::whole;
use annals_engine::author::{Deed, Said};
use annals_events::{Body, EntryId, Fact, Role};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

/// What was said of what stands at a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Words {
    tags: BTreeSet<String>,
    notes: Vec<String>,
}

type Told = BTreeMap<String, Words>;

/// Takes down what the log of `root` says beside contents, before its state is set aside. Where that cannot be opened
/// what was taken down before stays.
pub(super) fn take_down(root: &Path) -> io::Result<()> {
    let Ok(mut folder) = Folder::open(root) else { return Ok(()) };
    let mut told = read(root);
    told.extend(folder.told());
    write(root, &told)
}

impl Folder {
    fn told(&mut self) -> Told {
        let shown = &self.replica.remote().nodes;
        let shown: Vec<(String, EntryId)> =
            shown.iter().filter_map(|(path, node)| Some((path.clone(), *node.entries.first()?))).collect();
        let said = |(path, entry): (String, EntryId)| {
            let attributes = self.replica.log().attributes(entry);
            let words = Words { tags: attributes.tags, notes: attributes.notes };
            (words != Words::default()).then_some((path, words))
        };
        shown.into_iter().filter_map(said).collect()
    }

    /// Says again what was said to a log that is gone. True: something was said, and goes out with the next round.
    pub(super) fn tell_again(&mut self) -> Result<bool, ClientError> {
        if !layout::at(&self.root, RETELL).exists()
            || !self.replica.is_settled()
            || self.may(Role::Editor).is_err()
        {
            return Ok(false);
        }
        let (mut deeds, mut left) = (Vec::new(), Told::new());
        for (path, words) in read(&self.root) {
            let entry = self.replica.remote().nodes.get(&path).and_then(|node| node.entries.first()).copied();
            match entry {
                Some(entry) => deeds.extend(self.lacking(entry, words)),
                // It has not been read yet.
                None if self.root.join(&path).symlink_metadata().is_ok() => drop(left.insert(path, words)),
                None => {}
            }
        }
        let is_any = !deeds.is_empty();
        if is_any {
            self.say_deeds(deeds)?;
        }
        let failed = |source| ClientError::Folder { folder: self.root.clone(), source };
        write(&self.root, &left).map_err(failed)?;
        Ok(is_any)
    }

    /// What of `words` the log does not say of `entry`.
    fn lacking(&self, entry: EntryId, words: Words) -> Option<Deed> {
        let now = self.replica.log().attributes(entry);
        let tags_added: Vec<String> = words.tags.difference(&now.tags).cloned().collect();
        let note = words.notes.into_iter().next().filter(|_| now.notes.is_empty());
        if tags_added.is_empty() && note.is_none() {
            return None;
        }
        let body = Body { tags_added, note, ..Body::default() };
        Some(Deed(vec![Said { fact: Fact::AttributesChanged { entry }, body: Some(body) }]))
    }
}

fn read(root: &Path) -> Told {
    fs::read(layout::at(root, RETELL))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

fn write(root: &Path, told: &Told) -> io::Result<()> {
    let path = layout::at(root, RETELL);
    match told.is_empty() {
        true => whole::remove(&path),
        false => whole::durable(&path, &serde_json::to_vec(told).expect("plain data with text keys")),
    }
}
