//! What a batch may name: dots that were folded before it, or earlier in it, of the right kind.
//!
//! Admission has asked all this already. It is asked again because a fold that meets an effect before its cause
//! has no right answer: such a batch changes nothing at all.

use crate::{DotKind, FoldError, Projections, batches::What, intern::NONE};
use annals_events::{Batch, Dot, DotSet, EntryId, EntryKind, Fact};

impl Projections {
    /// What an event is to those that name its dot; none for one that was not folded.
    #[must_use]
    pub fn dot_kind(&self, dot: Dot) -> Option<DotKind> {
        let kind = self.devices.batches.what(self.devices.index(dot)?);
        let place = |place: u32| self.entry_id(self.places[place as usize].entry);
        let version = |version: u32| self.entry_id(self.versions.entry[version as usize]);
        Some(match kind {
            What::Create(entry) => DotKind::Create { entry: EntryId(dot), kind: self.entries.kind(entry) },
            What::Move(row) => DotKind::Move { entry: place(row) },
            What::Restore(row) => {
                DotKind::Restore { entry: place(row), placed: self.places[row as usize].parent != NONE }
            }
            What::Upload(row) => DotKind::Upload { entry: version(row) },
            What::Merge(row) => DotKind::Merge { entry: version(row) },
            What::Delete(_) => DotKind::Delete,
            What::Resolve(row) => {
                DotKind::Resolve { entry: self.entry_id(self.resolutions[row as usize].entry) }
            }
            What::Attributes(entry) => DotKind::Attributes { entry: self.entry_id(entry) },
            What::Other => DotKind::Other,
        })
    }

    /// Whether everything that `batch` names is there.
    pub(crate) fn check_named(&self, batch: &Batch) -> Result<(), FoldError> {
        let header = batch.header();
        let first = Dot::new(header.device, header.first);
        for &seen in &header.seen {
            let known = match self.devices.get(seen.device) {
                Some(_) if seen.device == header.device => header.first.saturating_sub(1),
                Some(state) => state.last_counter,
                None => 0,
            };
            if seen.counter > known {
                return Err(FoldError::Unknown { dot: first, missing: seen });
            }
        }
        for (index, event) in batch.events().iter().enumerate() {
            Naming { whole: self, batch, index }.check(&event.fact)?;
        }
        Ok(())
    }
}

/// One event and what it names.
struct Naming<'a> {
    whole: &'a Projections,
    batch: &'a Batch,
    index: usize,
}

impl Naming<'_> {
    fn check(&self, fact: &Fact) -> Result<(), FoldError> {
        match fact {
            Fact::EntryCreated { parent, .. } => self.folder(*parent),
            Fact::EntryMoved { entry, parent } => {
                self.entry(*entry)?;
                self.folder(*parent)
            }
            Fact::VersionUploaded { entry, parents } => self.versions(*entry, &[parents]),
            Fact::VersionsMerged { entry, inputs, .. } => self.versions(*entry, &[inputs]),
            Fact::ConflictResolved { entry, over, keep } => self.versions(*entry, &[over, keep]),
            Fact::AttributesChanged { entry } => self.entry(*entry),
            Fact::EntryDeleted { entries, hides } => {
                self.all(entries, is_create)?;
                self.all(hides, DotKind::is_place_or_version)
            }
            Fact::EntryRestored { entry, place, lifts, shows } => {
                self.entry(*entry)?;
                place.map_or(Ok(()), |place| self.folder(place))?;
                self.all(lifts, |kind| kind == DotKind::Delete)?;
                self.all(shows, DotKind::is_place_or_version)
            }
            Fact::EntryPurged { entries } => self.all(entries, is_create),
            Fact::VersionsExpired { versions } => self.all(versions, DotKind::is_version),
            _ => Ok(()),
        }
    }

    fn one(&self, dot: Dot, right: impl Fn(DotKind) -> bool) -> Result<(), FoldError> {
        let by = self.batch.dot(self.index);
        match self.kind(dot) {
            Some(kind) if right(kind) => Ok(()),
            Some(_) => Err(FoldError::WrongKind { dot: by, named: dot }),
            None => Err(FoldError::Unknown { dot: by, missing: dot }),
        }
    }

    fn all(&self, dots: &DotSet, right: impl Fn(DotKind) -> bool) -> Result<(), FoldError> {
        dots.iter().try_for_each(|dot| self.one(dot, &right))
    }

    fn entry(&self, entry: EntryId) -> Result<(), FoldError> {
        self.one(entry.0, is_create)
    }

    fn folder(&self, folder: EntryId) -> Result<(), FoldError> {
        if folder == EntryId::ROOT {
            return Ok(());
        }
        self.one(folder.0, |kind| matches!(kind, DotKind::Create { kind: EntryKind::Folder, .. }))
    }

    fn versions(&self, file: EntryId, sets: &[&DotSet]) -> Result<(), FoldError> {
        self.one(file.0, |kind| matches!(kind, DotKind::Create { kind: EntryKind::File, .. }))?;
        sets.iter().try_for_each(|set| self.all(set, |kind| kind.is_version() && kind.entry() == Some(file)))
    }

    /// What a dot is: of an earlier batch, or earlier in this one.
    fn kind(&self, dot: Dot) -> Option<DotKind> {
        let header = self.batch.header();
        if dot.device != header.device || dot.counter < header.first {
            return self.whole.dot_kind(dot);
        }
        let at = usize::try_from(dot.counter - header.first).ok().filter(|&at| at < self.index)?;
        Some(match header.events[at].fact {
            Fact::EntryCreated { entry_kind, .. } => {
                DotKind::Create { entry: EntryId(dot), kind: entry_kind }
            }
            Fact::EntryMoved { entry, .. } => DotKind::Move { entry },
            Fact::EntryRestored { entry, place, .. } => DotKind::Restore { entry, placed: place.is_some() },
            Fact::VersionUploaded { entry, .. } => DotKind::Upload { entry },
            Fact::VersionsMerged { entry, .. } => DotKind::Merge { entry },
            Fact::EntryDeleted { .. } => DotKind::Delete,
            Fact::ConflictResolved { entry, .. } => DotKind::Resolve { entry },
            Fact::AttributesChanged { entry } => DotKind::Attributes { entry },
            _ => DotKind::Other,
        })
    }
}

fn is_create(kind: DotKind) -> bool {
    matches!(kind, DotKind::Create { .. })
}
