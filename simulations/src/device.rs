//! A device: what of it survives the loss of its power, and the production replica and rounds on top.
//!
//! [`Machine`] is the twin of everything that a round needs ([`Host`]). What it was told to persist or keep is there
//! after a crash; of a call that failed because the power went, it may be.

use crate::{
    chunk_store::TwinChunks,
    clock::MachineClock,
    disk::{TwinDisk, Volume},
    point::{Moment, Point},
    random::Seed,
    transport::TwinTransport,
    turns::TwinTurns,
};
use annals_engine::{
    clock::Clock,
    content::{self, Chunker, SealedChunk, Sealer},
    disk::{Disk, DiskError, Reading},
    journal::Identity,
    names::NameRules,
    replica::{Effect, Input, Replica, StateChange},
    round::{
        Begun, FileRead, FileToRead, Host, KeptRecords, MemoryLists, Parts, Report, RoundError, Step,
        StoreError, Take, Turns as _, Unreadable, Wish, exchange,
    },
};
use annals_events::{ChunkId, ChunkRef, Content, DeviceId, Record, Seq, log::Logged, log::Position};
use std::{cell::RefCell, io::Read, rc::Rc, sync::Arc};

/// A device's machine.
pub struct Machine {
    /// Who it is.
    pub identity: Identity,
    /// Its folder, as the person has it.
    pub volume: Rc<RefCell<Volume>>,
    /// Its way to the server.
    pub transport: TwinTransport,
    /// Where others get their turn.
    pub point: Point,
    clock: MachineClock,
    disk: TwinDisk,
    outbox: TwinChunks,
    lists: MemoryLists,
    state: Vec<Vec<u8>>,
    records: Kept,
    sealer: Sealer,
    turns: TwinTurns,
    begun: Begun,
    /// What sweeps could not put back and the replica was not told yet.
    homeless: Vec<String>,
}

#[derive(Default)]
struct Kept(Vec<Arc<Record>>);

impl KeptRecords for Kept {
    fn at(&self, position: u64) -> Result<Arc<Record>, StoreError> {
        let place = usize::try_from(position).ok().and_then(|position| position.checked_sub(1));
        let record = place.and_then(|place| self.0.get(place)).cloned();
        record.ok_or_else(|| StoreError::Damaged {
            place: format!("record {position}"),
            what: "it is not there".into(),
        })
    }
}

impl Machine {
    /// A machine that was never used.
    #[must_use]
    pub fn new(identity: Identity, clock: MachineClock, transport: TwinTransport, point: Point) -> Self {
        // The name of a device is a hash: as good as a coin.
        let tells_births = identity.device().0[0].is_multiple_of(2);
        let volume = Rc::new(RefCell::new(Volume::new(clock.clone(), tells_births)));
        Self {
            identity,
            disk: TwinDisk::new(volume.clone(), point.clone()),
            volume,
            transport,
            point,
            clock,
            outbox: TwinChunks::default(),
            lists: MemoryLists::default(),
            state: Vec::new(),
            records: Kept::default(),
            sealer: Sealer::new(),
            turns: TwinTurns::new(Seed(0), 0),
            begun: Begun::default(),
            homeless: Vec::new(),
        }
    }

    /// The same, of which somebody wants something now and then while a round is at work.
    #[must_use]
    pub fn taking_turns(self, turns: TwinTurns) -> Self {
        Self { turns, ..self }
    }

    /// The records that it keeps.
    #[must_use]
    pub fn records(&self) -> &[Arc<Record>] {
        &self.records.0
    }

    fn powered(&self, moment: Moment) -> Result<(), StoreError> {
        self.point.pass(moment);
        let gone = || StoreError::Failed { place: "the machine".into(), what: "the power is gone".into() };
        self.point.has_power().then_some(()).ok_or_else(gone)
    }

