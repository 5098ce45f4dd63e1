//! Random histories: two to four devices that act on lagging disks and exchange a part of what they have.
//!
//! A history is a list of steps, each with choices of its own, so that a failing one can be cut down to the
//! steps that matter. Acts build on what the reference shows; whoever is judged sees only the events.

pub mod acts;
mod device;
mod random;

use crate::judge::{Failure, Judge, Picture};
use annals_events::{Body, ChunkId, ChunkRef, Content, Cut, Fact, PublicKey, UserId};
pub use device::{Device, NAMESPACE, Sealed, Sight};
pub use random::Random;

/// The content that a text is.
pub fn content(text: &str) -> Content {
    let bytes = text.len() as u32;
    Content::new(Cut::SMALL, vec![ChunkRef { bytes, id: ChunkId::of(text.as_bytes()) }]).0
}

/// Who acts, and how.
#[derive(Clone, Debug)]
pub struct History {
    pub devices: usize,
    /// For each step its choices.
    pub steps: Vec<u64>,
}

/// A history that was played to its end.
pub struct Played {
    pub devices: Vec<Device>,
    pub failures: Vec<Failure>,
    /// What happened, for people.
    pub transcript: Vec<String>,
}

impl History {
    /// The history that follows from a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let devices = 2 + random.below(3);
        let steps = *random.pick(&[20, 40, 80, 160]);
        Self { devices, steps: (0..steps).map(|_| random.next()).collect() }
    }

    /// With as few steps as still make `fails` true.
    pub fn minimised(&self, fails: &dyn Fn(&Self) -> bool) -> Self {
        let mut least = self.clone();
        let mut size = least.steps.len().div_ceil(2);
        while size > 0 {
            let before = least.steps.len();
            let mut at = 0;
            while at < least.steps.len() {
                let mut shorter = least.clone();
                shorter.steps.drain(at..(at + size).min(least.steps.len()));
                if fails(&shorter) { least = shorter } else { at += size }
            }
            size = if size == 1 && least.steps.len() < before { 1 } else { size / 2 };
        }
        least
    }

    /// Lives through it; stops at the first step that the judge objects to.
    pub fn play(&self, look: &dyn Fn(&Sight) -> Picture) -> Played {
        let mut judge = Judge::new(look);
        let mut devices = founded(self.devices);
        let mut transcript = Vec::new();
        for step in &self.steps {
            transcript.push(self.step(*step, &mut devices, &mut judge));
            if !judge.failures.is_empty() {
                return Played { devices, failures: judge.failures, transcript };
            }
        }
        for device in &mut devices {
            device.seal();
            let sight = device.whole();
            let picture = judge.look(&sight);
            judge.state(&sight, &picture);
        }
        let apart_from = self.steps.iter().fold(0, |all, step| all ^ step);
        if judge.failures.is_empty() {
            meet(&mut devices, &mut judge, Random::new(apart_from));
        }
        Played { devices, failures: judge.failures, transcript }
    }

    fn step(&self, choices: u64, devices: &mut [Device], judge: &mut Judge<'_>) -> String {
        let mut random = Random::new(choices);
        let who = random.below(devices.len());
        let chance = random.below(100);
        devices[who].random = random.split();
        let name = devices[who].name;
        if chance < 55 {
            let did = acts::Act::play(&mut devices[who], judge);
            // Often one act is one batch; sometimes several go into one.
            if random.percent(70) {
                devices[who].seal();
            }
            return format!("{name}: {did}");
        }
        if chance < 80 {
            let other = (who + 1 + random.below(devices.len() - 1)) % devices.len();
            let mut from = devices[other].clone();
            let part = random.percent(50);
            devices[who].pull(&mut from, |all| if part { random.below(all + 1) } else { all });
            devices[other] = from;
            return format!(
                "{name}: pulls {} from {}",
                if part { "some" } else { "all" },
                devices[other].name
            );
        }
        devices[who].materialise();
        format!("{name}: materialises")
    }
}

/// Devices that a server has linked.
fn founded(count: usize) -> Vec<Device> {
    let mut server = Device::new('S');
    let owner = UserId([0; 16]);
    let label = |label: &str| Body { label: Some(label.to_owned()), ..Body::default() };
    server.emit(Fact::NamespaceCreated { owner, server: server.key }, Some(label("files")));
    let mut devices: Vec<Device> = "ABCD".chars().take(count).map(Device::new).collect();
    for (device, name) in devices.iter().zip(["laptop", "pho/ne", "", "laptop"]) {
        let key: PublicKey = device.key;
        server.emit(Fact::DeviceLinked { key, user: owner, continues: None }, Some(label(name)));
    }
    server.seal();
    for device in &mut devices {
        device.pull(&mut server, |all| all);
        device.materialise();
    }
    devices
}

/// Everybody gets everything; then two act apart.
fn meet(devices: &mut [Device], judge: &mut Judge<'_>, random: Random) {
    for to in 0..devices.len() {
        for from in (0..devices.len()).filter(|from| *from != to) {
            let mut other = devices[from].clone();
            devices[to].pull(&mut other, |all| all);
            devices[from] = other;
        }
    }
    let mut pictures = Vec::new();
    for device in devices.iter_mut() {
        device.materialise();
        let sight = device.whole();
        let picture = judge.look(&sight);
        judge.state(&sight, &picture);
        pictures.push(picture);
    }
    judge.all_have_met(&pictures);
    if judge.failures.is_empty() {
        let common = Picture::of_reference(&devices[0].disk());
        judge.apart(&devices[0], &devices[1], &common, random);
    }
}
