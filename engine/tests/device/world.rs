//! Devices around one server, all in one thread.

use crate::folder::Folder;
use annals_engine::{
    admission::{self, Facts, Refusal, Verdict},
    author::Removals,
    journal::Identity,
    names::NameRules,
    observed::LocalTree,
    replica::{Effect, Input, Notice, Reach, Replica, StateChange},
};
use annals_events::{
    Batch, Body, ChunkId, ChunkRef, Content, ContentId, Cut, DeviceId, DotSet, Draft, Fact, HlcClock,
    NamespaceId, PublicKey, Record, Role, UserId, VersionVector, log::Logged, log::Position,
};
use annals_projections::{Projections, Scope};
use ed25519_dalek::SigningKey;
use std::{collections::BTreeMap, sync::Arc};

pub(crate) const NAMESPACE: NamespaceId = NamespaceId([9; 16]);

pub(crate) fn content(text: &str) -> Content {
    let chunks = if text.is_empty() {
        vec![]
    } else {
        vec![ChunkRef { bytes: text.len() as u32, id: ChunkId::of(text.as_bytes()) }]
    };
    Content::new(Cut::SMALL, chunks).0
}

pub(crate) struct Server {
    pub(crate) key: SigningKey,
    pub(crate) projections: Projections,
    pub(crate) log: Vec<Logged>,
    clock: HlcClock,
    counter: u64,
}

impl Server {
    pub(crate) fn new() -> Self {
        let key = SigningKey::from_bytes(&[200; 32]);
        let mut server = Self {
            key,
            projections: Projections::new(NAMESPACE, Scope::Server),
            log: Vec::new(),
            clock: HlcClock::default(),
            counter: 0,
        };
        let public = PublicKey(server.key.verifying_key().to_bytes());
        let created = Fact::NamespaceCreated { owner: user(0), server: public };
        server.say(created, Body { label: Some("home".into()), ..Body::default() });
        server
    }

    pub(crate) fn say(&mut self, fact: Fact, body: Body) {
        let device = DeviceId::of_key(&PublicKey(self.key.verifying_key().to_bytes()));
        let (prev, before) = match self.projections.devices().get(device) {
            Some(state) => (state.last_batch, state.seen.clone()),
            None => (None, VersionVector::new()),
        };
        let seen: VersionVector = self
            .projections
            .devices()
            .iter()
            .filter(|(d, state)| *d != device && state.last_counter > 0)
            .map(|(d, state)| annals_events::Dot::new(d, state.last_counter))
            .collect();
        let draft = Draft { hlc: self.clock.tick(1_000), at: 1_000, fact, body: Some(body) };
        self.counter += 1;
        let batch =
            Batch::sign(&self.key, NAMESPACE, self.counter, prev, &before, &seen, DotSet::new(), vec![draft]);
        self.admit(&batch.unwrap()).expect("a server's own events are admissible");
    }

    pub(crate) fn link(&mut self, key: &SigningKey, of: UserId, label: &str) {
        let key = PublicKey(key.verifying_key().to_bytes());
        let body = Body { label: Some(label.into()), user_name: Some("ann".into()), ..Body::default() };
        self.say(Fact::DeviceLinked { key, user: of, continues: None }, body);
    }

    pub(crate) fn admit(&mut self, batch: &Batch) -> Result<(), Refusal> {
        let mut facts = Facts::default();
        let needs = admission::Needs::of(batch, &self.projections);
        if let Some(dot) = needs.stored_under {
            let (position, _) = self.projections.locate(dot).unwrap();
            facts.stored = Some(self.log[position as usize].record.batch().hash());
        }
        if admission::judge(batch, &self.projections, &facts)? == Verdict::Again {
            return Ok(());
        }
        let head = self.projections.head();
        let record =
            Record::admit(batch.clone(), &self.key, 0, annals_events::Seq(head.seq.0 + 1), head.chain, 5);
        let position = self.log.len() as u64;
        self.projections.apply(record.batch(), Some(record.admission()), position).unwrap();
        for event in batch.events() {
            self.clock.observe(event.hlc);
        }
        self.log.push(Logged { position: Position(position), record: Arc::new(record) });
        Ok(())
    }
}

