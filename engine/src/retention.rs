//! What a namespace may forget by now: versions that were replaced, and entries that were removed, longer ago than its
//! retention; and the devices that stand in the way of that and were silent too long.
//!
//! What must always hold (I3): nothing is named that is shown, that a conflict still open was made from, or that some
//! device of the namespace has not said it knows to be gone; a folder goes after what is in it. Counted from when it was
//! replaced or removed, not from when it was made. It is a proposal: admission judges each event by itself.
//!
//! Left out: whose turn it is to ask, and when (the server does, at its start and once a day).

use crate::{
    namespace::Issued,
    trash::{behind, deletes_of, forget_floor, forgetting, in_parts, known_from},
};
use annals_events::{DeviceId, Dot, EntryId, Fact, Seq};
use annals_projections::Projections;
use std::collections::{BTreeMap, BTreeSet};

/// What may be forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ripe {
    /// Devices that were silent too long while something waits for them.
    pub devices: Vec<DeviceId>,
    /// Versions whose contents may go.
    pub versions: BTreeSet<Dot>,
    /// Entries of the trash.
    pub entries: BTreeSet<EntryId>,
}

impl Ripe {
    /// What a server says about the silent devices: to be admitted before the rest is asked for again.
    #[must_use]
    pub fn retirements(&self, log: &Projections) -> Vec<Issued> {
        let retired = self.devices.iter().filter_map(|device| {
            let last = log.devices().get(*device)?.last_counter;
            Some(Issued { fact: Fact::DeviceRetired { device: *device, last }, body: None })
        });
        retired.collect()
    }

    /// What it says about the rest, each event small enough for a batch of its own.
    #[must_use]
    pub fn events(&self) -> Vec<Issued> {
        let expired = in_parts(self.versions.iter().copied());
        let expired = expired.into_iter().map(|versions| Fact::VersionsExpired { versions });
        let purged = forgetting(self.entries.iter().copied());
        expired.chain(purged).map(|fact| Issued { fact, body: None }).collect()
    }

    /// Whether there is nothing to forget.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.versions.is_empty() && self.entries.is_empty()
    }
}

/// What may be forgotten at `now_ms`. `heard` says when each device was last here, as far as the server knows; without
/// it no device is retired, for one that only listens says nothing that the log would hold.
#[must_use]
pub fn due(log: &Projections, now_ms: u64, heard: Option<&BTreeMap<DeviceId, u64>>) -> Ripe {
    let Some(keep) = log.retention().versions() else { return Ripe::default() };
    let mut look = Look { log, floor: forget_floor(log), past: now_ms.checked_sub(keep), waits: None };
    let mut due = Ripe { versions: look.versions(), entries: look.entries(), ..Ripe::default() };
    if let (Some(heard), Some(seq), Some(silence)) = (heard, look.waits, log.retention().silence()) {
        let silent = |device: &DeviceId| {
            let last = last_here(log, *device).max(heard.get(device).copied());
            last.is_none_or(|last| now_ms.saturating_sub(last) >= silence)
        };
        due.devices = behind(log, seq).into_iter().filter(silent).collect();
    }
    due
}

/// What is kept now and could not be brought back any more if all were kept for `keep_ms` only: some of it at once, the
/// rest as soon as every device knows.
#[must_use]
pub fn would_go(log: &Projections, now_ms: u64, keep_ms: u64) -> Ripe {
    let mut look = Look { log, floor: Seq(u64::MAX), past: now_ms.checked_sub(keep_ms), waits: None };
    Ripe { versions: look.versions(), entries: look.entries(), devices: Vec::new() }
}

/// What is old enough to be forgotten, and waits for somebody to know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Versions whose contents may go then.
    pub versions: u64,
    /// Entries of the trash.
    pub entries: u64,
    /// The devices that have not said that they know.
    pub devices: BTreeSet<DeviceId>,
}

/// What waits at `now_ms`.
#[must_use]
pub fn waiting(log: &Projections, now_ms: u64) -> Waiting {
    let Some(keep) = log.retention().versions() else { return Waiting::default() };
    let mut look = Look { log, floor: forget_floor(log), past: now_ms.checked_sub(keep), waits: None };
    let (versions, entries) = (look.versions(), look.entries());
    let all = would_go(log, now_ms, keep);
    Waiting {
        versions: all.versions.difference(&versions).count() as u64,
        entries: all.entries.difference(&entries).count() as u64,
        devices: look.waits.map(|seq| behind(log, seq)).unwrap_or_default(),
    }
}

