//! What vanished from the folder, until it is said to be removed: not before nothing more vanishes.
//!
//! A folder that is emptied is emptied bit by bit, and a device that looks at once sees the first bits: few enough to be
//! believed. So it waits until nothing more goes, and counts what went shortly before.

use crate::author::{Removals, VANISHED_MAX};
use std::collections::VecDeque;

/// Nothing more vanished for so long: whoever removed it is done.
const REST_MS: u64 = 1_000;
/// A few things are waited for no longer than this, however many come and go meanwhile.
const FEW_MS_MAX: u64 = 5_000;
/// Many are waited for no longer than this.
const MANY_MS_MAX: u64 = 60_000;
/// What was removed so long ago is not counted with what is removed now.
const LATELY_MS: u64 = 60_000;

/// What is gone and not said yet, and what was said lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Vanishing {
    waiting: Option<Waiting>,
    said: VecDeque<(u64, usize)>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    gone: usize,
    first_ms: u64,
    /// When there were last more, or fewer.
    last_ms: u64,
}

impl Vanishing {
    /// Whether `gone` things that are missing now can be said to be removed.
    pub(super) fn observe(&mut self, now_ms: u64, gone: usize) -> bool {
        if gone == 0 {
            self.waiting = None;
            return true;
        }
        let waiting = self.waiting.get_or_insert(Waiting { gone, first_ms: now_ms, last_ms: now_ms });
        if waiting.gone != gone {
            (waiting.gone, waiting.last_ms) = (gone, now_ms);
        }
        self.is_due(now_ms)
    }

    /// Whether what was missing when somebody last looked can be said to be removed, if it still is.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        let Some(waiting) = self.waiting else { return false };
        let most = if waiting.gone <= VANISHED_MAX { FEW_MS_MAX } else { MANY_MS_MAX };
        // A clock that was set back counts like one that went on.
        now_ms.abs_diff(waiting.last_ms) >= REST_MS || now_ms.abs_diff(waiting.first_ms) >= most
    }

    /// So many were said to be removed.
    pub(super) fn said(&mut self, now_ms: u64, gone: usize, removals: Removals) {
        self.waiting = None;
        if removals == Removals::Accept {
            self.said.clear();
        } else if gone > 0 {
            self.said.push_back((now_ms, gone));
        }
    }

    pub(super) fn removed_lately(&mut self, now_ms: u64) -> usize {
        self.said.retain(|(at_ms, _)| now_ms.abs_diff(*at_ms) < LATELY_MS);
        self.said.iter().map(|(_, gone)| gone).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_vanishes_bit_by_bit_is_said_at_once_and_in_the_end(
            steps in prop::collection::vec((1usize..4, 300u64..1_000), 120..200),
        ) {
            let (mut vanishing, mut now_ms, mut gone) = (Vanishing::default(), 5_000, 0);
            for (more, pause) in steps {
                gone += more;
                let began = vanishing.waiting.map_or(now_ms, |waiting| waiting.first_ms);
                let rests = vanishing.observe(now_ms, gone);
                prop_assert_eq!(rests, now_ms - began >= if gone <= VANISHED_MAX { FEW_MS_MAX } else { MANY_MS_MAX });
                now_ms += pause;
            }
            vanishing.observe(now_ms, gone);
            prop_assert!(vanishing.observe(now_ms + REST_MS, gone));
        }
    }

    #[test]
    fn what_was_removed_a_moment_ago_counts_and_what_was_confirmed_does_not() {
        let mut vanishing = Vanishing::default();
        vanishing.said(1_000, 12, Removals::Ask);
        vanishing.said(2_000, 5, Removals::AskAtRest);
        assert_eq!(vanishing.removed_lately(3_000), 17);
        assert_eq!(vanishing.removed_lately(1_500 + LATELY_MS), 5);
        vanishing.said(4_000, 100, Removals::Accept);
        assert_eq!(vanishing.removed_lately(5_000), 0);
    }
}
