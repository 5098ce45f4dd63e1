//! A device of a history: what it has pulled, and a disk that may lag behind.

use super::Random;
use crate::reference::{Deed, deeds_of};
use annals_events::{
    Batch, BatchHeader, Body, DeviceId, Dot, DotSet, Event, Fact, Hash, Hlc, NamespaceId, PublicKey,
    VersionVector,
};
use std::{collections::BTreeSet, rc::Rc};

pub const NAMESPACE: NamespaceId = NamespaceId([7; 16]);

/// A batch as it lies in a log.
#[derive(Debug)]
pub struct Sealed {
    pub batch: Batch,
    pub deeds: Vec<Rc<Deed>>,
}

/// What a set of batches shows: of a whole log, or of what a disk shows of it.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Each after everything that its author's disk had shown.
    pub batches: Vec<Rc<Sealed>>,
}

impl Sight {
    pub fn deeds(&self) -> impl Iterator<Item = Rc<Deed>> + '_ {
        self.batches.iter().flat_map(|sealed| sealed.deeds.iter().cloned())
    }

    /// Whether everything is here that anything here claims to have pulled, and before it.
    pub fn is_closed(&self) -> bool {
        let mut here = VersionVector::new();
        self.batches.iter().all(|sealed| {
            let closed = sealed.deeds[0].seen.vector.iter().all(|dot| here.covers(dot));
            here.raise(Dot::new(sealed.batch.header().device, sealed.batch.last()));
            closed
        })
    }
}

/// A batch that is not closed yet.
#[derive(Clone, Debug)]
struct Open {
    seen: VersionVector,
    unseen: DotSet,
    events: Vec<(Event, Option<Vec<u8>>)>,
}

#[derive(Clone, Debug)]
pub struct Device {
    pub name: char,
    pub id: DeviceId,
    pub key: PublicKey,
    /// Every batch it has, in the order in which they came.
    pub arrival: Vec<Rc<Sealed>>,
    /// The same; what the disk shows first, in the order in which the disk showed it.
    log: Vec<Rc<Sealed>>,
    on_disk: usize,
    open: Option<Open>,
    counter: u64,
    clock: u64,
    seen_before: VersionVector,
    prev: Option<Hash>,
    /// Where all its choices come from.
    pub random: Random,
}

impl Device {
    pub fn new(name: char) -> Self {
        let key = PublicKey([name as u8; 32]);
        Self {
            name,
            id: DeviceId::of_key(&key),
            key,
            arrival: Vec::new(),
            log: Vec::new(),
            on_disk: 0,
            open: None,
            counter: 0,
            clock: 0,
            seen_before: VersionVector::new(),
            prev: None,
            random: Random::new(name as u64),
        }
    }

    /// One event more in the open batch, its stamp a little above every one that it has met.
    pub fn emit(&mut self, fact: Fact, body: Option<Body>) -> Dot {
        self.clock += 1 + self.random.below(3) as u64;
        self.counter += 1;
        let body = body.map(|body| body.encode());
        let event = Event {
            hlc: Hlc(self.clock),
            at: self.counter,
            fact,
            body_hash: body.as_deref().map(Body::hash_of),
        };
        if self.open.is_none() {
            let others = |sealed: &&Rc<Sealed>| sealed.batch.header().device != self.id;
            let last = |sealed: &Rc<Sealed>| Dot::new(sealed.batch.header().device, sealed.batch.last());
            let unseen = self.log[self.on_disk..].iter().flat_map(|s| s.deeds.iter().map(|deed| deed.dot));
            self.open = Some(Open {
                seen: self.log.iter().filter(others).map(last).collect(),
                unseen: unseen.collect(),
                events: Vec::new(),
            });
        }
        self.open.as_mut().expect("it was just opened").events.push((event, body));
        Dot::new(self.id, self.counter)
    }

    /// The open batch, as it is so far.
    fn sealed(&self) -> Option<Sealed> {
        let open = self.open.as_ref()?;
        let (events, bodies): (Vec<Event>, Vec<Option<Vec<u8>>>) = open.events.iter().cloned().unzip();
        let header = BatchHeader {
            namespace: NAMESPACE,
            device: self.id,
            first: self.counter + 1 - events.len() as u64,
            prev: self.prev,
            seen: open.seen.difference_to(&self.seen_before),
            unseen: open.unseen.clone(),
            events,
        };
        let batch = Batch::assemble(&header, &[0; 64], &bodies).expect("a history's batches are small");
        let (deeds, vector) = deeds_of(&batch, &self.seen_before);
        assert_eq!(vector, open.seen, "a difference makes the vector whole again");
        Some(Sealed { batch, deeds })
    }

    /// Closes the open batch. The disk shows it, even where it still lacks what was pulled before.
    pub fn seal(&mut self) {
        if let Some(sealed) = self.sealed() {
            let sealed = Rc::new(sealed);
            self.seen_before = self.open.take().expect("it was just sealed").seen;
            self.prev = Some(sealed.batch.hash());
            self.arrival.push(sealed.clone());
            self.log.insert(self.on_disk, sealed);
            self.on_disk += 1;
        }
    }

    /// Puts what `other` has into the log, or the first `part` of it: the rest builds on that, never the other
    /// way round.
    pub fn pull(&mut self, other: &mut Device, part: impl FnOnce(usize) -> usize) {
        self.seal();
        other.seal();
        let have: BTreeSet<Hash> = self.log.iter().map(|sealed| sealed.batch.hash()).collect();
        let mut new: Vec<Rc<Sealed>> =
            other.log.iter().filter(|sealed| !have.contains(&sealed.batch.hash())).cloned().collect();
        new.sort_by_key(|sealed| sealed.deeds[0].order());
        new.truncate(part(new.len()));
        for sealed in new {
            self.take(sealed);
        }
    }

    /// Puts one batch into the log.
    pub fn take(&mut self, sealed: Rc<Sealed>) {
        self.clock = sealed.deeds.iter().map(|deed| deed.hlc.0).fold(self.clock, u64::max);
        self.arrival.push(sealed.clone());
        self.log.push(sealed);
    }

    /// Brings the disk up to the log.
    pub fn materialise(&mut self) {
        self.seal();
        self.on_disk = self.log.len();
    }

    /// What its folder shows.
    pub fn disk(&self) -> Sight {
        let open = self.sealed().map(Rc::new);
        Sight { batches: self.log[..self.on_disk].iter().cloned().chain(open).collect() }
    }

    /// What its log holds.
    pub fn whole(&self) -> Sight {
        let open = self.sealed().map(Rc::new);
        Sight { batches: self.arrival.iter().cloned().chain(open).collect() }
    }

    /// What both logs hold together.
    pub fn together(&mut self, other: &mut Device) -> Sight {
        self.seal();
        other.seal();
        let have: BTreeSet<Hash> = self.arrival.iter().map(|sealed| sealed.batch.hash()).collect();
        let rest = other.arrival.iter().filter(|sealed| !have.contains(&sealed.batch.hash()));
        Sight { batches: self.arrival.iter().chain(rest).cloned().collect() }
    }
}