/// When a device said something last, or was linked.
fn last_here(log: &Projections, device: DeviceId) -> Option<u64> {
    let state = log.devices().get(device)?;
    state.last_admitted_at.max(state.linked_at.and_then(|seq| log.admitted_at(seq)))
}

struct Look<'a> {
    log: &'a Projections,
    floor: Seq,
    /// What was replaced or removed then or before may go; none while nothing is that old.
    past: Option<u64>,
    /// The last event that some device still has to know before something may go whose time has come.
    waits: Option<Seq>,
}

impl Look<'_> {
    /// Whether the time of what this event took has come, and every device knows of it.
    fn is_past(&mut self, by: Dot) -> bool {
        let Some((seq, at)) = self.log.admitted(by) else { return false };
        let old = self.past.is_some_and(|past| at <= past);
        if old && seq > self.floor {
            self.waits = self.waits.max(Some(seq));
        }
        old && seq <= self.floor
    }

    fn any_past(&mut self, by: &[Dot]) -> bool {
        by.iter().any(|dot| self.is_past(*dot))
    }

    fn versions(&mut self) -> BTreeSet<Dot> {
        let mut found = BTreeSet::new();
        for file in self.log.edited() {
            if self.log.entry(file).is_none_or(|entry| entry.purged) {
                continue;
            }
            let (superseded, needed) = (self.log.superseded(file), merge_bases(self.log, file));
            let nobody = Vec::new();
            for version in self.log.versions(file) {
                let Some(view) = self.log.version(version).filter(|view| view.retained) else { continue };
                if needed.contains(&version) {
                    continue;
                }
                let mut by = superseded.get(&version).unwrap_or(&nobody).clone();
                if view.merge {
                    by.extend(view.parents.iter().flat_map(|input| superseded.get(input).unwrap_or(&nobody)));
                }
                let dropped = by.is_empty() && !self.log.heads(file).contains(&version);
                if dropped {
                    by = self.log.dropped_by(version);
                }
                if self.any_past(&by) {
                    found.insert(version);
                }
            }
        }
        found
    }

    fn entries(&mut self) -> BTreeSet<EntryId> {
        let (mut ripe, mut left) = (BTreeSet::new(), Vec::new());
        for entry in self.log.removed() {
            // All that hides it is old, and all of it is known: what a later delete hides was there until then.
            let old = deletes_of(self.log, entry).iter().all(|delete| {
                let at = self.log.admitted(delete).map(|(_, at)| at);
                at.zip(self.past).is_some_and(|(at, past)| at <= past)
            });
            let known = known_from(self.log, entry);
            if let Some(seq) = known.filter(|seq| old && *seq > self.floor) {
                self.waits = self.waits.max(Some(seq));
            }
            if old && known.is_some_and(|seq| seq <= self.floor) {
                ripe.insert(entry);
            } else {
                left.push(entry);
            }
        }
        for entry in left {
            for folder in self.log.ancestors(entry) {
                ripe.remove(&folder);
            }
        }
        ripe
    }
}

/// The versions from which the heads of a file that has several parted: a merge of them needs those.
fn merge_bases(log: &Projections, file: EntryId) -> BTreeSet<Dot> {
    let heads = log.human_heads(file);
    let mut bases = BTreeSet::new();
    if heads.len() < 2 {
        return bases;
    }
    let histories: Vec<BTreeSet<Dot>> = heads.iter().map(|head| history_of(log, *head)).collect();
    for (nth, one) in histories.iter().enumerate() {
        for other in &histories[nth + 1..] {
            let common: BTreeSet<Dot> = one.intersection(other).copied().collect();
            let below = |dot: &Dot| log.version(*dot).map(|view| view.parents).unwrap_or_default();
            let earlier: BTreeSet<Dot> = common.iter().flat_map(below).collect();
            bases.extend(common.difference(&earlier));
        }
    }
    bases
}

fn history_of(log: &Projections, version: Dot) -> BTreeSet<Dot> {
    let (mut found, mut todo) = (BTreeSet::new(), vec![version]);
    while let Some(dot) = todo.pop() {
        if found.insert(dot) {
            todo.extend(log.version(dot).map(|view| view.parents).unwrap_or_default());
        }
    }
    found
}
