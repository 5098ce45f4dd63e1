//! One batch after another into every projection.
//!
//! A batch is checked whole before it changes anything. Most of an event takes effect at once; moves wait
//! until the group is in, so that the log of moves is undone and redone once, and after them the rare question
//! of what was carried away, which needs the settled tree.

use crate::{
    FoldError, Projections, Scope,
    batches::{BatchRow, DotIx, What},
    devices::DeviceState,
    entries::{DeleteRow, EntryIx, PlaceRow, ResolutionRow, flag},
    heard::{Heard, HeardContent},
    history::{self, NewVersion},
    intern::{NONE, next_index, push},
};
use annals_events::{
    Admission, Batch, Body, DeviceId, Dot, DotSet, EntryId, EntryKind, Event, Fact, Hlc, PublicKey, Seen,
    Seq, UserId,
};

/// One event on its way in.
struct Arrival<'a> {
    dot: DotIx,
    device: u32,
    order: (Hlc, DeviceId),
    counter: u64,
    seen: &'a Seen,
    admitted: Option<Seq>,
    /// None where it has none, or where it is withheld or unreadable.
    body: Option<Heard<'a>>,
}

impl Arrival<'_> {
    fn name(&self) -> Dot {
        Dot::new(self.order.1, self.counter)
    }
}

impl Projections {
    /// Folds a batch. `admission` is none while it is pending on its own device; `position` is where the caller
    /// can find its bytes again. Batches arrive in an order that respects causality. The same batch again changes
    /// nothing, but for its admission and position, if it comes with one.
    ///
    /// # Errors
    /// [`FoldError`], and then the batch has changed nothing.
    pub fn apply(
        &mut self,
        batch: &Batch,
        admission: Option<&Admission>,
        position: u64,
    ) -> Result<(), FoldError> {
        self.apply_all([(batch, admission, position)])
    }

