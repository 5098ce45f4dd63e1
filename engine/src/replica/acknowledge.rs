//! When a device says how far its folder is ([`Fact::Acknowledged`]): at rest, at most once a day, and only if anything
//! happened since but acknowledgements, so that two devices never answer each other.
//!
//! What must always hold: it is said only while the folder shows everything up to the cursor and nothing is pending,
//! for what every device has acknowledged may be purged. Left out: whose devices count, which admission judges.

use super::{Effect, Replica};
use crate::author::{Deed, Said};
use annals_events::{Batch, Fact, Seq};

/// A day, in milliseconds.
pub(super) const EVERY_MS: u64 = 24 * 60 * 60 * 1000;

/// What was said, and what there is to say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acknowledgements {
    /// The last one of this device, admitted or not: how far, and when by its own clock.
    pub(super) last: Option<(Seq, u64)>,
    /// The last event in the log that is none.
    pub(super) news: Seq,
}

/// Whether an event only says how far a device is.
#[must_use]
pub fn is_acknowledgement(fact: &Fact) -> bool {
    matches!(fact, Fact::Acknowledged { .. })
}

impl Acknowledgements {
    /// Takes note of a batch of this device, wherever it is: in the log, on its way, refused.
    pub(super) fn said(&mut self, batch: &Batch) {
        for event in batch.events() {
            if let Fact::Acknowledged { seq } = event.fact {
                self.last = Some((seq, event.at));
            }
        }
    }

    /// Of what this device said, only so much counts: it spoke of places that a server has lost.
    pub(super) fn at_most(&mut self, counts: Seq) {
        self.last = self.last.map(|(seq, at)| (seq.min(counts), at));
    }

    /// Takes note of a batch that the log has from `seq` on.
    pub(super) fn logged(&mut self, batch: &Batch, seq: Seq) {
        let news = (seq.0..).zip(batch.events()).filter(|(_, event)| !is_acknowledgement(&event.fact)).last();
        self.news = news.map_or(self.news, |(seq, _)| self.news.max(Seq(seq)));
    }

    fn is_due(&self, now_ms: u64) -> bool {
        match self.last {
            None => self.news > Seq(0),
            // A clock that was set back is no reason to be silent for ever.
            Some((seq, at)) => self.news > seq && now_ms.abs_diff(at) >= EVERY_MS,
        }
    }
}

impl Replica {
    /// Whether anything happened since this device last said how far it is.
    #[must_use]
    pub fn has_news_since_its_word(&self) -> bool {
        self.acknowledgements.last.is_none_or(|(seq, _)| self.acknowledgements.news > seq)
    }

    /// The round has nothing left to do.
    pub(super) fn rested(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let user = self.log.devices().get(self.device()).and_then(|state| state.user);
        let is_member = user.is_some_and(|user| self.log.access().role(user).is_some());
        if !is_member || !self.acknowledgements.is_due(now_ms) || !self.is_settled() {
            return;
        }
        let fact = Fact::Acknowledged { seq: self.cursor.seq };
        self.sign(now_ms, vec![Deed(vec![Said { fact, body: None }])], Vec::new(), effects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_of_places_that_a_server_lost_is_said_again() {
        let mut said = Acknowledgements { last: Some((Seq(10), 0)), news: Seq(7) };
        assert!(!said.is_due(EVERY_MS));
        said.at_most(Seq(5));
        assert!(said.is_due(EVERY_MS) && !said.is_due(EVERY_MS - 1));
        said.at_most(Seq(9));
        assert_eq!(said.last, Some((Seq(5), 0)));
    }
}
