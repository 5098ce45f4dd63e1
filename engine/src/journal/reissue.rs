//! After a refusal: what is set aside, and what goes out again.

use super::{Journal, Pending};
use annals_events::{Batch, Dot, DotSet, Draft, EntryId, Fact, Hlc, HlcClock};
use std::{collections::BTreeMap, sync::Arc};

/// What became of a journal after a refusal.
#[derive(Clone, Debug, Default)]
pub struct Reissue {
    /// The batches as they were that hold something set aside.
    pub aside: Vec<Arc<Batch>>,
    /// Their events that were refused or build on one that was.
    pub refused: DotSet,
    /// Old dot -> new dot of everything that goes out again.
    pub names: BTreeMap<Dot, Dot>,
    /// What goes out under them, in order.
    pub batches: Vec<Pending>,
}

impl Journal {
    /// Sets the events `refused` and all that builds on them aside, and signs the rest of the queue again. What
    /// was sent before the batch that holds the first of them stays as it is: the log has it.
    pub fn reissue(&mut self, refused: &DotSet, clock: &mut HlcClock, now_ms: u64) -> Reissue {
        let holds = |batch: &Batch| (0..batch.events().len()).any(|index| refused.contains(batch.dot(index)));
        let first = self.pending.iter().position(|pending| holds(&pending.batch));
        let queue: Vec<Pending> = self.pending.drain(first.unwrap_or(self.pending.len())..).collect();
        let mut out = Reissue { refused: refused.clone(), ..Reissue::default() };
        for Pending { batch, seen } in queue {
            let before = out.refused.len();
            let drafts = self.rest_of(&batch, &mut out, |_| clock.tick(now_ms));
            if out.refused.len() > before || (0..batch.events().len()).any(|i| refused.contains(batch.dot(i)))
            {
                out.aside.push(batch);
            }
            let signed = self.seal(drafts, &seen);
            out.batches.extend(signed);
        }
        out
    }

    /// The events of a batch that are not refused, under the names and with the stamps that they will have.
    pub(super) fn rest_of(
        &self,
        batch: &Batch,
        out: &mut Reissue,
        mut stamp: impl FnMut(Hlc) -> Hlc,
    ) -> Vec<Draft> {
        let (device, mut drafts) = (self.identity.device(), Vec::new());
        for (index, event) in batch.events().iter().enumerate() {
            let dot = batch.dot(index);
            let fact = (!out.refused.contains(dot))
                .then(|| renamed(&event.fact, &out.names, &out.refused))
                .flatten()
                .filter(|fact| !matches!(fact, Fact::Unknown { .. }));
            let Some(fact) = fact else {
                out.refused.insert(dot);
                continue;
            };
            let new = Dot::new(device, self.next + drafts.len() as u64);
            let mut body = batch.body(index).ok().flatten();
            if let Some(body) = &mut body {
                body.salt = self.identity.salt(new);
            }
            out.names.insert(dot, new);
            drafts.push(Draft { hlc: stamp(event.hlc), at: event.at, fact, body });
        }
        drafts
    }
}

/// `fact` under the new names; none if it builds on something that was refused. A delete and a resolution
/// merely leave out what was refused, as long as something stays.
#[must_use]
pub fn renamed(fact: &Fact, names: &BTreeMap<Dot, Dot>, refused: &DotSet) -> Option<Fact> {
    let dot = |dot: Dot| names.get(&dot).copied().unwrap_or(dot);
    let entry = |entry: EntryId| (!refused.contains(entry.0)).then(|| EntryId(dot(entry.0)));
    let rest = |set: &DotSet| set.iter().filter(|d| !refused.contains(*d)).map(dot).collect::<DotSet>();
    let some = |set: &DotSet| Some(rest(set)).filter(|rest| !rest.is_empty());
    let all = |set: &DotSet| set.iter().all(|d| !refused.contains(d)).then(|| rest(set));
    Some(match fact.clone() {
        Fact::EntryCreated { parent, entry_kind } => {
            Fact::EntryCreated { parent: entry(parent)?, entry_kind }
        }
        Fact::VersionUploaded { entry: file, parents } => {
            Fact::VersionUploaded { entry: entry(file)?, parents: all(&parents)? }
        }
        Fact::VersionsMerged { entry: file, inputs, algorithm } => {
            Fact::VersionsMerged { entry: entry(file)?, inputs: all(&inputs)?, algorithm }
        }
        Fact::EntryMoved { entry: moved, parent } => {
            Fact::EntryMoved { entry: entry(moved)?, parent: entry(parent)? }
        }
        Fact::AttributesChanged { entry: changed } => Fact::AttributesChanged { entry: entry(changed)? },
        Fact::EntryDeleted { entries, hides } => {
            Fact::EntryDeleted { entries: some(&entries)?, hides: some(&hides)? }
        }
        Fact::EntryRestored { entry: restored, place, lifts, shows } => {
            let place = match place {
                Some(place) => Some(entry(place)?),
                None => None,
            };
            Fact::EntryRestored { entry: entry(restored)?, place, lifts: rest(&lifts), shows: rest(&shows) }
        }
        Fact::ConflictResolved { entry: file, over, keep } => {
            Fact::ConflictResolved { entry: entry(file)?, over: rest(&over), keep: some(&keep)? }
        }
        Fact::EntryPurged { entries } => Fact::EntryPurged { entries: some(&entries)? },
        Fact::VersionsExpired { versions } => Fact::VersionsExpired { versions: some(&versions)? },
        other => {
            other.each_named(|dot| {
                debug_assert!(false, "{} names {dot}, which would keep its old name", other.kind())
            });
            other
        }
    })
}