    /// Folds batches as one group: the log of moves is undone and redone once.
    ///
    /// # Errors
    /// [`FoldError`] of the first batch that has one; those before it are folded, it and the rest are not.
    pub fn apply_all<'a>(
        &mut self,
        batches: impl IntoIterator<Item = (&'a Batch, Option<&'a Admission>, u64)>,
    ) -> Result<(), FoldError> {
        let outcome =
            batches.into_iter().try_for_each(|(batch, admission, at)| self.take(batch, admission, at));
        self.settle_moves();
        self.settle_contested();
        outcome
    }

    fn take(&mut self, batch: &Batch, admission: Option<&Admission>, position: u64) -> Result<(), FoldError> {
        let header = batch.header();
        if header.namespace != self.namespace {
            return Err(FoldError::OtherNamespace { expected: self.namespace, actual: header.namespace });
        }
        if !self.is_known(batch)? {
            self.warm_named(batch);
            self.check_named(batch)?;
            let row = self.begin(batch, position);
            let seen = self.devices.batches.seens[row.seen as usize].clone();
            let bodies: Vec<Option<Heard<'_>>> =
                (0..batch.events().len()).map(|index| Heard::of(batch.body_bytes(index)?)).collect();
            self.warm(&bodies);
            for ((index, event), body) in batch.events().iter().enumerate().zip(bodies) {
                let arrival = Arrival {
                    dot: row.base + u32::try_from(index).expect("at most 256"),
                    device: row.device,
                    order: (event.hlc, header.device),
                    counter: header.first + index as u64,
                    seen: &seen,
                    admitted: admission.map(|admission| Seq(admission.seq.0 + index as u64)),
                    body,
                };
                let what = self.fold(event, arrival);
                debug_assert_eq!(self.devices.batches.what.len(), row.base as usize + index + 1, "{what:?}");
            }
        }
        if let Some(admission) = admission {
            self.admit(batch, admission, position);
        }
        Ok(())
    }

    fn warm(&self, bodies: &[Option<Heard<'_>>]) {
        if self.scope == Scope::Server {
            let contents = || bodies.iter().flatten().filter_map(|body| body.content.as_ref());
            self.contents.warm(contents().map(|content| content.id));
            self.chunk_refs.warm(contents().flat_map(HeardContent::roots));
        }
    }

    /// Whether this very batch was folded already.
    fn is_known(&self, batch: &Batch) -> Result<bool, FoldError> {
        let header = batch.header();
        let Some(device) = self.devices.find(header.device) else { return Ok(false) };
        if header.first > self.devices.rows[device as usize].state.last_counter {
            return Ok(false);
        }
        let row = self
            .devices
            .batches
            .row_at(device, header.first)
            .map(|row| &self.devices.batches.rows[row as usize]);
        match row {
            Some(row) if row.first == header.first && row.hash == batch.hash() => Ok(true),
            _ => Err(FoldError::UsedDot { dot: batch.dot(0) }),
        }
    }

    fn begin(&mut self, batch: &Batch, position: u64) -> BatchRow {
        let header = batch.header();
        let device = self.devices.intern(header.device);
        let state = &mut self.devices.rows[device as usize].state;
        if !header.seen.is_empty() {
            state.seen = state.seen.changed_by(&header.seen);
        }
        state.last_counter = batch.last();
        state.last_batch = Some(batch.hash());
        state.last_hlc = header.events.last().map_or(state.last_hlc, |event| event.hlc);
        let batches = &mut self.devices.batches;
        let last = batches.by_device[device as usize].last().map(|&(_, row)| batches.rows[row as usize].seen);
        let same = |&row: &u32| {
            let known = &batches.seens[row as usize];
            header.seen.is_empty() && known.unseen == header.unseen
        };
        let seen = last.filter(same).unwrap_or_else(|| {
            push(&mut batches.seens, Seen { vector: state.seen.clone(), unseen: header.unseen.clone() });
            u32::try_from(batches.seens.len() - 1).expect("at most as many as batches")
        });
        let row = BatchRow {
            device,
            count: u32::try_from(header.events.len()).expect("at most 256"),
            first: header.first,
            base: batches.next(),
            seen,
            position,
            seq: 0,
            admitted_at: 0,
            hash: batch.hash(),
        };
        batches.begin(row.clone());
        row
    }

    fn admit(&mut self, batch: &Batch, admission: &Admission, position: u64) {
        let device = self.devices.find(batch.header().device).expect("the batch was folded");
        let row = self.devices.batches.row_at(device, batch.header().first).expect("the batch was folded");
        let row = &mut self.devices.batches.rows[row as usize];
        row.position = position;
        row.seq = admission.seq.0;
        row.admitted_at = admission.admitted_at;
        let state = &mut self.devices.rows[device as usize].state;
        state.last_admitted_at = state.last_admitted_at.max(Some(admission.admitted_at));
        let last = Seq(admission.seq.0 + batch.events().len() as u64 - 1);
        if last > self.head.seq {
            self.head = crate::Head { seq: last, chain: admission.chain, epoch: admission.epoch };
        }
        for (index, event) in batch.events().iter().enumerate() {
            if let Fact::DeviceLinked { key, .. } = &event.fact {
                let device = self.devices.intern(DeviceId::of_key(key));
                let at = &mut self.devices.rows[device as usize].state.linked_at;
                *at = at.or(Some(Seq(admission.seq.0 + index as u64)));
            }
        }
    }

    fn fold(&mut self, event: &Event, mut arrival: Arrival<'_>) -> What {
        let hlc = event.hlc.0;
        let by = &mut arrival;
        match &event.fact {
            Fact::EntryCreated { parent, entry_kind } => self.create(hlc, by, *parent, *entry_kind),
            Fact::EntryMoved { entry, parent } => {
                let what = What::Move(next_index(&self.places));
                self.place(hlc, by, *entry, Some(*parent), what)
            }
            Fact::EntryRestored { entry, place, lifts, shows } => {
                let what = What::Restore(next_index(&self.places));
                self.place(hlc, by, *entry, *place, what);
                self.restore(lifts, shows);
                what
            }
            Fact::VersionUploaded { entry, parents } => self.upload(hlc, by, *entry, parents),
            Fact::VersionsMerged { entry, inputs, .. } => self.merge(hlc, by, *entry, inputs),
            Fact::EntryDeleted { hides, .. } => self.delete(hlc, by, hides),
            Fact::ConflictResolved { entry, over, keep } => self.resolve(hlc, by, *entry, over, keep),
            Fact::AttributesChanged { entry } => self.change(hlc, by, *entry),
            other => {
                self.devices.batches.push_event(hlc, What::Other);
                self.fold_other(other, by);
                What::Other
            }
        }
    }

    fn create(&mut self, hlc: u64, by: &mut Arrival<'_>, parent: EntryId, kind: EntryKind) -> What {
        let folder = self.entry_ix(parent).expect("checked");
        let body = by.body.take();
        let name = body.as_ref().and_then(|body| body.name.as_deref());
        let name = name.map_or(NONE, |name| self.names.put(name));
        let entry = self.entries.len();
        let what = What::Create(entry);
        self.devices.batches.push_event(hlc, what);
        let inner = match kind {
            EntryKind::Folder => self.entries.new_folder(),
            EntryKind::File => self.add_version(by.dot, entry, body.as_ref(), false, &[]),
            EntryKind::Symlink => self
                .entries
                .new_target(body.as_ref().and_then(|body| body.target.as_deref().map(<[u8]>::to_vec))),
        };
        self.entries.add(by.dot, folder, name, inner, kind);
        self.live_entries += 1;
        self.entries.set(entry, flag::ALIVE, true);
        self.entries.set(entry, flag::SHOWN, true);
        self.link(entry, folder);
        let said = body.as_ref().filter(|body| body.mtime.is_some() || body.executable.is_some());
        if let Some(body) = said.filter(|_| kind != EntryKind::File) {
            let mark = (by.order.0, by.order.1, by.counter);
            self.attribute_row(entry).set(body.mtime, body.executable, mark);
        }
        // A file's own tags and note would come with a change; a create that carries them is heard as well.
        if let Some(body) = body.and_then(|body| body.more).filter(|body| says_more(body)) {
            self.attribute_row(entry).change(by.dot, &body, |_| false);
        }
        what
    }

    /// A version's row, its chunks and what it takes up.
    fn add_version(
        &mut self,
        dot: DotIx,
        entry: EntryIx,
        body: Option<&Heard<'_>>,
        merge: bool,
        parents: &[DotIx],
    ) -> u32 {
        let content = body.and_then(|body| body.content.as_ref());
        let new = NewVersion {
            dot,
            entry,
            content: content.map(|content| content.id),
            size: content.map_or(0, |content| content.size),
            manifest: content.is_some_and(|content| content.manifest),
            mtime: body.and_then(|body| body.mtime),
            executable: body.and_then(|body| body.executable),
            merge,
        };
        let version = self.versions.add(&new, parents.iter().copied());
        if self.scope == Scope::Server {
            self.chunk_refs.add(content.into_iter().flat_map(HeardContent::roots));
            self.contents.retain(&self.versions, version);
        }
        version
    }

    /// A move or a restore: a place of its entry, and a touch.
    fn place(
        &mut self,
        hlc: u64,
        by: &mut Arrival<'_>,
        entry: EntryId,
        parent: Option<EntryId>,
        what: What,
    ) -> What {
        let entry = self.entry_ix(entry).expect("checked");
        let parent = parent.map_or(NONE, |parent| self.entry_ix(parent).expect("checked"));
        let name = by.body.take().and_then(|body| body.name).filter(|_| parent != NONE);
        let name = name.map_or(NONE, |name| self.names.put(&name));
        let row = next_index(&self.places);
        push(&mut self.places, PlaceRow { dot: by.dot, entry, parent, name });
        self.devices.batches.push_event(hlc, what);
        let author = by.name();
        let mut places = std::mem::take(&mut self.entries.rich_mut(entry).places);
        places.retain(|&place| !by.seen.by(author, self.devices.dot(place)));
        places.push(by.dot);
        let rich = self.entries.rich_mut(entry);
        rich.places = places;
        rich.touches.push(by.dot);
        if parent != NONE {
            self.moves.arrive(hlc, by.device, by.counter, row);
        }
        self.carry(entry, by.dot);
        self.review(entry);
        what
    }

    fn restore(&mut self, lifts: &DotSet, shows: &DotSet) {
        let deletes: Vec<u32> = lifts
            .iter()
            .filter_map(|dot| match self.devices.batches.what(self.devices.index(dot)?) {
                What::Delete(row) => Some(row),
                _ => None,
            })
            .collect();
        let shows: Vec<DotIx> = shows.iter().filter_map(|dot| self.devices.index(dot)).collect();
        self.lift(&deletes, &shows);
    }

    fn upload(&mut self, hlc: u64, by: &mut Arrival<'_>, entry: EntryId, parents: &DotSet) -> What {
        let entry = self.entry_ix(entry).expect("checked");
        let parents: Vec<DotIx> = parents.iter().filter_map(|dot| self.devices.index(dot)).collect();
        let body = by.body.take();
        let mark = (by.order.0, by.order.1, by.counter);
        if let Some(body) = &body {
            self.attribute_row(entry).set(body.mtime, body.executable, mark);
        }
        let version = self.add_version(by.dot, entry, body.as_ref(), false, &parents);
        self.devices.batches.push_event(hlc, What::Upload(version));
        self.supersede(entry, by.dot);
        self.entries.rich_mut(entry).touches.push(by.dot);
        self.carry(entry, by.dot);
        self.review(entry);
        What::Upload(version)
    }

    fn merge(&mut self, hlc: u64, by: &mut Arrival<'_>, entry: EntryId, inputs: &DotSet) -> What {
        let entry = self.entry_ix(entry).expect("checked");
        let inputs: Vec<DotIx> = inputs.iter().filter_map(|dot| self.devices.index(dot)).collect();
        let body = by.body.take();
        let version = self.add_version(by.dot, entry, body.as_ref(), true, &inputs);
        self.devices.batches.push_event(hlc, What::Merge(version));
        self.entries.rich_mut(entry).versions.push(by.dot);
        self.note_changed(entry);
        What::Merge(version)
    }

    fn delete(&mut self, hlc: u64, by: &Arrival<'_>, hides: &DotSet) -> What {
        let row = next_index(&self.deletes);
        push(&mut self.deletes, DeleteRow { dot: by.dot, hides: hides.clone() });
        self.devices.batches.push_event(hlc, What::Delete(row));
        self.hold(row);
        What::Delete(row)
    }

    fn resolve(&mut self, hlc: u64, by: &Arrival<'_>, entry: EntryId, over: &DotSet, keep: &DotSet) -> What {
        let entry = self.entry_ix(entry).expect("checked");
        let row = next_index(&self.resolutions);
        let resolution = ResolutionRow { dot: by.dot, entry, over: over.clone(), keep: keep.clone() };
        push(&mut self.resolutions, resolution);
        self.devices.batches.push_event(hlc, What::Resolve(row));
        let mut latest = std::mem::take(&mut self.entries.rich_mut(entry).resolutions);
        let author = by.name();
        latest.retain(|&row| !by.seen.by(author, self.devices.dot(self.resolutions[row as usize].dot)));
        latest.push(row);
        self.entries.rich_mut(entry).resolutions = latest;
        self.note_changed(entry);
        What::Resolve(row)
    }

    fn change(&mut self, hlc: u64, by: &mut Arrival<'_>, entry: EntryId) -> What {
        let entry = self.entry_ix(entry).expect("checked");
        self.devices.batches.push_event(hlc, What::Attributes(entry));
        self.note_changed(entry);
        if let Some(body) = by.body.take() {
            let (author, mark) = (by.name(), (by.order.0, by.order.1, by.counter));
            self.attribute_row(entry);
            let mut row = self.attributes.remove(&entry).expect("it was just made");
            row.set(body.mtime, body.executable, mark);
            if let Some(body) = body.more {
                row.change(by.dot, &body, |earlier| by.seen.by(author, self.devices.dot(earlier)));
            }
            self.attributes.insert(entry, row);
        }
        What::Attributes(entry)
    }

    /// Everything that is not about the tree.
    fn fold_other(&mut self, fact: &Fact, by: &mut Arrival<'_>) {
        match fact {
            Fact::NamespaceCreated { owner, server } => {
                let device = self.devices.intern(DeviceId::of_key(server));
                let state = &mut self.devices.rows[device as usize].state;
                (state.key, state.is_server, state.linked) = (*server, true, true);
                state.linked_at = state.linked_at.or(by.admitted);
                self.access.create(by.order, *owner, by.body.take().and_then(|body| body.more?.label));
            }
            Fact::EpochOpened { server, before, .. } => {
                let device = self.devices.intern(DeviceId::of_key(server));
                let state = &mut self.devices.rows[device as usize].state;
                (state.key, state.is_server, state.linked) = (*server, true, true);
                (state.continues, state.linked_at) = (Some(*before), state.linked_at.or(by.admitted));
            }
            Fact::DeviceLinked { key, user, continues } => self.link_device(*key, *user, *continues, by),
            Fact::DeviceRetired { device, last } => {
                let device = self.devices.intern(*device);
                let retired = &mut self.devices.rows[device as usize].state.retired_last;
                *retired = Some(retired.map_or(*last, |earlier| earlier.min(*last)));
            }
            Fact::Acknowledged { seq } => {
                let seq = self.acknowledged_here(*seq, by);
                let state = &mut self.devices.rows[by.device as usize].state;
                state.acknowledged = state.acknowledged.max(seq);
            }
            Fact::MemberGranted { user, role } => {
                let name = by.body.take().and_then(|body| body.more?.user_name);
                self.access.call(*user, by.order, name);
                self.state_role(*user, Some(*role), by);
            }
            Fact::RetentionSet { versions, silence } => self.retention.set(by.order, *versions, *silence),
            Fact::MemberRevoked { user } => self.state_role(*user, None, by),
            Fact::EntryPurged { entries } => self.purge(entries, by),
            Fact::VersionsExpired { versions } => {
                let rows = versions.iter().filter_map(|dot| self.version_ix(self.devices.index(dot)?));
                let rows: Vec<u32> = rows.collect();
                rows.into_iter().for_each(|version| self.drop_version(version));
            }
            Fact::Unknown { .. } => self.unknown += 1,
            // Policies are for whoever merges; the rest belongs to the directory's stream.
            _ => {}
        }
    }

    /// How far an acknowledgement is one of this stream: what its author said without knowing of an epoch that was
    /// opened counts places that were lost.
    fn acknowledged_here(&self, seq: Seq, by: &Arrival<'_>) -> Seq {
        let unknown = |&(server, state): &(DeviceId, &DeviceState)| {
            state.is_server && state.continues.is_some() && by.seen.vector.get(server) == 0
        };
        let opened = self.devices.iter().filter(unknown).filter_map(|(_, state)| state.linked_at);
        opened.map(|at| Seq(at.0 - 1)).chain([seq]).min().expect("it has one at least")
    }

    fn link_device(
        &mut self,
        key: PublicKey,
        user: UserId,
        continues: Option<DeviceId>,
        by: &mut Arrival<'_>,
    ) {
        let id = DeviceId::of_key(&key);
        let was_named = self.devices.get(id).is_some();
        let device = self.devices.intern(id);
        let body = by.body.take().and_then(|body| body.more).unwrap_or_default();
        self.access.call(user, by.order, body.user_name);
        let row = &mut self.devices.rows[device as usize];
        if row.state.linked && row.link_order > by.order {
            return;
        }
        if was_named {
            // Its label stands in names; what it did may be known before who it is, where a server lost the link.
            self.changed.everywhere();
        }
        row.link_order = by.order;
        row.state.linked = true;
        row.state.key = key;
        row.state.user = Some(user);
        row.state.label = body.label.unwrap_or_default();
        row.state.continues = continues;
        row.state.linked_at = row.state.linked_at.or(by.admitted);
    }

    fn state_role(&mut self, user: UserId, role: Option<annals_events::Role>, by: &Arrival<'_>) {
        let (devices, author) = (&self.devices, by.name());
        self.access.state(user, role, by.dot, |earlier| by.seen.by(author, devices.dot(earlier)));
    }

    /// Purged entries lose the versions that the purge's author had seen: what arrives beside it is not its own.
    fn purge(&mut self, entries: &DotSet, by: &Arrival<'_>) {
        let entries: Vec<EntryIx> = entries.iter().filter_map(|dot| self.entry_ix(EntryId(dot))).collect();
        for entry in entries {
            self.note_changed(entry);
            if !self.entries.has(entry, flag::PURGED) {
                self.entries.set(entry, flag::PURGED, true);
                self.live_entries -= 1;
            }
            let author = by.name();
            let seen = |&&v: &&DotIx| by.seen.by(author, self.devices.dot(v));
            let versions: Vec<u32> = self
                .entries
                .versions(entry)
                .iter()
                .filter(seen)
                .filter_map(|&v| self.version_ix(v))
                .collect();
            versions.into_iter().for_each(|version| self.drop_version(version));
        }
    }

    fn drop_version(&mut self, version: u32) {
        if !self.is_retained(version) {
            return;
        }
        self.versions.flags[version as usize] &= !history::flag::RETAINED;
        if self.scope == Scope::Server {
            self.chunk_refs.drop_version(version);
            self.contents.release(&self.versions, version);
        }
    }
}

fn says_more(body: &Body) -> bool {
    !body.tags_added.is_empty() || body.note.is_some()
}
