//! Between two rounds of a daemon: until when it sleeps, and what the next one looks at.
//!
//! ```text
//!   begin ──► a round ── Ended ──► asleep until a time ◄─┐
//!     ▲                               │      └── Woken ──┘ nothing to do
//!     └────── what to look at ◄───────┘ Woken: a hint, news, a time that has come …
//! ```
//!
//! What must always hold: what was hinted at, what a round could not look at, and where one left off is looked at by the
//! round that follows, whatever else wakes it in the same moment; where nothing happens and nothing is owed, it is woken
//! only to see whether the folder is where it was. Left out: the clock, and how hints are gathered ([`watch`](crate::watch));
//! times are milliseconds of a clock that never runs back.

use crate::{retry, watch::Look};

/// When nothing happened for so long, how the folder stands is written down; and what came, or was being written, is
/// looked at again after so long at the earliest.
pub const PAUSE_MS: u64 = 1_000;
/// How often it is asked whether the folder is still where it was, while nothing happens.
pub const PLACE_MS: u64 = 10_000;
/// How often it is asked whether there is room again on a disk that was full.
pub const ROOM_MS: u64 = 2_000;
/// How much more has to be free there for a round.
pub const ROOM_BYTES: u64 = 1 << 20;

/// What a daemon keeps in mind from one round to the next.
#[derive(Clone, Debug)]
pub struct Vigil {
    /// Spreads the waits of many devices.
    seed: u64,
    /// When a look at everything began the last time, and how often there is one though nothing hints at it.
    looked_ms: u64,
    look_every_ms: u64,
    /// Since when it sleeps.
    slept_ms: u64,
    /// Rounds that failed in a row.
    failures: u32,
    /// How long the server asked to be left alone.
    asked_wait_ms: Option<u64>,
    /// How many bytes were free after the last one, if what went wrong was that the disk is full.
    short_of_room: Option<u64>,
    /// Whether the last one may have ended before it looked at what was hinted at.
    owes_look: bool,
    /// Where the next one goes on, for this one gave way.
    left: Option<Look>,
    /// Folders came: hints from below them may have had the names that those had before.
    came_lately: bool,
    /// What has to be looked at again though nothing hints at it, and how often in a row it was that.
    unfinished: Option<(Look, u32)>,
    /// Whether how the folder stands is written down.
    noted: bool,
}

/// What seeing to it that the folder is watched came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// Hints may have been missed: everything is to be looked at.
    pub whole: bool,
    /// Folders came, and are watched from now on.
    pub came: bool,
    /// How often everything is looked at as things are.
    pub look_every_ms: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A round ended.
    Ended(Ended),
    /// It was woken: by somebody, or because it had slept as long as it was to.
    Woken(Woken),
    /// The folder is not where it was.
    Gone,
}

/// How a round ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// For something that goes first: where the next one goes on.
    GaveWay(Option<Look>),
    /// As far as it could get.
    AtRest {
        /// What kept it from getting everything done.
        trouble: Trouble,
        /// Whether it may not have looked at what it was to look at.
        owes_look: bool,
        /// What has to be looked at again though nothing hints at it.
        unfinished: Option<Look>,
        /// Whether something is wrong, or is no more: that is written down at once.
        is_news: bool,
    },
}

/// What kept a round from getting everything done, as far as it matters for what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    Nothing,
    /// Somebody made a pause, and will end it.
    Pause,
    /// It failed.
    Failure {
        /// How long the server asked to be left alone.
        asked_wait_ms: Option<u64>,
        /// How many bytes are free, where it was that the disk is full.
        short_of_room: Option<u64>,
    },
}

/// Why it was woken, and what there is to be seen then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Woken {
    /// The server was reached, after it was not.
    pub reached: bool,
    /// The server is not there.
    pub lost: bool,
    /// The server does not talk to this device.
    pub refused: bool,
    /// Somebody wants to know how far this device is.
    pub asked: bool,
    /// A verb left something to be done.
    pub nudged: bool,
    /// The log got further than this device knows.
    pub news: bool,
    /// What was hinted at and is due.
    pub hinted: Look,
    /// How many bytes are free, where [that matters](Vigil::is_short_of_room).
    pub free_bytes: Option<u64>,
}

impl Default for Woken {
    /// By nobody.
    fn default() -> Self {
        Self {
            reached: false,
            lost: false,
            refused: false,
            asked: false,
            nudged: false,
            news: false,
            hinted: Look::Nowhere,
            free_bytes: None,
        }
    }
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How the folder stands is to be written down.
    pub note: bool,
    /// And then.
    pub next: Next,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A round that looks at this.
    Look(Look),
    /// Nothing, until then.
    Sleep {
        /// The time.
        until_ms: u64,
    },
}

