//! The whole loop on a page: devices of one user, their folders and people, one server, and what befalls them.
//!
//! ```text
//!   chaos: people act, rounds run and are interrupted, machines crash, links are cut
//!   healing: no faults; rounds until nothing changes any more, a bounded number of them
//!   checks: what must hold now
//!   alone: one person after the other acts while all are in sync; everybody must see exactly what they did
//! ```
//!
//! Everything is drawn from one seed. While a device is at work, [`Point`]s give the others their turn.

use crate::{
    checkers,
    clock::WorldTime,
    device::{Device, Machine},
    disk::{Visible, Volume},
    faults::{LinkFaults, Options},
    point::{Moment, Point},
    random::{Random, Seed},
    trace::Trace,
    transport::{Backup, TwinServer, TwinTransport, public},
    turns::TwinTurns,
    workload::{self, Diary},
};
use annals_engine::{
    flow::WINDOW_BYTES_MAX,
    journal::Identity,
    observed::RemoteTree,
    round::{Look, RoundError, Wish},
};
use annals_events::{EntryId, EntryKind, Hash, NamespaceId, UserId};
use ed25519_dalek::SigningKey;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::{Rc, Weak},
};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which checker, or which part of a run.
    pub checker: &'static str,
    /// What it saw.
    pub what: String,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The hash of all that happened.
    pub trace: Hash,
    /// How many things happened.
    pub steps: u64,
    /// How many events the log has.
    pub events: u64,
    /// What must not be.
    pub findings: Vec<Finding>,
    /// The trace, if it was asked for.
    pub lines: Vec<String>,
}

/// Rounds of everybody after which a world must have come to rest.
const HEALING_MAX: usize = 40;
/// How many rounds in a row nothing must change to call it rest.
const RESTING: usize = 2;
/// How many people act alone, one after the other, at the end.
const ALONE: usize = 3;

/// A world at work.
pub struct World {
    /// What may happen.
    pub options: Options,
    /// The server.
    pub server: Rc<RefCell<TwinServer>>,
    /// Everything written by people.
    pub diary: RefCell<Diary>,
    /// What must not be, so far.
    pub findings: RefCell<Vec<Finding>>,
    seed: Seed,
    time: WorldTime,
    trace: Trace,
    /// None while at work.
    devices: Vec<RefCell<Option<Device>>>,
    volumes: Vec<Rc<RefCell<Volume>>>,
    links: Vec<TwinTransport>,
    people: Vec<RefCell<Random>>,
    watchers: Vec<RefCell<Watcher>>,
    chaos: Cell<bool>,
    /// How many rounds are at work within each other.
    depth: Cell<usize>,
    points: Cell<u64>,
    server_chance: RefCell<Random>,
    /// An older copy of the server, once one was made.
    backup: RefCell<Option<Backup>>,
}

/// One run of a seed.
#[must_use]
pub fn run(seed: Seed, options: Options) -> Outcome {
    let world = World::new(seed, options);
    world.play();
    if world.findings.borrow().is_empty() && world.heal("healing") {
        checkers::check_all(&world);
        world.alone();
    }
    let events = world.server.borrow().projections().head().seq.0;
    let mut lines = world.trace.lines();
    if options.lines {
        lines.extend(world.log_in_words());
    }
    Outcome {
        trace: world.trace.hash(),
        steps: world.trace.steps(),
        events,
        findings: world.findings.take(),
        lines,
    }
}

/// What tells a device that something changed in its folder.
struct Watcher {
    chance: Random,
    /// Whether it missed something, or a round did not get to it.
    missed: bool,
}