    fn cut_one(
        &mut self,
        file: &FileToRead,
        wanted: &(dyn Fn(&ChunkId) -> bool + Sync),
    ) -> Result<(FileRead, Vec<SealedChunk>), Unreadable> {
        let disk_failed = |error: DiskError| Unreadable {
            passing: matches!(error, DiskError::Missing { .. }),
            why: error.to_string(),
        };
        let mut reading = self.disk.open_read(&file.path).map_err(disk_failed)?;
        let node = reading.node().map_err(disk_failed)?;
        let mut bytes = Vec::new();
        reading.read_to_end(&mut bytes).expect("it is in memory");
        let cut = content::cut_for(node.size, file.replaced.as_ref().map(|content| content.cut));
        let chunker = Chunker::new(cut).expect("the sizes are known");
        let (mut chunks, mut sealed) = (Vec::new(), Vec::new());
        for plain in chunker.cut_whole(&bytes) {
            let id = ChunkId::of(plain);
            chunks.push(ChunkRef { bytes: u32::try_from(plain.len()).expect("a chunk is small"), id });
            if wanted(&id) {
                sealed.push(self.sealer.seal(id, plain.to_vec()));
            }
        }
        let mut all = chunks.clone();
        let (content, manifest) = content::assemble(cut, chunks)
            .map_err(|error| Unreadable { why: error.to_string(), passing: false })?;
        if let Some((manifest, root)) = manifest.zip(content.manifest) {
            all.push(root);
            if wanted(&root.id) {
                sealed.push(self.sealer.seal(root.id, manifest));
            }
        }
        let after = reading.node().map_err(disk_failed)?;
        if after.identity() != node.identity() {
            return Err(Unreadable { why: "it changed while it was read".into(), passing: true });
        }
        Ok((FileRead { node, content, chunks: all, grew: false }, sealed))
    }
}

/// What `bytes` are called when they are cut as a new file.
///
/// # Panics
/// For more bytes than a simulation should hold.
#[must_use]
pub fn content_of(bytes: &[u8]) -> Content {
    let cut = content::cut_for(bytes.len() as u64, None);
    let chunker = Chunker::new(cut).expect("the sizes are known");
    let chunk = |plain: &[u8]| ChunkRef {
        bytes: u32::try_from(plain.len()).expect("a chunk is small"),
        id: ChunkId::of(plain),
    };
    content::assemble(cut, chunker.cut_whole(bytes).map(chunk).collect()).expect("it is small").0
}

impl Host for Machine {
    type Disk = TwinDisk;

    fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    fn parts(&mut self) -> Parts<'_, TwinDisk> {
        Parts {
            disk: &mut self.disk,
            transport: &self.transport,
            outbox: &self.outbox,
            records: &self.records,
            lists: &self.lists,
            turns: &self.turns,
        }
    }

    fn persist(&mut self, changes: &[StateChange]) -> Result<(), StoreError> {
        self.powered(Moment::Persist)?;
        self.state.push(StateChange::encode(changes));
        self.powered(Moment::Persist)
    }

    fn keep(&mut self, records: Vec<Arc<Record>>) -> Result<Vec<Logged>, StoreError> {
        self.powered(Moment::Persist)?;
        let first = self.records.0.len() as u64 + 1;
        self.records.0.extend(records.iter().cloned());
        self.powered(Moment::Persist)?;
        let logged = |(position, record)| Logged { position: Position(position), record };
        Ok((first..).zip(records).map(logged).collect())
    }

    fn records(&mut self) -> Result<Vec<Arc<Record>>, StoreError> {
        Ok(self.records.0.clone())
    }

    fn replace_records(&mut self, common: Seq, records: Vec<Arc<Record>>) -> Result<(), StoreError> {
        self.powered(Moment::Persist)?;
        self.records.0.retain(|record| record.last_seq() <= common);
        self.records.0.extend(records);
        self.powered(Moment::Persist)
    }

    fn reopen(&mut self) -> Result<Replica, StoreError> {
        let damaged = |what: String| StoreError::Damaged { place: "the state".into(), what };
        let changes: Result<Vec<Vec<StateChange>>, _> =
            self.state.iter().map(|bytes| StateChange::decode(bytes)).collect();
        let changes = changes.map_err(|error| damaged(error.to_string()))?.into_iter().flatten();
        let records = (1u64..).zip(&self.records.0);
        let records =
            records.map(|(position, record)| Logged { position: Position(position), record: record.clone() });
        Replica::reopen(self.identity.clone(), NameRules::default(), changes, records)
            .map_err(|error| damaged(error.to_string()))
    }

    fn cut(
        &mut self,
        files: &[FileToRead],
        wanted: &(dyn Fn(&ChunkId) -> bool + Sync),
        take: &mut Take<'_>,
    ) -> Result<Vec<Result<FileRead, Unreadable>>, RoundError> {
        let mut answers = Vec::with_capacity(files.len());
        for file in files {
            let answer = self.cut_one(file, wanted).map(|(read, sealed)| {
                let mut give = |chunk| match self.turns.goes_on() {
                    true => take(chunk, &self.transport, &self.outbox),
                    false => Err(RoundError::GaveWay),
                };
                let given = sealed.into_iter().try_for_each(&mut give);
                given.map(|()| read)
            });
            answers.push(match answer {
                Ok(given) => Ok(given?),
                Err(why) => Err(why),
            });
        }
        Ok(answers)
    }

    fn empty_outbox(&mut self) {
        // As on a real device the store is dropped; whoever holds the old one sees nothing of it.
        self.outbox = TwinChunks::default();
    }

    fn others_wait(&self) -> bool {
        self.turns.others_wait()
    }

    fn begun(&mut self) -> &mut Begun {
        &mut self.begun
    }

    fn progress(&mut self, _: Step) {}
}

