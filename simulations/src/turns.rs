//! The twin of whoever waits for a round to end: what moves is interrupted between any two pieces, by chance.
//!
//! What must always hold: something moves in each round.

use crate::random::{Random, Seed};
use annals_engine::round::Turns;
use std::cell::{Cell, RefCell};

/// Interruptions of one device's rounds.
#[derive(Debug)]
pub struct TwinTurns {
    chance: RefCell<Random>,
    percent: u64,
    may_wait: Cell<bool>,
    moved: Cell<bool>,
    waits: Cell<bool>,
}

impl TwinTurns {
    /// Before so many percent of the pieces, somebody waits.
    #[must_use]
    pub fn new(seed: Seed, percent: u64) -> Self {
        let chance = RefCell::new(seed.stream());
        Self { chance, percent, may_wait: Cell::default(), moved: Cell::default(), waits: Cell::default() }
    }

    /// Another round, and whether it may be interrupted: nobody waits yet.
    pub fn begin(&self, may_wait: bool) {
        self.may_wait.set(may_wait);
        self.moved.set(false);
        self.waits.set(false);
    }

    /// Whether somebody waits for the round to end.
    #[must_use]
    pub fn others_wait(&self) -> bool {
        self.waits.get()
    }
}

impl Turns for TwinTurns {
    fn goes_on(&self) -> bool {
        let came = self.percent > 0 && self.may_wait.get() && self.chance.borrow_mut().percent(self.percent);
        self.waits.set(self.waits.get() || came);
        !self.moved.replace(true) || !self.waits.get()
    }
}