impl World {
    fn new(seed: Seed, options: Options) -> Rc<Self> {
        let time = WorldTime::default();
        let trace = if options.lines { Trace::with_lines() } else { Trace::default() };
        let mut skews = seed.of("skew").stream();
        let mut clock = || {
            let range = i64::try_from(options.skew_ms).expect("some days");
            time.machine(i64::try_from(skews.below(2 * options.skew_ms + 1)).expect("some days") - range)
        };
        let id = NamespaceId(seed.of("namespace").bytes()[..16].try_into().expect("16 bytes"));
        let owner = UserId([1; 16]);
        let key = SigningKey::from_bytes(&seed.of("server").bytes());
        let mut server = TwinServer::new(id, key, clock(), owner);
        let keys: Vec<SigningKey> = (0..options.devices)
            .map(|n| SigningKey::from_bytes(&seed.of(&format!("device {n}")).bytes()))
            .collect();
        for (n, key) in keys.iter().enumerate() {
            server.link(public(key), owner, &format!("device {n}"));
        }
        let server = Rc::new(RefCell::new(server));
        let devices: Vec<Device> = keys
            .into_iter()
            .enumerate()
            .map(|(n, key)| {
                let (identity, point) = (Identity { namespace: id, key }, Point::default());
                let link = seed.of(&format!("link {n}"));
                let transport =
                    TwinTransport::new(server.clone(), identity.device(), link, point.clone(), trace.clone());
                transport.set_window(if options.interruptions > 0 { 64 } else { WINDOW_BYTES_MAX });
                transport.set_faults(options.link);
                let turns = TwinTurns::new(seed.of(&format!("turns {n}")), options.interruptions);
                Device::new(Machine::new(identity, clock(), transport, point).taking_turns(turns))
            })
            .collect();
        Rc::new_cyclic(|weak: &Weak<Self>| {
            for (n, device) in devices.iter().enumerate() {
                let weak = weak.clone();
                device.machine.point.visit(move |moment| {
                    if let Some(world) = weak.upgrade() {
                        world.interrupt(n, moment);
                    }
                });
            }
            Self {
                options,
                server,
                diary: RefCell::default(),
                findings: RefCell::default(),
                seed,
                time,
                trace,
                volumes: devices.iter().map(|device| device.machine.volume.clone()).collect(),
                links: devices.iter().map(|device| device.machine.transport.clone()).collect(),
                people: (0..options.devices)
                    .map(|n| RefCell::new(seed.of(&format!("person {n}")).stream()))
                    .collect(),
                devices: devices.into_iter().map(|device| RefCell::new(Some(device))).collect(),
                watchers: (0..options.devices)
                    .map(|n| {
                        RefCell::new(Watcher {
                            chance: seed.of(&format!("watcher {n}")).stream(),
                            missed: false,
                        })
                    })
                    .collect(),
                chaos: Cell::new(true),
                depth: Cell::new(0),
                points: Cell::new(0),
                server_chance: RefCell::new(seed.of("server chance").stream()),
                backup: RefCell::default(),
            }
        })
    }

    // --- chaos -----------------------------------------------------------------------------------------

    fn play(&self) {
        let mut random = self.seed.of("schedule").stream();
        for _ in 0..self.options.steps {
            self.time.pass(random.weighted(&[(4, 0), (4, 7), (4, 1_000), (1, 3_600_000)]));
            let n = random.index(self.options.devices);
            if random.percent(self.options.flights) {
                let cut = !self.links[n].is_cut();
                self.links[n].set_cut(cut);
                self.trace.note(format_args!("link {n} cut {cut}"));
            }
            if random.percent(self.options.blindness) {
                let folders = self.volumes[n].borrow().paths(EntryKind::Folder);
                let path = random.pick(&folders).filter(|_| random.clone().percent(60));
                self.volumes[n].borrow_mut().blind(path.map(String::as_str));
                self.trace.note(format_args!("device {n} cannot read {path:?}"));
            }
            match random.below(10) {
                0..6 => (0..=random.below(4)).for_each(|_| self.act(n)),
                6..9 => self.round(n),
                _ => {
                    if random.below(1000) < 10 * self.options.crashes {
                        self.crash(n);
                    }
                    if random.percent(30)
                        && let Some(device) = &mut *self.devices[n].borrow_mut()
                    {
                        device.compact();
                    }
                }
            }
        }
    }

    /// The person at device `n` does something.
    fn act(&self, n: usize) {
        let random = &mut *self.people[n].borrow_mut();
        let mut diary = self.diary.borrow_mut();
        if let Some(what) = workload::act(&mut self.volumes[n].borrow_mut(), n, &mut diary, random) {
            self.trace.note(format_args!("{} person {n}: {what}", self.time.elapsed_ms()));
        }
    }