pub(crate) fn user(n: u8) -> UserId {
    UserId([n + 1; 16])
}

pub(crate) struct Device {
    pub(crate) replica: Replica,
    pub(crate) folder: Folder,
    pub(crate) notices: Vec<Notice>,
    pub(crate) records: Vec<Logged>,
    frames: Vec<Vec<u8>>,
    /// What it added up to at some time, and how many frames and records there were.
    checkpoint: Option<(Vec<u8>, usize, usize)>,
    identity: Identity,
    /// Effects until the power goes, if it does.
    pub(crate) power: Option<u32>,
    pub(crate) wants_scan: bool,
    /// What a person does right before the next operations.
    pub(crate) meanwhile: Option<fn(&mut Folder)>,
    pub(crate) removals: Removals,
    pub(crate) now_ms: u64,
}

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) devices: Vec<Device>,
    pub(crate) contents: BTreeMap<ContentId, String>,
}

impl World {
    pub(crate) fn new(count: usize) -> Self {
        let mut world = Self { server: Server::new(), devices: Vec::new(), contents: BTreeMap::new() };
        (0..count).for_each(|n| world.link(n as u8, user(0)));
        world
    }

    pub(crate) fn link(&mut self, n: u8, of: UserId) {
        let key = SigningKey::from_bytes(&[n + 1; 32]);
        self.server.link(&key, of, &format!("device{n}"));
        let identity = Identity { namespace: NAMESPACE, key };
        self.devices.push(Device {
            replica: Replica::new(identity.clone(), NameRules::default()),
            // Of each kind of file system there is one among two devices.
            folder: Folder::on_a_disk(n.is_multiple_of(2)),
            notices: Vec::new(),
            records: Vec::new(),
            frames: Vec::new(),
            checkpoint: None,
            identity,
            power: None,
            wants_scan: false,
            meanwhile: None,
            removals: Removals::Accept,
            now_ms: 1_000 + u64::from(n) * 7,
        });
    }

    pub(crate) fn grant(&mut self, by: usize, to: UserId, role: Option<Role>) {
        let fact = match role {
            Some(role) => Fact::MemberGranted { user: to, role },
            None => Fact::MemberRevoked { user: to },
        };
        let body = role.map(|_| Body { user_name: Some("bob".into()), ..Body::default() });
        let said = annals_engine::author::Said { fact, body };
        self.step(by, Input::Asked { deeds: vec![annals_engine::author::Deed(vec![said])] });
        self.push(by);
    }

