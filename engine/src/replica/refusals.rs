//! What was refused: kept, shown to its author, and said again once it may be.
//!
//! What a refused event wrote stays in the folder, marked [`aside`](crate::observed::SyncedNode::aside), under its own
//! name or beside the shared file of that name. It is off the list when its author removed that, or when it was said
//! again: as it was, about the same entries and versions, so that an edit becomes an edit and not another file. What
//! cannot lie in the folder (a rename, a removal) is undone there and only listed until then.

use super::{Effect, Notice, Replica, StateChange};
use crate::{
    author::{Deed, Said},
    disk::Node,
    journal::renamed,
    observed::{SyncedChange, SyncedNode},
};
use annals_events::{Batch, Body, Dot, DotSet, EntryId, Fact, Hash, Role, Seq};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a batch that was refused held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// As it was signed.
    pub batch: Arc<Batch>,
    /// Those of its events that are set aside.
    pub events: DotSet,
    /// What the server said.
    pub why: String,
    /// How far the log was known then; [`LOST`](Self::LOST) where the chunks were nowhere any more.
    pub at: Seq,
}

impl SetAside {
    /// After every right that may ever come back: none of them is what it waits for.
    pub const LOST: Seq = Seq(u64::MAX);

    fn is_lost(&self) -> bool {
        self.at == Self::LOST
    }

    /// The events that are set aside, in order.
    pub fn facts(&self) -> impl Iterator<Item = (Dot, &Fact, Option<Body>)> {
        let events = self.batch.events().iter().enumerate();
        let events = events.map(|(index, event)| (index, self.batch.dot(index), &event.fact));
        let events = events.filter(|(_, dot, _)| self.events.contains(*dot));
        events.map(|(index, dot, fact)| (dot, fact, self.batch.body(index).ok().flatten()))
    }
}

/// The entry whose text a refused event holds; none where it holds none.
fn text_of(dot: Dot, fact: &Fact) -> Option<EntryId> {
    match fact {
        Fact::EntryCreated { .. } => Some(EntryId(dot)),
        Fact::VersionUploaded { entry, .. } => Some(*entry),
        _ => None,
    }
}

/// Whether an event that was refused is worth saying again: what a person wrote or set is, a rename or removal that
/// was undone in the folder is not.
fn is_worth_saying_again(fact: &Fact) -> bool {
    matches!(fact, Fact::EntryCreated { .. } | Fact::VersionUploaded { .. } | Fact::AttributesChanged { .. })
}

/// Whether all that an event [worth saying again](is_worth_saying_again) is about is known.
fn names_only(fact: &Fact, known: impl Fn(Dot) -> bool) -> bool {
    let entry = |entry: &EntryId| *entry == EntryId::ROOT || known(entry.0);
    match fact {
        Fact::EntryCreated { parent, .. } => entry(parent),
        Fact::VersionUploaded { entry: file, parents } => entry(file) && parents.iter().all(&known),
        Fact::AttributesChanged { entry: changed } => entry(changed),
        _ => false,
    }
}

fn shows(node: &SyncedNode, dot: Dot) -> bool {
    node.head == Some(dot) || node.heads.contains(&dot) || node.entries.contains(&EntryId(dot))
}

impl Replica {
    /// What was refused.
    #[must_use]
    pub fn aside(&self) -> &[SetAside] {
        &self.aside
    }

    /// Where in the folder the text of a refused event lies.
    #[must_use]
    pub fn lies_at(&self, dot: Dot, fact: &Fact) -> Option<String> {
        let entry = text_of(dot, fact)?;
        let aside = || self.synced.select(|_, node| node.aside);
        let exact = aside().find(|(_, node)| shows(node, dot));
        // A version that a later one replaced lies where that does.
        let later = || aside().find(|(_, node)| node.entries.contains(&entry));
        exact.or_else(later).map(|(path, _)| path)
    }

    /// Whether this device's user may change entries, as far as the device knows.
    #[must_use]
    pub fn may_change(&self) -> bool {
        let user = self.log.devices().get(self.device()).and_then(|state| state.user);
        user.and_then(|user| self.log.access().role(user)).is_some_and(|role| role >= Role::Editor)
    }

    /// Whether something that was refused may be taken by now: its author was given a right since.
    #[must_use]
    pub fn is_retry_due(&self) -> bool {
        self.may_change() && self.aside.iter().any(|aside| aside.at < self.granted)
    }