    fn crash(&self, n: usize) {
        if let Some(device) = &mut *self.devices[n].borrow_mut() {
            device.crash();
            self.trace.note(format_args!("device {n} crashes"));
        }
    }

    fn restart_server(&self) {
        self.server.borrow_mut().restart(&mut self.server_chance.borrow_mut());
        self.trace.note(format_args!("the server is started again"));
    }

    /// Device `n` exchanges everything it can, unless it is at it.
    fn round(&self, n: usize) {
        let Some(mut device) = self.devices[n].borrow_mut().take() else { return };
        self.depth.set(self.depth.get() + 1);
        self.trace.note(format_args!("{} device {n} begins a round", self.time.elapsed_ms()));
        let look = self.where_to_look(n);
        let patient = self.chaos.get() && self.watchers[n].borrow_mut().chance.percent(50);
        let mut done = device.round(Wish { look, patient, ..Wish::default() });
        if matches!(done, Err(RoundError::MassDelete(_))) && !self.chaos.get() {
            done = device.round(Wish { accept_deletes: true, ..Wish::default() });
        }
        self.watchers[n].borrow_mut().missed |=
            done.as_ref().map_or(true, |report| report.incomplete || !report.vanishing.is_empty());
        match done {
            Ok(report) => self.trace.note(format_args!("device {n} is done: {report:?}")),
            Err(error) => {
                self.trace.note(format_args!("device {n} is not done: {error}"));
                self.judge(n, &device, &error);
            }
        }
        self.depth.set(self.depth.get() - 1);
        *self.devices[n].borrow_mut() = Some(device);
    }

    /// Where device `n` looks: at everything now and then, otherwise where its watcher says that something changed, which
    /// misses some of it while there is chaos. Then, and after a round that failed, it has to look at everything once.
    fn where_to_look(&self, n: usize) -> Look {
        let mut hints = self.volumes[n].borrow_mut().take_hints();
        let watcher = &mut *self.watchers[n].borrow_mut();
        if watcher.chance.percent(30) || watcher.missed && !self.chaos.get() {
            watcher.missed = false;
            return Look::Whole;
        }
        if self.chaos.get() {
            let all = hints.len();
            hints.retain(|_| !watcher.chance.percent(10));
            watcher.missed |= hints.len() < all;
        }
        if hints.is_empty() { Look::Nowhere } else { Look::At(hints) }
    }

    /// Some errors are no mistakes.
    fn judge(&self, n: usize, device: &Device, error: &RoundError) {
        let expected = match error {
            RoundError::MassDelete(_) => self.chaos.get(),
            // The content of a file could not be had: the link says why.
            RoundError::Blocked(_) => self.chaos.get(),
            // A folder that cannot be read for a while.
            RoundError::InTheWay(_) => self.chaos.get(),
            // A save that was overwritten before it got into the log, while a restarted server forgot that it had been
            // sent: its author is told.
            RoundError::SetAside { why, .. } => why.contains("chunks were not sent"),
            RoundError::Transport(error) => error.is_passing(),
            _ => false,
        };
        if !expected && device.machine.point.has_power() {
            self.find("round", format!("device {n}: {error:?}"));
        }
    }