/// So many rounds in a row give way: what is half fetched is not kept here, as a real disk would.
const INTERRUPTIONS_MAX: usize = 12;

/// A device at work.
pub struct Device {
    /// What survives.
    pub machine: Machine,
    /// What does not; none after a crash.
    replica: Option<Replica>,
}

impl Device {
    /// Linked a moment ago.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        let replica = Replica::new(machine.identity.clone(), NameRules::default());
        Self { machine, replica: Some(replica) }
    }

    /// Its name in the log.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        self.machine.identity.device()
    }

    /// Everything exchanged, as far as it goes.
    ///
    /// # Errors
    /// As [`exchange`]. Without power the device has to be [started](Self::start) again.
    pub fn round(&mut self, wish: Wish) -> Result<Report, RoundError> {
        let mut wish = wish;
        for nth in 0.. {
            self.start()?;
            self.machine.turns.begin(nth < INTERRUPTIONS_MAX);
            let replica = self.replica.as_mut().expect("it was just started");
            let (report, done) = exchange(replica, &mut self.machine, wish.clone());
            if !self.machine.point.has_power() {
                self.replica = None;
            }
            match done {
                // Nobody wanted more than that it gave way.
                Err(RoundError::GaveWay) => wish.look = report.put_off.expect("it says where it goes on"),
                done => return done.map(|()| report),
            }
        }
        unreachable!("in the end nobody interrupts it")
    }

    /// The power goes.
    pub fn crash(&mut self) {
        self.machine.point.lose_power();
        self.replica = None;
    }

    /// Comes up again if it is down: sweeps the folder, then goes on from what was written down. `None` of it is
    /// written anew.
    fn start(&mut self) -> Result<(), RoundError> {
        if self.replica.is_some() && self.machine.point.has_power() {
            return Ok(());
        }
        self.machine.point.start();
        self.machine.begun.clear();
        let swept = self.machine.disk.sweep()?;
        let mut replica = self.machine.reopen()?;
        self.machine.homeless.extend(swept.kept.into_iter().map(|(path, _)| path));
        // What the sweep could not put back was removed by nobody; it is told until it is written down.
        let now_ms = self.machine.now_ms();
        for effect in replica.step(now_ms, Input::Swept { kept: self.machine.homeless.clone() }) {
            if let Effect::Persist(changes) = effect {
                self.machine.persist(&changes)?;
            }
        }
        self.machine.homeless.clear();
        self.replica = Some(replica);
        Ok(())
    }

    /// Writes down what it knows as if it had been from the beginning, in place of how it came to know it.
    pub fn compact(&mut self) {
        if let Some(replica) = &self.replica {
            let state: Vec<StateChange> = replica.state().collect();
            self.machine.state = vec![StateChange::encode(&state)];
        }
    }

    /// What it knows, if it has power.
    #[must_use]
    pub fn replica(&self) -> Option<&Replica> {
        self.replica.as_ref()
    }

    /// As [`replica`](Self::replica), for questions that fill a cache.
    pub fn replica_mut(&mut self) -> Option<&mut Replica> {
        self.replica.as_mut()
    }
}