    /// Whether something lies in the folder that was refused only because its chunks were nowhere any more: it is not
    /// to stay aside, and does where a crash came between the refusal and [`Input::ForgetAside`](super::Input).
    #[must_use]
    pub fn has_lost_texts(&self) -> bool {
        let lost = self.aside.iter().filter(|aside| aside.is_lost()).flat_map(SetAside::facts);
        lost.into_iter().any(|(dot, fact, _)| self.lies_at(dot, fact).is_some())
    }

    pub(super) fn refused(
        &mut self,
        now_ms: u64,
        batch: Hash,
        dots: &[Dot],
        why: String,
        lost: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(refused) = self.journal.pending().find(|pending| pending.batch.hash() == batch) else {
            return;
        };
        let all = (0..refused.batch.events().len()).map(|index| refused.batch.dot(index));
        let named: DotSet = dots.iter().copied().collect();
        let named = if named.is_empty() { all.collect() } else { named };
        let reissue = self.journal.reissue(&named, &mut self.clock, now_ms);
        let mut changes = vec![StateChange::JournalCleared { next: self.journal.next() }];
        for batch in &reissue.aside {
            let events = (0..batch.events().len()).map(|index| batch.dot(index));
            let events = events.filter(|dot| reissue.refused.contains(*dot)).collect();
            let at = if lost { SetAside::LOST } else { self.cursor.seq };
            let aside = SetAside { batch: batch.clone(), events, why: why.clone(), at };
            changes.push(StateChange::SetAside(aside.clone()));
            self.aside.push(aside);
        }
        changes.extend(self.journal.pending().cloned().map(StateChange::Journaled));
        for change in self.after_reissue(&reissue.names, &reissue.refused) {
            self.take_step(change.clone());
            changes.push(StateChange::Synced(change));
        }
        // What its author removed before it was refused is wanted no more.
        let texts = self
            .aside
            .iter()
            .flat_map(SetAside::facts)
            .filter(|(dot, fact, _)| text_of(*dot, fact).is_some());
        let gone = texts.filter(|(dot, fact, _)| self.lies_at(*dot, fact).is_none()).map(|(dot, ..)| dot);
        let gone: DotSet = gone.filter(|dot| reissue.refused.contains(*dot)).collect();
        if !gone.is_empty() {
            changes.push(self.off_the_list(gone));
        }
        self.persist(changes, effects);
        effects.push(Effect::Notice(Notice::SetAside { events: reissue.refused, why }));
        // The projections hold what was refused: only the log says how it was without.
        self.broken = true;
        effects.push(Effect::Reopen);
    }

    /// Has what is pending go out in another order, for which some of it is signed again.
    pub(super) fn ordered(&mut self, now_ms: u64, order: &[usize], effects: &mut Vec<Effect>) {
        let names = self.journal.reorder(order, &mut self.clock, now_ms);
        let mut changes = vec![StateChange::JournalCleared { next: self.journal.next() }];
        changes.extend(self.journal.pending().cloned().map(StateChange::Journaled));
        for change in self.after_reissue(&names, &DotSet::new()) {
            self.take_step(change.clone());
            changes.push(StateChange::Synced(change));
        }
        self.persist(changes, effects);
        // The projections know it under its old names.
        self.broken = true;
        effects.push(Effect::Reopen);
    }

    /// What the synced tree says under new names, and what in it was refused.
    fn after_reissue(&self, names: &BTreeMap<Dot, Dot>, refused: &DotSet) -> Vec<SyncedChange> {
        let mut changes = Vec::new();
        for (path, node) in self.synced.iter() {
            let mut after = renamed_node(&node, names);
            after.aside |= node.heads.iter().chain(&node.head).any(|dot| refused.contains(*dot))
                || node.entries.iter().any(|entry| refused.contains(entry.0));
            if after != node {
                changes.push(SyncedChange::Put(path.clone(), Box::new(after)));
            }
        }
        changes
    }

