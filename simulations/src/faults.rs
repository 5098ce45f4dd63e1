//! The menu of faults: what may befall a run, and how often. Each seed draws its own from it.
//!
//! Numbers that are no option here (a server that is down comes back, late messages arrive) are how a world goes
//! on, not what befalls it.

use crate::random::Seed;

/// What may happen in a run. Drawn from the seed unless given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many devices.
    pub devices: usize,
    /// How many things happen in the chaos.
    pub steps: u64,
    /// What befalls messages.
    pub link: LinkFaults,
    /// Percent of steps at which a link is cut or joined.
    pub flights: u64,
    /// Of a thousand points: at which the person of the device at work acts.
    pub meddling: u64,
    /// … at which another device runs a round.
    pub overlapping: u64,
    /// … at which the device at work loses its power.
    pub crashes: u64,
    /// … at which the server does.
    pub server_crashes: u64,
    /// … at which the server is put back to an older copy of itself.
    pub put_backs: u64,
    /// Percent of steps at which a folder cannot be read for a while.
    pub blindness: u64,
    /// Percent of pieces before which somebody waits for what moves to give way. Then little goes together.
    pub interruptions: u64,
    /// By how much clocks differ, at most, in milliseconds.
    pub skew_ms: u64,
    /// Whether the trace keeps its lines.
    pub lines: bool,
}

impl Options {
    /// Those of a seed: each kind of fault is in about half of the runs, and some runs have none.
    #[must_use]
    pub fn of(seed: Seed) -> Self {
        let mut random = seed.of("options").stream();
        let mut maybe = |max: u64| if random.percent(50) { 1 + random.below(max) } else { 0 };
        let link = LinkFaults {
            request_lost: maybe(15),
            reply_lost: maybe(15),
            doubled: maybe(15),
            late: maybe(8),
            short: maybe(50),
        };
        Self {
            link,
            flights: maybe(10),
            meddling: maybe(40),
            overlapping: maybe(40),
            crashes: maybe(15),
            server_crashes: maybe(6),
            blindness: maybe(4),
            skew_ms: maybe(2 * 86_400_000),
            devices: 2 + random.index(3),
            steps: 20 + random.below(60),
            lines: false,
            interruptions: match seed.of("interruptions").draw(0) % 100 {
                percent @ 1..50 => percent.div_ceil(3),
                _ => 0,
            },
            put_backs: seed.of("put backs").stream().below(2) * (1 + seed.of("put backs").nth(1).draw(0) % 6),
        }
    }
}

impl Options {
    /// The same without faults: people act, and rounds run one after the other.
    #[must_use]
    pub fn calm(self) -> Self {
        let Self { devices, steps, lines, .. } = self;
        Self {
            devices,
            steps,
            lines,
            link: LinkFaults::default(),
            flights: 0,
            meddling: 0,
            overlapping: 0,
            crashes: 0,
            server_crashes: 0,
            put_backs: 0,
            blindness: 0,
            interruptions: 0,
            skew_ms: 0,
        }
    }

    /// These with one change: `calm` takes all faults away, `steps=5` or any other name gives one a value. None: there is
    /// no such option.
    #[must_use]
    pub fn changed(mut self, change: &str) -> Option<Self> {
        if change == "calm" {
            return Some(self.calm());
        }
        let (name, value) = change.split_once('=')?;
        self.set(name, value.parse().ok()?).then_some(self)
    }

    /// False: there is none of that name.
    fn set(&mut self, name: &str, value: u64) -> bool {
        match name {
            "devices" => self.devices = usize::try_from(value).expect("a few"),
            "steps" => self.steps = value,
            "flights" => self.flights = value,
            "meddling" => self.meddling = value,
            "overlapping" => self.overlapping = value,
            "crashes" => self.crashes = value,
            "server_crashes" => self.server_crashes = value,
            "put_backs" => self.put_backs = value,
            "blindness" => self.blindness = value,
            "interruptions" => self.interruptions = value,
            "skew_ms" => self.skew_ms = value,
            "request_lost" => self.link.request_lost = value,
            "reply_lost" => self.link.reply_lost = value,
            "doubled" => self.link.doubled = value,
            "late" => self.link.late = value,
            "short" => self.link.short = value,
            _ => return false,
        }
        true
    }
}

/// How often what happens to messages, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFaults {
    /// A request that never arrives.
    pub request_lost: u64,
    /// A reply that never arrives.
    pub reply_lost: u64,
    /// A request that arrives twice.
    pub doubled: u64,
    /// A request that arrives after its sender gave up.
    pub late: u64,
    /// Records and chunks that come in smaller portions than asked for.
    pub short: u64,
}
