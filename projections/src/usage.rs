//! What contents take up: each different content of a retained version once.
//!
//! Contents are the same when id and size are. (The id covers every length, so a second size under one id is a
//! lie; it is then counted for itself, whoever told it first.)

use crate::{
    Usage,
    history::{Versions, flag},
    intern::{IdIndex, push},
};
use annals_events::ContentId;

/// The different contents, and how many retained versions hold each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contents {
    index: IdIndex,
    /// A version that holds it.
    example: Vec<u32>,
    /// How many retained versions do: the size of a set whose members are marked in their own rows.
    retained: Vec<u32>,
    pub(crate) usage: Usage,
}

impl Contents {
    /// See [`IdIndex::warm`].
    pub(crate) fn warm(&self, contents: impl Iterator<Item = ContentId>) {
        self.index.warm(contents.map(|content| content.0));
    }

    /// A version that is retained and was not counted yet.
    pub(crate) fn retain(&mut self, versions: &Versions, version: u32) {
        if versions.has(version, flag::WITHHELD) {
            return;
        }
        let content = self.find(versions, version).unwrap_or_else(|| {
            let row = u32::try_from(self.example.len()).expect("as many as versions at most");
            let Self { index, example, .. } = self;
            let id_of = |row: u32| &versions.content[example[row as usize] as usize];
            index.insert(&versions.content[version as usize], id_of);
            push(&mut self.example, version);
            push(&mut self.retained, 0);
            row
        });
        let count = &mut self.retained[content as usize];
        *count += 1;
        if *count == 1 {
            self.usage.bytes = self.usage.bytes.wrapping_add(versions.size[version as usize]);
        }
    }

    /// A version that was retained and no longer is.
    pub(crate) fn release(&mut self, versions: &Versions, version: u32) {
        let Some(content) = self.find(versions, version) else { return };
        let count = &mut self.retained[content as usize];
        *count -= 1;
        if *count == 0 {
            self.usage.bytes = self.usage.bytes.wrapping_sub(versions.size[version as usize]);
        }
    }

    fn find(&self, versions: &Versions, version: u32) -> Option<u32> {
        if versions.has(version, flag::WITHHELD) {
            return None;
        }
        let key = |version: u32| (&versions.content[version as usize], versions.size[version as usize]);
        let same = |row: u32| key(self.example[row as usize]) == key(version);
        self.index.find(&versions.content[version as usize], same)
    }
}