impl Vigil {
    /// Of a daemon that has not done a round.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            looked_ms: 0,
            look_every_ms: u64::MAX,
            slept_ms: 0,
            failures: 0,
            asked_wait_ms: None,
            short_of_room: None,
            owes_look: false,
            left: None,
            came_lately: false,
            unfinished: None,
            noted: true,
        }
    }

    /// A round begins that is to look at this: what it does look at.
    pub fn begin(&mut self, now_ms: u64, look: Look, covered: Covered) -> Look {
        let look = if covered.whole || self.owes_look { Look::Whole } else { look };
        // Seen by a look that began after they were watched under the names that they have now.
        self.came_lately = covered.came || self.came_lately && look != Look::Whole;
        self.look_every_ms = covered.look_every_ms;
        if look == Look::Whole {
            self.looked_ms = now_ms;
        }
        look
    }

    /// Takes what happened; says what follows.
    pub fn step(&mut self, now_ms: u64, event: Event) -> Step {
        match event {
            Event::Ended(ended) => self.end(now_ms, ended),
            Event::Woken(woken) => self.wake(now_ms, woken),
            // A disk that goes leaves no hint behind; a round asks for itself, and says what then has to be done.
            Event::Gone if self.minds_place() => Step { note: false, next: Next::Look(Look::Nowhere) },
            Event::Gone => self.sleep(now_ms, false),
        }
    }

    /// Whether it makes a difference that there is room on the disk.
    #[must_use]
    pub fn is_short_of_room(&self) -> bool {
        self.short_of_room.is_some()
    }

    /// Whether it makes a difference that the folder is gone. After a failure that may be why, and a round is to come.
    #[must_use]
    pub fn minds_place(&self) -> bool {
        self.failures == 0 && !self.owes_look
    }

    fn end(&mut self, now_ms: u64, ended: Ended) -> Step {
        self.slept_ms = now_ms;
        let note = match ended {
            Ended::GaveWay(left) => {
                (self.left, self.failures) = (left, 0);
                true
            }
            Ended::AtRest { trouble, owes_look, unfinished, is_news } => {
                self.owes_look = owes_look;
                self.take_trouble(trouble);
                self.unfinished = unfinished.map(|look| {
                    let before = self.unfinished.take().filter(|(before, _)| *before == look);
                    (look, before.map_or(0, |(_, times)| times).saturating_add(1))
                });
                // While much happens it is written down when there is a pause.
                self.noted = is_news;
                is_news
            }
        };
        self.sleep(now_ms, note)
    }

    fn take_trouble(&mut self, trouble: Trouble) {
        (self.failures, self.asked_wait_ms, self.short_of_room) = match trouble {
            // A pause is waited out: whoever ends it says so.
            Trouble::Nothing | Trouble::Pause => (0, None, None),
            Trouble::Failure { asked_wait_ms, short_of_room } => {
                (self.failures.saturating_add(1), asked_wait_ms, short_of_room)
            }
        };
    }

    fn wake(&mut self, now_ms: u64, woken: Woken) -> Step {
        if let Some(left) = self.left.take() {
            let other = if woken.nudged { Look::Whole } else { woken.hinted };
            return Step { note: false, next: Next::Look(left.and(other)) };
        }
        let note = !self.noted && now_ms >= self.pause_ends_ms();
        self.noted |= note;
        match self.look_for(now_ms, woken) {
            Some(look) => Step { note, next: Next::Look(look) },
            None => self.sleep(now_ms, note),
        }
    }

    /// What there is to look at now; none: nothing to do.
    fn look_for(&self, now_ms: u64, woken: Woken) -> Option<Look> {
        let has_come = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| now_ms >= at_ms);
        // What failed may have been a look that did not get done.
        let whole = woken.nudged
            || has_come(Some(self.look_at_ms()))
            || has_come(self.again_at_ms())
            || has_come(self.came_at_ms())
            || self.has_room_again(woken.free_bytes);
        if whole {
            return Some(Look::Whole);
        }
        if let Some((look, _)) = self.unfinished.as_ref().filter(|_| has_come(self.unfinished_at_ms())) {
            return Some(look.clone().and(woken.hinted));
        }
        // What keeps failing is tried again by itself; that it was refused may have another reason now.
        let server = woken.refused || if self.failures == 0 { woken.lost } else { woken.reached };
        let is_called = woken.news || woken.asked || server || woken.hinted != Look::Nowhere;
        is_called.then_some(woken.hinted)
    }

    fn has_room_again(&self, free_bytes: Option<u64>) -> bool {
        self.short_of_room.is_some_and(|before| free_bytes >= Some(before.saturating_add(ROOM_BYTES)))
    }

    fn sleep(&self, now_ms: u64, note: bool) -> Step {
        let next = if self.left.is_some() { now_ms } else { self.next_ms(now_ms) };
        Step { note, next: Next::Sleep { until_ms: next } }
    }

    /// When it is woken at the latest.
    fn next_ms(&self, now_ms: u64) -> u64 {
        let seen = now_ms + if self.is_short_of_room() { ROOM_MS } else { PLACE_MS };
        let noted = (!self.noted).then(|| self.pause_ends_ms());
        let times = [self.again_at_ms(), self.unfinished_at_ms(), self.came_at_ms(), noted];
        times.into_iter().flatten().fold(seen.min(self.look_at_ms()), u64::min)
    }

    fn pause_ends_ms(&self) -> u64 {
        self.slept_ms + PAUSE_MS
    }

    /// When everything is looked at though nothing hints at it.
    fn look_at_ms(&self) -> u64 {
        self.looked_ms.saturating_add(self.look_every_ms)
    }

    /// When what failed is tried again.
    fn again_at_ms(&self) -> Option<u64> {
        let wait_ms = || retry::wait_asked_ms(self.failures, self.seed, self.asked_wait_ms);
        (self.failures > 0).then(|| self.slept_ms + wait_ms())
    }

    /// When what is unfinished is looked at again.
    fn unfinished_at_ms(&self) -> Option<u64> {
        let (_, times) = self.unfinished.as_ref()?;
        Some(self.slept_ms + retry::wait_ms(*times, self.seed).max(PAUSE_MS))
    }

    /// When everything is looked at for folders that came.
    fn came_at_ms(&self) -> Option<u64> {
        self.came_lately.then(|| self.pause_ends_ms())
    }
}

#[cfg(test)]
mod tests;