    /// Feeds an input and performs what follows, until nothing does or the power goes.
    pub(crate) fn step(&mut self, d: usize, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let device = &mut self.devices[d];
            device.now_ms += 3;
            let effects = device.replica.step(device.now_ms, input);
            for effect in effects {
                if let Some(left) = &mut device.power {
                    if *left == 0 {
                        device.power = None;
                        if let Effect::Materialise(plan) = effect {
                            device.folder.apply(&plan.ops[..plan.ops.len() / 2], &self.contents);
                        }
                        return self.restart(d);
                    }
                    *left -= 1;
                }
                match effect {
                    Effect::Persist(changes) => {
                        let bytes = StateChange::encode(&changes);
                        assert_eq!(StateChange::decode(&bytes).unwrap(), changes);
                        device.frames.push(bytes);
                    }
                    Effect::Submit(_) => {}
                    Effect::Materialise(plan) => {
                        device.meanwhile.take().into_iter().for_each(|act| act(&mut device.folder));
                        let outcomes = device.folder.apply(&plan.ops, &self.contents);
                        device.folder.kept.clear();
                        inputs.push(Input::Materialised { outcomes });
                    }
                    Effect::Scan | Effect::Glance => device.wants_scan = true,
                    Effect::Reopen => return self.restart(d),
                    Effect::Notice(notice) => {
                        assert_ne!(notice, Notice::Restless, "device {d}");
                        assert!(!matches!(notice, Notice::Lineage(_)), "{notice:?}");
                        device.notices.push(notice);
                    }
                }
            }
        }
    }

    /// The replica that a device has after a restart.
    pub(crate) fn reopened(&self, d: usize) -> Replica {
        let device = &self.devices[d];
        let changes: Vec<StateChange> =
            device.frames.iter().flat_map(|bytes| StateChange::decode(bytes).unwrap()).collect();
        let identity = device.identity.clone();
        let whole =
            Replica::reopen(identity.clone(), NameRules::default(), changes, device.records.clone()).unwrap();
        let Some((bytes, frames, records)) = &device.checkpoint else { return whole };
        let resumed = Replica::from_checkpoint(identity, NameRules::default(), bytes).unwrap();
        let changes = device.frames[*frames..].iter().flat_map(|bytes| StateChange::decode(bytes).unwrap());
        let resumed = resumed.resume(changes, device.records[*records..].to_vec()).unwrap();
        assert_eq!(resumed.synced(), whole.synced());
        assert_eq!(resumed.log().digests(), whole.log().digests());
        assert_eq!((resumed.cursor(), resumed.next()), (whole.cursor(), whole.next()));
        assert_eq!(resumed.aside(), whole.aside());
        assert!(resumed.pending().eq(whole.pending()));
        resumed
    }

    /// Keeps what a device adds up to now and then, if it is at rest.
    fn keep_checkpoint(&mut self, d: usize) {
        let device = &mut self.devices[d];
        if device.now_ms.is_multiple_of(5)
            && let Some(bytes) = device.replica.checkpoint()
        {
            device.checkpoint = Some((bytes, device.frames.len(), device.records.len()));
        }
    }

    pub(crate) fn restart(&mut self, d: usize) {
        let replica = self.reopened(d);
        let device = &mut self.devices[d];
        device.replica = replica;
        // What was compacted must be the same.
        let state: Vec<StateChange> = device.replica.state().collect();
        device.frames = vec![StateChange::encode(&state)];
        device.checkpoint = None;
        device.wants_scan = true;
        let kept = std::mem::take(&mut device.folder.kept);
        self.step(d, Input::Swept { kept });
    }

    pub(crate) fn scan(&mut self, d: usize) {
        let device = &mut self.devices[d];
        if device.replica.is_working() {
            return;
        }
        let scan = device.folder.scan();
        let (mut local, unread) = LocalTree::of(scan, device.replica.synced());
        for path in unread {
            let text = device.folder.text(&path).to_owned();
            let content = content(&text);
            self.contents.insert(content.id, text);
            local.read(&path, &device.folder.look(&path).unwrap(), content, false);
        }
        device.wants_scan = false;
        let removals = device.removals;
        self.step(d, Input::Looked { local, reach: Reach::Whole, removals });
    }

    /// A round of a device that finds nothing to do, and what it says then.
    pub(crate) fn rest(&mut self, d: usize) {
        self.scan(d);
        self.push(d);
        self.pull(d, usize::MAX);
        self.step(d, Input::Rested);
        self.push(d);
        self.pull(d, usize::MAX);
    }

    pub(crate) fn push(&mut self, d: usize) {
        loop {
            let pending: Vec<Arc<Batch>> = self.devices[d].replica.pending().cloned().collect();
            let refused =
                pending.into_iter().find_map(|batch| self.server.admit(&batch).err().map(|why| (batch, why)));
            let Some((batch, why)) = refused else { return };
            self.refuse(d, &batch, why);
        }
    }

    /// What is pending has this or that much to send, by `n`, and goes in the order that is better for that. What the log
    /// has of it by then is known, as it is in a round.
    pub(crate) fn order(&mut self, d: usize, n: u8) {
        self.pull(d, usize::MAX);
        let replica = &self.devices[d].replica;
        let cost = |place: usize| [0, 1, 4, 16, 64][(n as usize + 7 * place) % 5] << 20;
        let costs: Vec<u64> = (0..replica.pending().count()).map(cost).collect();
        if let Some(order) = replica.order_of_pending(&costs, 1 << 18) {
            self.step(d, Input::Ordered { order });
        }
    }

    fn refuse(&mut self, d: usize, batch: &Batch, why: Refusal) {
        assert!(
            matches!(why, Refusal::Forbidden { .. }),
            "device {d} made a batch that is not admissible: {why}\n{batch:?}"
        );
        let (batch, why) = (batch.hash(), why.to_string());
        self.step(d, Input::Refused { batch, dots: Vec::new(), why, lost: false });
    }

    pub(crate) fn pull(&mut self, d: usize, most: usize) {
        // As a round does, also one that is ended by that.
        while self.devices[d].replica.is_half_done() && !self.devices[d].replica.is_working() {
            self.scan(d);
        }
        let device = &mut self.devices[d];
        if device.replica.is_working() {
            return;
        }
        let from = device.records.len();
        let to = self.server.log.len().min(from.saturating_add(most));
        let records = self.server.log[from..to].to_vec();
        device.records.extend(records.iter().cloned());
        let caught_up = to == self.server.log.len();
        self.step(d, Input::Pulled { records, caught_up });
        self.keep_checkpoint(d);
    }

    /// Whoever stored to files through memory maps closes them, and the device hears of that.
    pub(crate) fn close_maps(&mut self, d: usize) {
        let device = &mut self.devices[d];
        device.replica.doubt(&device.folder.mapped());
    }

    /// Everybody scans, pushes and pulls until nothing changes any more.
    pub(crate) fn heal(&mut self) {
        for d in 0..self.devices.len() {
            self.devices[d].power = None;
        }
        for round in 0.. {
            let before = self.server.log.len();
            for d in 0..self.devices.len() {
                if round < 2 {
                    // Twice: below a folder that moved nothing is known under its name before a look.
                    self.close_maps(d);
                }
                self.scan(d);
                self.push(d);
                self.pull(d, usize::MAX);
            }
            let settled =
                self.devices.iter_mut().all(|device| device.replica.is_settled() && !device.wants_scan);
            if settled && self.server.log.len() == before {
                return;
            }
            assert!(round < 12, "no rest after {round} rounds: {:#?}", self.unsettled());
        }
    }

    fn unsettled(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        for (n, device) in self.devices.iter_mut().enumerate() {
            let pending = device.replica.pending().count();
            let blocked = device.replica.blocked().clone();
            let remote = device.replica.remote().clone();
            out.push(format!(
                "device {n}: {pending} pending, blocked {blocked:?}, {:?}",
                device.notices.last()
            ));
            for (path, there) in &remote.nodes {
                let here = device.replica.synced().get(path);
                if here.as_ref().is_none_or(|here| !here.agrees(there)) {
                    out.push(format!("device {n}: {path}: {here:?} against {there:?}"));
                }
            }
            for (path, here) in device.replica.synced().iter() {
                if !remote.nodes.contains_key(&path) {
                    out.push(format!("device {n}: {path}: {here:?} against nothing"));
                }
            }
        }
        out
    }

    pub(crate) fn assert_equal(&mut self) {
        let first = self.devices[0].folder.picture();
        for n in 0..self.devices.len() {
            assert_eq!(self.devices[n].folder.picture(), first, "device {n} differs from device 0");
            let device = &mut self.devices[n];
            let shown: Vec<String> = device.replica.remote().nodes.keys().cloned().collect();
            let here: Vec<String> = device.folder.names.keys().cloned().collect();
            assert_eq!(here, shown, "device {n} differs from its log");
        }
    }

    pub(crate) fn events(&self) -> usize {
        self.server.log.iter().map(|logged| logged.record.batch().events().len()).sum()
    }

    pub(crate) fn facts(&self) -> Vec<&'static str> {
        let kinds = self.server.log.iter().flat_map(|logged| logged.record.batch().events());
        let kinds = kinds.map(|event| event.fact.kind());
        kinds.map(|kind| *Fact::KINDS.iter().find(|known| **known == kind).unwrap()).collect()
    }
}