    /// Says again what was refused, under new names.
    pub(super) fn retry_aside(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let (mut names, mut left, mut deeds) = (BTreeMap::new(), DotSet::new(), Vec::new());
        let (device, mut next, mut said) = (self.device(), self.journal.next(), BTreeSet::new());
        for (dot, fact, body) in self.aside.iter().flat_map(SetAside::facts) {
            let again = is_worth_saying_again(fact)
                && (text_of(dot, fact).is_none() || self.lies_at(dot, fact).is_some());
            let fact = again.then(|| renamed(fact, &names, &left)).flatten();
            match fact.filter(|fact| {
                names_only(fact, |dot| self.log.dot_kind(dot).is_some() || said.contains(&dot))
            }) {
                None => left.extend([dot]),
                Some(fact) => {
                    said.insert(Dot::new(device, next));
                    names.insert(dot, Dot::new(device, next));
                    next += 1;
                    deeds.push(Deed(vec![Said { fact, body }]));
                }
            }
        }
        let mut changes = vec![self.off_the_list(names.keys().copied().chain(left.iter()).collect())];
        let aside = self.synced.select(|_, node| node.aside);
        let (known, unknown): (Vec<_>, Vec<_>) =
            aside.partition(|(_, node)| names.keys().any(|dot| shows(node, *dot)));
        // What cannot be said as it was, because the folder that it was made in was wanted no more, is found new.
        let mut after: Vec<SyncedChange> =
            unknown.into_iter().map(|(path, _)| SyncedChange::Remove(path.clone())).collect();
        after.extend(known.into_iter().map(|(path, node)| {
            SyncedChange::Put(path.clone(), Box::new(said_again(renamed_node(&node, &names))))
        }));
        for change in after {
            self.take_step(change.clone());
            changes.push(StateChange::Synced(change));
        }
        self.sign(now_ms, deeds, changes, effects);
        // What was changed since is said before anything is put in its place.
        effects.push(Effect::Scan);
    }

    /// Forgets what the folder holds aside, so that the next scan finds it new.
    pub(super) fn forget_aside(&mut self, effects: &mut Vec<Effect>) {
        let before = self.texts_aside();
        let aside: Vec<String> = self.synced.select(|_, node| node.aside).map(|(path, _)| path).collect();
        let mut changes = self.forget(aside.into_iter());
        changes.extend(self.discarded(&before));
        self.persist(changes, effects);
        effects.push(Effect::Scan);
    }

    /// The refused events whose text lies in the folder.
    pub(super) fn texts_aside(&self) -> BTreeSet<Dot> {
        let events = self.aside.iter().flat_map(SetAside::facts);
        events.filter(|(dot, fact, _)| self.lies_at(*dot, fact).is_some()).map(|(dot, ..)| dot).collect()
    }

    /// Takes off the list what lay in the folder `before` and does not any more: its author wants it no longer, or made
    /// something else of it.
    pub(super) fn discarded(&mut self, before: &BTreeSet<Dot>) -> Option<StateChange> {
        if before.is_empty() {
            return None;
        }
        let after = self.texts_aside();
        let gone: DotSet = before.difference(&after).copied().collect();
        (!gone.is_empty()).then(|| self.off_the_list(gone))
    }

    fn off_the_list(&mut self, dots: DotSet) -> StateChange {
        take_off(&mut self.aside, &dots);
        StateChange::AsideDone(dots)
    }
}

/// Takes events off a list of what was refused.
pub(super) fn take_off(list: &mut Vec<SetAside>, dots: &DotSet) {
    for aside in list.iter_mut() {
        aside.events = aside.events.iter().filter(|dot| !dots.contains(*dot)).collect();
    }
    list.retain(|aside| !aside.events.is_empty());
}

/// Agreed on as it was said. Times and bits that changed since then were not: the next look shall find them changed.
fn said_again(node: SyncedNode) -> SyncedNode {
    let (mtime_ns, executable) = (node.mtime.unwrap_or(node.disk.mtime_ns), node.executable);
    let settled = node.settled && (mtime_ns, executable) == (node.disk.mtime_ns, node.disk.executable);
    let disk = Node { mtime_ns, executable, ..node.disk };
    SyncedNode { aside: false, settled, disk, ..node }
}

fn renamed_node(node: &SyncedNode, names: &BTreeMap<Dot, Dot>) -> SyncedNode {
    let new = |dot: &Dot| names.get(dot).copied().unwrap_or(*dot);
    let mut after = node.clone();
    after.entries.iter_mut().for_each(|entry| entry.0 = new(&entry.0));
    after.heads.iter_mut().for_each(|dot| *dot = new(dot));
    after.head = after.head.as_ref().map(new);
    after
}
