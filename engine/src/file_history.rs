//! One file's versions as a graph, from the records about it alone.
//!
//! What a file actor keeps: enough for history and for content at a version, rebuilt from the entry's own
//! stream and never from the whole namespace. Heads here are the versions that no other was made from; what is
//! shown of them, the namespace's projections say.

use annals_events::{Content, DeviceId, Dot, EntryId, Fact, Record, Seq};
use std::collections::BTreeMap;

/// The versions of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHistory {
    entry: EntryId,
    after: Seq,
    versions: BTreeMap<Dot, FileVersion>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileVersion {
    /// What it was made from.
    pub parents: Vec<Dot>,
    /// When it was admitted, in milliseconds since 1970.
    pub admitted_at: u64,
    /// Who made it.
    pub device: DeviceId,
    /// Where it stands in the namespace's stream.
    pub seq: Seq,
    /// What it holds; none where that is withheld.
    pub content: Option<Content>,
}

impl FileHistory {
    /// Nothing known yet.
    #[must_use]
    pub fn new(entry: EntryId) -> Self {
        Self { entry, after: Seq(0), versions: BTreeMap::new() }
    }

    /// Which file.
    #[must_use]
    pub fn entry(&self) -> EntryId {
        self.entry
    }

    /// How far the entry's stream was read.
    #[must_use]
    pub fn after(&self) -> Seq {
        self.after
    }

    /// Takes note of the next record about the entry. The same one again changes nothing.
    pub fn note(&mut self, record: &Record) {
        for (index, (seq, dot, event)) in record.events().enumerate() {
            let parents = match &event.fact {
                Fact::EntryCreated { .. } if dot == self.entry.0 => Vec::new(),
                Fact::VersionUploaded { entry, parents } if *entry == self.entry => parents.iter().collect(),
                Fact::VersionsMerged { entry, inputs, .. } if *entry == self.entry => inputs.iter().collect(),
                _ => continue,
            };
            let content = record.batch().body(index).ok().flatten().and_then(|body| body.content);
            let admitted_at = record.admission().admitted_at;
            let device = record.batch().header().device;
            self.versions.insert(dot, FileVersion { parents, admitted_at, device, seq, content });
        }
        self.after = self.after.max(record.last_seq());
    }

    /// Every version, in the order of the stream.
    #[must_use]
    pub fn versions(&self) -> Vec<(Dot, &FileVersion)> {
        let mut versions: Vec<_> = self.versions.iter().map(|(dot, version)| (*dot, version)).collect();
        versions.sort_by_key(|(_, version)| version.seq);
        versions
    }

    /// One version.
    #[must_use]
    pub fn version(&self, version: Dot) -> Option<&FileVersion> {
        self.versions.get(&version)
    }

    /// Whether no other version was made from it.
    #[must_use]
    pub fn is_head(&self, version: Dot) -> bool {
        !self.versions.values().any(|later| later.parents.contains(&version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_events::{
        Batch, Body, ChunkId, ChunkRef, Cut, Draft, EntryKind, Hlc, Name, NamespaceId, VersionVector,
    };
    use ed25519_dalek::SigningKey;

    #[test]
    fn history_is_what_was_made_from_what() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let content = |n: u8| Content::new(Cut::SMALL, vec![ChunkRef { bytes: 3, id: ChunkId([n; 32]) }]).0;
        let draft = |hlc: u64, fact, n: u8| {
            let name = Some(Name::new("a").unwrap());
            Draft {
                hlc: Hlc(hlc),
                at: 0,
                fact,
                body: Some(Body { name, content: Some(content(n)), ..Body::default() }),
            }
        };
        let none = VersionVector::new();
        let namespace = NamespaceId([2; 16]);
        let sign = |first, prev, drafts| {
            Batch::sign(&key, namespace, first, prev, &none, &none, Default::default(), drafts).unwrap()
        };
        let create = Fact::EntryCreated { parent: EntryId::ROOT, entry_kind: EntryKind::File };
        let one = sign(1, None, vec![draft(1, create.clone(), 1), draft(2, create, 9)]);
        let (file, other) = (EntryId(one.dot(0)), EntryId(one.dot(1)));
        let edit = |entry: EntryId| Fact::VersionUploaded { entry, parents: [entry.0].into_iter().collect() };
        let two = sign(3, Some(one.hash()), vec![draft(3, edit(file), 2), draft(4, edit(other), 8)]);
        let one = Record::admit(one, &key, 0, Seq(1), Default::default(), 50);
        let two = Record::admit(two, &key, 0, Seq(3), one.admission().chain, 60);

        let mut history = FileHistory::new(file);
        for record in [&one, &two, &two] {
            history.note(record);
        }
        let dots: Vec<Dot> = history.versions().iter().map(|(dot, _)| *dot).collect();
        assert_eq!(dots, [file.0, two.batch().dot(0)]);
        assert_eq!((history.is_head(dots[0]), history.is_head(dots[1])), (false, true));
        assert_eq!(history.version(dots[1]).unwrap().content, Some(content(2)));
        assert_eq!(history.version(other.0), None);
        assert_eq!(history.after(), Seq(4));
    }
}