    /// Anything may happen while device `n` is at work.
    fn interrupt(&self, n: usize, moment: Moment) {
        let number = self.points.get();
        self.points.set(number + 1);
        let chance = self.seed.of("points").nth(number);
        self.time.pass(chance.draw(0) % 3);
        if !self.chaos.get() {
            return;
        }
        let happens = |what: u64, of_1000: u64| chance.draw(what) % 1000 < of_1000;
        if happens(1, self.options.meddling) {
            self.act(n);
        }
        if happens(2, self.options.overlapping) && self.depth.get() < 2 {
            self.round(usize::try_from(chance.draw(3)).unwrap_or(0) % self.options.devices);
        }
        if happens(4, self.options.server_crashes) {
            self.server.borrow_mut().cut_power_soon(&mut self.server_chance.borrow_mut());
            self.trace.note(format_args!("the server will lose its power"));
        }
        if happens(5, 2 * self.options.server_crashes) || self.server.borrow().is_down() && happens(6, 300) {
            self.restart_server();
        }
        let put_back = |odds| self.options.put_backs > 0 && happens(9, odds);
        if put_back(40) && !self.server.borrow().is_down() {
            *self.backup.borrow_mut() = Some(self.server.borrow().backup());
            self.trace.note(format_args!("the server is copied"));
        } else if happens(10, self.options.put_backs)
            && let Some(backup) = &*self.backup.borrow()
        {
            let notices = chance.draw(11).is_multiple_of(2);
            self.server.borrow_mut().put_back(backup, notices);
            self.trace.note(format_args!("the server is put back, and notices: {notices}"));
        }
        if happens(7, 60) {
            self.links.iter().for_each(TwinTransport::deliver_late);
        }
        if happens(8, self.options.crashes) {
            self.trace.note(format_args!("device {n} loses its power: {moment:?}"));
            self.points_of(n, Point::lose_power);
        }
    }

    fn points_of(&self, n: usize, each: impl Fn(&Point)) {
        each(self.links[n].point());
    }

    // --- healing ---------------------------------------------------------------------------------------

    /// Lets everybody exchange everything until nothing changes. Answers whether that came.
    fn heal(&self, phase: &'static str) -> bool {
        self.trace.note(format_args!("{phase}"));
        if self.chaos.replace(false) {
            // Also where its power is there still: it may be about to go.
            self.restart_server();
        }
        for (link, volume) in self.links.iter().zip(&self.volumes) {
            link.set_cut(false);
            link.set_faults(LinkFaults::default());
            link.deliver_late();
            volume.borrow_mut().blind(None);
        }
        let (mut before, mut resting) = (None, 0);
        for _ in 0..HEALING_MAX {
            for n in 0..self.options.devices {
                self.time.pass(1_000);
                self.round(n);
            }
            if !self.findings.borrow().is_empty() {
                return false;
            }
            let now = Some(self.picture());
            resting = if now == before { resting + 1 } else { 0 };
            if resting == RESTING {
                return true;
            }
            before = now;
        }
        self.find("rest", format!("{phase}: it does not come to rest"));
        false
    }

    /// All that must not change any more once the world is at rest.
    fn picture(&self) -> (Vec<BTreeMap<String, Visible>>, u64, u64) {
        let events = self.server.borrow().projections().head().seq.0;
        (self.visible(), events, self.links.iter().map(TwinTransport::changes).sum())
    }

    /// What the folders show.
    #[must_use]
    pub fn visible(&self) -> Vec<BTreeMap<String, Visible>> {
        self.volumes.iter().map(|volume| volume.borrow().visible()).collect()
    }

    // --- alone -----------------------------------------------------------------------------------------

    /// With all in sync, what one person does is what everybody sees, to the letter: nothing comes back, no name
    /// jumps, nothing is shown twice.
    fn alone(&self) {
        let mut random = self.seed.of("alone").stream();
        if !self.resolve() {
            return;
        }
        for turn in 0..ALONE {
            let n = random.index(self.options.devices);
            for _ in 0..=random.below(6) {
                self.time.pass(random.below(100));
                self.act(n);
            }
            let wanted = self.volumes[n].borrow().visible();
            if !self.heal("alone") {
                return;
            }
            for (other, seen) in self.visible().iter().enumerate() {
                if *seen != wanted {
                    let difference = checkers::difference(&wanted, seen);
                    self.find("alone", format!("turn {turn} of person {n} on device {other}: {difference}"));
                    return;
                }
            }
        }
        checkers::check_all(self);
    }

