//! One event at a time: may its author do this, is it whole, is everything it names what it must be.

use super::{Author, Refusal};
use crate::trash::{forget_floor, known_from};
use annals_events::{Batch, Body, DeviceId, Dot, DotSet, EntryId, EntryKind, Fact, Role, Seen, Seq, path};
use annals_projections::{DotKind, Projections};
use std::collections::BTreeMap;

/// Checks every event of `batch`.
pub(super) fn check_all(
    batch: &Batch,
    author: &Author,
    seen: &Seen,
    projections: &Projections,
) -> Result<(), Refusal> {
    let (earlier, dot, floor) = (BTreeMap::new(), batch.dot(0), forget_floor(projections));
    let mut check = Check { batch, author, seen, projections, earlier, dot, floor };
    for (index, event) in batch.events().iter().enumerate() {
        check.dot = batch.dot(index);
        check.allowed(index, &event.fact)?;
        let body = check.body(index)?;
        check.texts(&body)?;
        check.fact(&event.fact, &body)?;
        check.earlier.insert(check.dot.counter, kind_of(check.dot, &event.fact));
    }
    Ok(())
}

/// Checks every event of a batch that was admitted once: whether it is whole, and what it names is what it must be.
pub(super) fn check_again(
    batch: &Batch,
    author: &Author,
    seen: &Seen,
    projections: &Projections,
) -> Result<(), Refusal> {
    let (earlier, dot, floor) = (BTreeMap::new(), batch.dot(0), Seq(0));
    let mut check = Check { batch, author, seen, projections, earlier, dot, floor };
    for (index, event) in batch.events().iter().enumerate() {
        check.dot = batch.dot(index);
        let body = check.body(index)?;
        match &event.fact {
            // These were judged by places and counters of what was lost.
            Fact::Acknowledged { .. } => {}
            Fact::DeviceRetired { device, .. } => {
                let known = projections.devices().get(*device).is_some();
                known.then_some(()).ok_or_else(|| check.contradicts("the device was never linked"))?;
            }
            Fact::EntryPurged { entries } => {
                entries.iter().try_for_each(|dot| check.entry(dot).map(drop))?;
            }
            Fact::VersionsExpired { versions } => versions.iter().try_for_each(|dot| {
                let is_version = check.seen_kind(dot)?.is_version();
                if is_version { Ok(()) } else { Err(check.wrong(dot, "a version")) }
            })?,
            fact => check.fact(fact, &body)?,
        }
        check.earlier.insert(check.dot.counter, kind_of(check.dot, &event.fact));
    }
    Ok(())
}

/// What an event is to those that name it: for the ones earlier in the same batch.
fn kind_of(dot: Dot, fact: &Fact) -> DotKind {
    match *fact {
        Fact::EntryCreated { entry_kind, .. } => DotKind::Create { entry: EntryId(dot), kind: entry_kind },
        Fact::EntryMoved { entry, .. } => DotKind::Move { entry },
        Fact::EntryRestored { entry, place, .. } => DotKind::Restore { entry, placed: place.is_some() },
        Fact::VersionUploaded { entry, .. } => DotKind::Upload { entry },
        Fact::VersionsMerged { entry, .. } => DotKind::Merge { entry },
        Fact::EntryDeleted { .. } => DotKind::Delete,
        Fact::ConflictResolved { entry, .. } => DotKind::Resolve { entry },
        Fact::AttributesChanged { entry } => DotKind::Attributes { entry },
        _ => DotKind::Other,
    }
}

/// The role that a person needs for a device of theirs to say this; none where no device may.
#[must_use]
pub fn needed_role(fact: &Fact) -> Option<Role> {
    match fact {
        Fact::Acknowledged { .. } => Some(Role::Viewer),
        Fact::EntryCreated { .. }
        | Fact::VersionUploaded { .. }
        | Fact::EntryMoved { .. }
        | Fact::AttributesChanged { .. }
        | Fact::EntryDeleted { .. }
        | Fact::EntryRestored { .. }
        | Fact::ConflictResolved { .. } => Some(Role::Editor),
        Fact::VersionsExpired { .. }
        | Fact::PolicySet { .. }
        | Fact::RetentionSet { .. }
        | Fact::MemberGranted { .. }
        | Fact::MemberRevoked { .. }
        | Fact::EntryPurged { .. } => Some(Role::Owner),
        Fact::NamespaceCreated { .. }
        | Fact::EpochOpened { .. }
        | Fact::DeviceLinked { .. }
        | Fact::DeviceRetired { .. }
        | Fact::VersionsMerged { .. }
        | Fact::AccountCreated { .. }
        | Fact::AccountChanged { .. }
        | Fact::NamespaceOpened { .. }
        | Fact::TicketIssued { .. }
        | Fact::TicketRedeemed { .. }
        | Fact::TicketEnded { .. }
        | Fact::TokenIssued { .. }
        | Fact::TokenRevoked { .. }
        | Fact::Unknown { .. } => None,
    }
}

