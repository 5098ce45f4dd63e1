//! What a batch may name: dots that were folded before it, or earlier in it, of the right kind.
//!
//! Admission has asked all this already. It is asked again because a fold that meets an effect before its cause
//! has no right answer: such a batch changes nothing at all.

use crate::{
    DotKind, FoldError, Projections,
    batches::{DotIx, What},
    entries::EntryIx,
    intern::NONE,
};
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

impl Projections {
    /// Touches the rows of what `batch` names, step by step for all of them at once: see
    /// [`IdIndex::warm`](crate::intern::IdIndex::warm).
    pub(crate) fn warm_named(&self, batch: &Batch) {
        let (device, first) = (batch.header().device, batch.header().first);
        let mut dots = Vec::with_capacity(2 * batch.events().len());
        let mut last = None;
        let mut name = |dot: Dot| {
            let earlier = dot.device != device || dot.counter < first;
            if earlier && last.replace(dot) != Some(dot) {
                dots.push(dot);
            }
        };
        batch.events().iter().for_each(|event| event.fact.each_named(&mut name));
        let indexes: Vec<DotIx> = dots.into_iter().filter_map(|dot| self.devices.index(dot)).collect();
        let entries: Vec<EntryIx> = indexes.into_iter().filter_map(|ix| self.entry_of(ix)).collect();
        std::hint::black_box(entries.iter().fold(0, |sum, &entry| sum ^ self.entries.touch(entry)));
        std::hint::black_box(entries.iter().fold(0, |sum, &entry| sum ^ self.entries.touch_beside(entry)));
    }
}

/// What a dot is, as far as it matters to those that name it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Create(EntryKind),
    Place,
    Version,
    Delete,
    Other,
}

impl Class {
    fn is_version(self) -> bool {
        matches!(self, Self::Version | Self::Create(EntryKind::File))
    }

    fn may_be_hidden(self) -> bool {
        matches!(self, Self::Version | Self::Place | Self::Create(_))
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
                self.all(hides, Class::may_be_hidden)
            }
            Fact::EntryRestored { entry, place, lifts, shows } => {
                self.entry(*entry)?;
                place.map_or(Ok(()), |place| self.folder(place))?;
                self.all(lifts, |class| class == Class::Delete)?;
                self.all(shows, Class::may_be_hidden)
            }
            Fact::EntryPurged { entries } => self.all(entries, is_create),
            Fact::VersionsExpired { versions } => self.all(versions, Class::is_version),
            _ => Ok(()),
        }
    }

    fn one(&self, dot: Dot, right: impl Fn(Class) -> bool) -> Result<(), FoldError> {
        match self.class(dot) {
            Some(class) if right(class) => Ok(()),
            Some(_) => Err(self.wrong(dot)),
            None => Err(FoldError::Unknown { dot: self.batch.dot(self.index), missing: dot }),
        }
    }

    fn wrong(&self, named: Dot) -> FoldError {
        FoldError::WrongKind { dot: self.batch.dot(self.index), named }
    }

    fn all(&self, dots: &DotSet, right: impl Fn(Class) -> bool) -> Result<(), FoldError> {
        dots.iter().try_for_each(|dot| self.one(dot, &right))
    }

    fn entry(&self, entry: EntryId) -> Result<(), FoldError> {
        self.one(entry.0, is_create)
    }

    fn folder(&self, folder: EntryId) -> Result<(), FoldError> {
        if folder == EntryId::ROOT {
            return Ok(());
        }
        self.one(folder.0, |class| class == Class::Create(EntryKind::Folder))
    }

    /// All of them versions of `file`.
    fn versions(&self, file: EntryId, sets: &[&DotSet]) -> Result<(), FoldError> {
        self.one(file.0, |class| class == Class::Create(EntryKind::File))?;
        for dot in sets.iter().flat_map(|set| set.iter()) {
            self.one(dot, Class::is_version)?;
            if self.file_of(dot) != Some(file) {
                return Err(self.wrong(dot));
            }
        }
        Ok(())
    }

    /// The file that a version, which is known, belongs to.
    fn file_of(&self, version: Dot) -> Option<EntryId> {
        match self.earlier_here(version) {
            Some(Fact::EntryCreated { .. }) => Some(EntryId(version)),
            Some(Fact::VersionUploaded { entry, .. } | Fact::VersionsMerged { entry, .. }) => Some(*entry),
            Some(_) => None,
            None => {
                let version = self.whole.version_ix(self.whole.devices.index(version)?)?;
                Some(self.whole.entry_id(self.whole.versions.entry[version as usize]))
            }
        }
    }

    /// The fact of an event that stands before this one in the batch.
    fn earlier_here(&self, dot: Dot) -> Option<&Fact> {
        let header = self.batch.header();
        let at = dot.counter.checked_sub(header.first).filter(|_| dot.device == header.device)?;
        let at = usize::try_from(at).ok().filter(|&at| at < self.index)?;
        Some(&header.events[at].fact)
    }

    /// What a dot is: earlier in this batch, or of an earlier one.
    fn class(&self, dot: Dot) -> Option<Class> {
        if let Some(fact) = self.earlier_here(dot) {
            return Some(match fact {
                Fact::EntryCreated { entry_kind, .. } => Class::Create(*entry_kind),
                Fact::EntryMoved { .. } | Fact::EntryRestored { .. } => Class::Place,
                Fact::VersionUploaded { .. } | Fact::VersionsMerged { .. } => Class::Version,
                Fact::EntryDeleted { .. } => Class::Delete,
                _ => Class::Other,
            });
        }
        Some(match self.whole.devices.batches.what(self.whole.devices.index(dot)?) {
            What::Create(entry) => Class::Create(self.whole.entries.kind(entry)),
            What::Move(_) | What::Restore(_) => Class::Place,
            What::Upload(_) | What::Merge(_) => Class::Version,
            What::Delete(_) => Class::Delete,
            What::Resolve(_) | What::Attributes(_) | What::Other => Class::Other,
        })
    }
}

fn is_create(class: Class) -> bool {
    matches!(class, Class::Create(_))
}