    /// A person removes every conflict copy, and renames every folder that is only shown for what is in it: as long as
    /// there are any, an act on one thing may, as it should, change how another is shown. Answers whether that came to
    /// an end, and there is nothing that nobody can remove.
    fn resolve(&self) -> bool {
        for turn in 0..HEALING_MAX {
            if checkers::is_a_head_lost(self) {
                return false;
            }
            let (copies, dead) = {
                let server = self.server.borrow();
                let log = server.projections();
                let said = RemoteTree::of(log);
                let is_dead = |entry: &EntryId| log.entry(*entry).is_some_and(|view| !view.alive);
                let copies: Vec<String> =
                    said.nodes.iter().filter(|(_, node)| node.copy).map(|(path, _)| path.clone()).collect();
                let dead = said.nodes.iter().filter(|(_, node)| node.entries.iter().any(is_dead));
                (copies, dead.map(|(path, _)| path.clone()).next_back())
            };
            if copies.is_empty() && dead.is_none() {
                return true;
            }
            let mut volume = self.volumes[0].borrow_mut();
            for copy in &copies {
                volume.remove(copy);
            }
            if let Some(dead) = dead.as_ref().filter(|_| copies.is_empty()) {
                volume.rename(dead, &format!("found {turn}"));
            }
            drop(volume);
            self.trace.note(format_args!("person 0 removes the copies {copies:?}, or renames {dead:?}"));
            if !self.heal("resolving") {
                return false;
            }
        }
        self.find("resolving", "there are always copies".into());
        false
    }

    /// Every event of the log.
    fn log_in_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for logged in self.server.borrow().records_all() {
            let batch = logged.record.batch();
            let header = batch.header();
            words.push(format!(
                "record {}: seen {:?} unseen {:?}",
                logged.record.seq(),
                header.seen,
                header.unseen
            ));
            for (seq, dot, event) in logged.record.events() {
                let body = usize::try_from(dot.counter - header.first)
                    .ok()
                    .and_then(|at| batch.body(at).ok())
                    .flatten();
                let body = body.map(|body| {
                    format!(
                        "{:?} {:?} {:?}",
                        body.name,
                        body.content.map(|content| content.id),
                        body.executable
                    )
                });
                words.push(format!("  {seq} {dot:?} {:?} {}", event.fact, body.unwrap_or_default()));
            }
        }
        words
    }

    // --- for checkers --------------------------------------------------------------------------------------

    /// Takes note of something that must not be.
    pub fn find(&self, checker: &'static str, what: String) {
        self.trace.note(format_args!("FOUND {checker}: {what}"));
        self.findings.borrow_mut().push(Finding { checker, what });
    }

    /// Every folder.
    #[must_use]
    pub fn volumes(&self) -> &[Rc<RefCell<Volume>>] {
        &self.volumes
    }

    /// Every device that is not at work.
    pub fn each_device(&self, mut each: impl FnMut(usize, &mut Device)) {
        for (n, slot) in self.devices.iter().enumerate() {
            if let Some(device) = &mut *slot.borrow_mut() {
                each(n, device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the checkers find in a healed world after `damage`.
    fn found(damage: impl Fn(&World)) -> Vec<&'static str> {
        let world = World::new(Seed(3), Options { steps: 20, ..Options::of(Seed(3)).calm() });
        world.play();
        assert!(world.heal("healing"));
        damage(&world);
        checkers::check_all(&world);
        world.findings.borrow().iter().map(|finding| finding.checker).collect()
    }

    #[test]
    fn checkers_find_what_they_are_for_and_nothing_else() {
        assert!(found(|_| ()).is_empty());
        let missing = found(|world| world.diary.borrow_mut().note(b"written and nowhere"));
        assert_eq!(missing, ["nothing lost", "nothing vanishes"]);
        let differs = found(|world| assert!(world.volumes[1].borrow_mut().write("other", b"x")));
        assert_eq!(differs, ["folders agree"]);
        let unsaid = found(|world| {
            world.volumes.iter().for_each(|volume| assert!(volume.borrow_mut().make_folder("same")));
        });
        assert_eq!(unsaid, ["folders agree"], "the log does not say so");
        let behind = found(|world| {
            world.server.borrow_mut().link(public(&SigningKey::from_bytes(&[9; 32])), UserId([1; 16]), "new");
        });
        assert!(behind.contains(&"projections agree") && behind.contains(&"acknowledged"), "{behind:?}");
    }
}