struct Check<'a> {
    batch: &'a Batch,
    author: &'a Author,
    seen: &'a Seen,
    projections: &'a Projections,
    /// Own events before this one in the batch, by counter.
    earlier: BTreeMap<u64, DotKind>,
    /// The event at hand.
    dot: Dot,
    /// How far every device is.
    floor: Seq,
}

impl Check<'_> {
    /// Who may issue which kind. Roles are those of the log before this batch.
    fn allowed(&self, index: usize, fact: &Fact) -> Result<(), Refusal> {
        let (dot, kind) = (self.dot, fact.kind().to_owned());
        let by_device = |needed: Role| match (self.author.is_server, self.author.role) {
            (true, _) => Err(Refusal::ServerOnly { dot, kind: kind.clone() }),
            (false, Some(role)) if role >= needed => Ok(()),
            (false, role) => Err(Refusal::Forbidden { dot, kind: kind.clone(), needed, role }),
        };
        let by_server = || {
            if self.author.is_server { Ok(()) } else { Err(Refusal::ServerOnly { dot, kind: kind.clone() }) }
        };
        match fact {
            Fact::NamespaceCreated { .. } => {
                by_server()?;
                let begins = index == 0 && self.author.state.is_none();
                if begins { Ok(()) } else { Err(Refusal::NotHere { dot, kind }) }
            }
            Fact::EpochOpened { .. } => {
                by_server()?;
                let opens = index == 0 && self.author.state.is_none() && self.dot.counter == 1;
                if opens { Ok(()) } else { Err(Refusal::NotHere { dot, kind }) }
            }
            Fact::DeviceLinked { .. } | Fact::DeviceRetired { .. } | Fact::VersionsMerged { .. } => {
                by_server()
            }
            // The policy `newest` is carried out by a server, once.
            Fact::ConflictResolved { .. } if self.author.is_server => Ok(()),
            // What passed its retention, a server forgets by itself.
            Fact::VersionsExpired { .. } | Fact::EntryPurged { .. } if self.author.is_server => Ok(()),
            Fact::Unknown { .. } => Err(Refusal::UnknownKind { dot, kind }),
            fact => match needed_role(fact) {
                Some(needed) => by_device(needed),
                None => Err(Refusal::NotHere { dot, kind }),
            },
        }
    }

    /// The body, which nobody withholds from admission; an empty one for kinds without.
    fn body(&self, index: usize) -> Result<Body, Refusal> {
        let dot = self.dot;
        let fact = &self.batch.events()[index].fact;
        match self.batch.body(index) {
            Ok(Some(_)) if !has_body(fact) => Err(Refusal::BodyNotHere { dot, kind: fact.kind().into() }),
            Ok(Some(body)) => Ok(body),
            Ok(None) if self.batch.events()[index].body_hash.is_some() => {
                Err(Refusal::BodyMissing { dot, field: "body" })
            }
            Ok(None) => Ok(Body::default()),
            Err(error) => Err(Refusal::BodyMalformed { dot, why: error.to_string() }),
        }
    }

    fn texts(&self, body: &Body) -> Result<(), Refusal> {
        let text = |field, text: &Option<String>| (field, text.as_ref().map_or(0, String::len));
        let tags = body.tags_added.iter().chain(&body.tags_removed).map(String::len);
        let lengths = [
            ("target", body.target.as_ref().map_or(0, Vec::len)),
            ("tag", tags.max().unwrap_or(0)),
            text("note", &body.note),
            text("pattern", &body.pattern),
            text("label", &body.label),
            text("user name", &body.user_name),
        ];
        let max = Body::TEXT_BYTES_MAX;
        match lengths.into_iter().find(|(_, bytes)| *bytes > max) {
            Some((field, bytes)) => Err(Refusal::FieldTooLong { dot: self.dot, field, bytes, max }),
            None => Ok(()),
        }
    }

    fn fact(&self, fact: &Fact, body: &Body) -> Result<(), Refusal> {
        match fact {
            Fact::NamespaceCreated { .. } => self.needs("label", body.label.is_some()),
            Fact::DeviceLinked { key, .. } => self.linked(DeviceId::of_key(key), body),
            Fact::DeviceRetired { device, last } => self.retired(*device, *last),
            Fact::Acknowledged { seq } => {
                let (dot, head) = (self.dot, self.projections.head().seq);
                if *seq <= head { Ok(()) } else { Err(Refusal::AheadOfLog { dot, seq: *seq, head }) }
            }
            Fact::EntryCreated { parent, entry_kind } => self.created(*parent, *entry_kind, body),
            Fact::VersionUploaded { entry, parents } => {
                self.file(*entry)?;
                self.versions_of(*entry, parents)?;
                self.content(body)
            }
            Fact::VersionsMerged { entry, inputs, algorithm } => {
                self.file(*entry)?;
                self.versions_of(*entry, inputs)?;
                self.needs("inputs", inputs.len() > 1)?;
                self.needs("algorithm", !algorithm.is_empty())?;
                self.content(body)
            }
            Fact::EntryMoved { entry, parent } => {
                self.entry(entry.0)?;
                self.folder(*parent)?;
                self.name(*parent, body)
            }
            Fact::AttributesChanged { entry } => {
                self.entry(entry.0)?;
                let tags = !body.tags_added.is_empty() || !body.tags_removed.is_empty();
                let plain = body.mtime.is_some() || body.executable.is_some() || body.note.is_some();
                self.needs("change", tags || plain)?;
                let empty = body.tags_added.iter().chain(&body.tags_removed).any(String::is_empty);
                self.needs("tag", !empty)
            }
            Fact::EntryDeleted { entries, hides } => {
                self.needs("entries", !entries.is_empty())?;
                entries.iter().try_for_each(|dot| self.entry(dot).map(drop))?;
                hides.iter().try_for_each(|dot| self.place_or_version(dot))
            }
            Fact::EntryRestored { entry, place, lifts, shows } => {
                self.restored(*entry, *place, lifts, shows, body)
            }
            Fact::ConflictResolved { entry, over, keep } => {
                self.file(*entry)?;
                self.versions_of(*entry, over)?;
                if let Some(stray) = keep.iter().find(|dot| !over.contains(*dot)) {
                    return Err(self.wrong(stray, "one of the versions that were chosen from"));
                }
                keep.iter().try_for_each(|dot| self.not_gone(dot))
            }
            Fact::PolicySet { .. } => {
                self.needs("pattern", body.pattern.as_ref().is_some_and(|p| !p.is_empty()))
            }
            Fact::MemberGranted { user, role } => {
                self.needs("user name", body.user_name.is_some())?;
                let stays = self.projections.access().owner() != Some(*user) || *role == Role::Owner;
                if stays { Ok(()) } else { Err(Refusal::LastOwner { dot: self.dot }) }
            }
            Fact::MemberRevoked { user } => {
                let stays = self.projections.access().owner() != Some(*user);
                if stays { Ok(()) } else { Err(Refusal::LastOwner { dot: self.dot }) }
            }
            Fact::EntryPurged { entries } => entries.iter().try_for_each(|dot| self.purgeable(dot)),
            Fact::VersionsExpired { versions } => versions.iter().try_for_each(|dot| self.expirable(dot)),
            Fact::RetentionSet { .. } => Ok(()),
            // Whoever is let in by it is believed for it, or was refused by `allowed`; so were the others.
            Fact::EpochOpened { .. }
            | Fact::AccountCreated { .. }
            | Fact::AccountChanged { .. }
            | Fact::NamespaceOpened { .. }
            | Fact::TicketIssued { .. }
            | Fact::TicketRedeemed { .. }
            | Fact::TicketEnded { .. }
            | Fact::TokenIssued { .. }
            | Fact::TokenRevoked { .. }
            | Fact::Unknown { .. } => Ok(()),
        }
    }

    fn created(&self, parent: EntryId, kind: EntryKind, body: &Body) -> Result<(), Refusal> {
        self.folder(parent)?;
        self.name(parent, body)?;
        match kind {
            EntryKind::Folder => Ok(()),
            EntryKind::File => self.content(body),
            EntryKind::Symlink => {
                let points = body.target.as_ref().is_some_and(|to| !to.is_empty() && !to.contains(&0));
                self.needs("target", points)
            }
        }
    }

    fn restored(
        &self,
        entry: EntryId,
        place: Option<EntryId>,
        lifts: &DotSet,
        shows: &DotSet,
        body: &Body,
    ) -> Result<(), Refusal> {
        self.entry(entry.0)?;
        if self.projections.entry(entry).is_some_and(|entry| entry.purged) {
            return Err(Refusal::Gone { dot: self.dot, gone: entry.0 });
        }
        if let Some(folder) = place {
            self.folder(folder)?;
            self.name(folder, body)?;
        }
        for named in lifts.iter() {
            if self.seen_kind(named)? != DotKind::Delete {
                return Err(self.wrong(named, "a delete"));
            }
        }
        for named in shows.iter() {
            self.place_or_version(named)?;
            // A file's first version may have expired while the place that came with it did not.
            let only_a_place = self.projections.dot_kind(named).is_some_and(|kind| {
                let entry = kind.entry().filter(|_| kind.is_place()).and_then(|e| self.projections.entry(e));
                entry.is_some_and(|entry| !entry.purged && !entry.maximal.contains(&named))
            });
            if !only_a_place {
                self.not_gone(named)?;
            }
        }
        Ok(())
    }

    fn linked(&self, device: DeviceId, body: &Body) -> Result<(), Refusal> {
        self.needs("label", body.label.is_some())?;
        self.needs("user name", body.user_name.is_some())?;
        match self.projections.devices().get(device) {
            Some(state) if state.linked || state.is_server => Err(self.contradicts("the device is linked")),
            _ => Ok(()),
        }
    }

    fn retired(&self, device: DeviceId, last: u64) -> Result<(), Refusal> {
        match self.projections.devices().get(device) {
            None => Err(self.contradicts("the device was never linked")),
            Some(state) if state.retired_last.is_some() => Err(self.contradicts("the device is retired")),
            Some(state) if state.last_counter != last => Err(self.contradicts("its last counter is another")),
            Some(_) => Ok(()),
        }
    }

    fn contradicts(&self, what: &'static str) -> Refusal {
        let fact = &self.batch.events()
            [usize::try_from(self.dot.counter - self.batch.header().first).expect("a batch has 256 events")]
        .fact;
        Refusal::Contradicts { dot: self.dot, kind: fact.kind().into(), what }
    }

    fn needs(&self, field: &'static str, there: bool) -> Result<(), Refusal> {
        if there { Ok(()) } else { Err(Refusal::BodyMissing { dot: self.dot, field }) }
    }

    fn content(&self, body: &Body) -> Result<(), Refusal> {
        let content = body.content.as_ref();
        self.needs("content", content.is_some())?;
        match content.filter(|content| !content.is_consistent()) {
            Some(content) => Err(Refusal::Content { dot: self.dot, content: content.id }),
            None => Ok(()),
        }
    }

    fn name(&self, parent: EntryId, body: &Body) -> Result<(), Refusal> {
        let dot = self.dot;
        let name = body.name.as_ref().ok_or(Refusal::BodyMissing { dot, field: "name" })?;
        path::check(name.as_str()).map_err(|why| Refusal::Name { dot, why })?;
        if parent == EntryId::ROOT && path::is_reserved(name.as_str()) {
            return Err(Refusal::ReservedName { dot, name: name.as_str().into() });
        }
        Ok(())
    }

    fn wrong(&self, named: Dot, expected: &'static str) -> Refusal {
        Refusal::WrongKind { dot: self.dot, named, expected }
    }

    /// What `named` is: earlier in this batch, or admitted and covered by what the author had pulled.
    fn seen_kind(&self, named: Dot) -> Result<DotKind, Refusal> {
        let unseen = Refusal::NamedUnseen { dot: self.dot, named };
        let own = named.device == self.author.device;
        if own && named.counter >= self.batch.header().first {
            return self.earlier.get(&named.counter).copied().ok_or(unseen);
        }
        if !own && !self.seen.vector.covers(named) {
            return Err(unseen);
        }
        self.projections.dot_kind(named).ok_or(unseen)
    }

    fn entry(&self, named: Dot) -> Result<EntryKind, Refusal> {
        match self.seen_kind(named)? {
            DotKind::Create { kind, .. } => Ok(kind),
            _ => Err(self.wrong(named, "an entry")),
        }
    }

    fn folder(&self, folder: EntryId) -> Result<(), Refusal> {
        match folder {
            EntryId::ROOT => Ok(()),
            EntryId(named) if self.entry(named)? == EntryKind::Folder => Ok(()),
            EntryId(named) => Err(self.wrong(named, "a folder")),
        }
    }

    fn file(&self, file: EntryId) -> Result<(), Refusal> {
        if self.entry(file.0)? == EntryKind::File { Ok(()) } else { Err(self.wrong(file.0, "a file")) }
    }

    fn versions_of(&self, file: EntryId, versions: &DotSet) -> Result<(), Refusal> {
        for named in versions.iter() {
            let kind = self.seen_kind(named)?;
            if !kind.is_version() || kind.entry() != Some(file) {
                return Err(self.wrong(named, "a version of that file"));
            }
        }
        Ok(())
    }

    fn place_or_version(&self, named: Dot) -> Result<(), Refusal> {
        if self.seen_kind(named)?.is_place_or_version() {
            Ok(())
        } else {
            Err(self.wrong(named, "a place or a version"))
        }
    }

    /// Neither purged nor expired, as far as the log before this batch goes.
    fn not_gone(&self, named: Dot) -> Result<(), Refusal> {
        let entry = self.projections.dot_kind(named).and_then(DotKind::entry);
        let purged = entry.and_then(|entry| self.projections.entry(entry)).is_some_and(|entry| entry.purged);
        let expired = self.projections.version(named).is_some_and(|version| !version.retained);
        if purged || expired { Err(Refusal::Gone { dot: self.dot, gone: named }) } else { Ok(()) }
    }

    fn not_yet(&self, named: Dot) -> Refusal {
        Refusal::NotYet { dot: self.dot, named, floor: self.floor }
    }

    /// In the trash, and every device knows.
    fn purgeable(&self, named: Dot) -> Result<(), Refusal> {
        self.entry(named)?;
        let entry = EntryId(named);
        let shown = self.projections.entry(entry).is_none_or(|entry| entry.shown);
        let known = known_from(self.projections, entry).is_some_and(|seq| seq <= self.floor);
        if !shown && known { Ok(()) } else { Err(self.not_yet(named)) }
    }

    /// Superseded or dropped, and every device knows.
    fn expirable(&self, named: Dot) -> Result<(), Refusal> {
        let kind = self.seen_kind(named)?;
        let entry = kind.entry().filter(|_| kind.is_version());
        let entry = entry.ok_or_else(|| self.wrong(named, "a version"))?;
        let floor = self.floor;
        let known = |dot: Dot| self.projections.admitted(dot).is_some_and(|(seq, _)| seq <= floor);
        let superseded = |version: Dot| self.projections.superseded_by(version).into_iter().any(known);
        // A merge is shown again when its inputs are all there is again: never, once one of them is superseded.
        let of_the_past = |merge: Dot| {
            let inputs = self.projections.version(merge).filter(|view| view.merge).map(|view| view.parents);
            inputs.is_some_and(|inputs| inputs.into_iter().any(superseded))
        };
        let shown = self.projections.heads(entry).contains(&named);
        let dropped = || self.projections.dropped_by(named).into_iter().any(known);
        if superseded(named) || of_the_past(named) || !shown && dropped() {
            return Ok(());
        }
        Err(self.not_yet(named))
    }
}

/// Whether events of this kind say anything in a body; what a later release adds is refused elsewhere.
pub(super) fn has_body(fact: &Fact) -> bool {
    match fact {
        Fact::EntryRestored { place, .. } => place.is_some(),
        Fact::EpochOpened { .. }
        | Fact::DeviceRetired { .. }
        | Fact::Acknowledged { .. }
        | Fact::EntryDeleted { .. }
        | Fact::ConflictResolved { .. }
        | Fact::RetentionSet { .. }
        | Fact::MemberRevoked { .. }
        | Fact::EntryPurged { .. }
        | Fact::VersionsExpired { .. } => false,
        _ => true,
    }
}
