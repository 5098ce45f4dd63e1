//! How much is on its way at once, and for how long something moves before it is another's turn.
//!
//! What must always hold: who waits for little waits for some [windows](window) at most, whatever moves, in whichever
//! direction; whoever had a turn got on by it, so that everything arrives in the end. Left out: what goes first
//! ([`priority`](crate::priority)), and the clock; times are microseconds of one that never runs back.

/// Bytes of a window where nobody wants it slower.
pub const WINDOW_BYTES_MAX: u64 = 4 << 20;
/// Less than this is not worth a request.
const WINDOW_BYTES_MIN: u64 = 16 << 10;
/// As long as a window takes at a limited rate, in parts of a second: with two on their way and one that is made, it is
/// less than half a second until it is another's turn, and less than one with a helping before it.
const WINDOWS_A_SECOND: u64 = 8;
/// So many windows are read before something is said of them. What has more takes long: it goes by itself.
const HELPING_WINDOWS: u64 = 4;
/// So many are made durable together.
const GROUP_WINDOWS: u64 = 8;
/// Much that goes slowly is not said in more pieces than about this.
const HELPINGS_MAX: u64 = 64;
/// A turn lasts this many times as long as it took to get to it, so that most of the time something moves.
const SHARE: u64 = 4;
/// And no less than this where nobody wants it slower: by then it is far.
const LEAST_US: u64 = 1_000_000;
/// What moves in one direction lets the other one go on after this time.
const SLICE_US: u64 = 1_000_000;

/// How many bytes go together at a rate: what is asked for, or sent, in one request.
#[must_use]
pub fn window(rate: Option<u64>) -> u64 {
    rate.map_or(WINDOW_BYTES_MAX, |rate| (rate / WINDOWS_A_SECOND).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX))
}

/// How many bytes of files are read before something is said of them, `of` so many in all.
#[must_use]
pub fn helping(window: u64, of: u64) -> u64 {
    match window {
        // A moment, whatever it is; where somebody waits it is cut short.
        WINDOW_BYTES_MAX.. => u64::MAX,
        _ => (window * HELPING_WINDOWS).max(of / HELPINGS_MAX),
    }
}

/// How many bytes of files are made durable together, at most.
#[must_use]
pub fn group(window: u64) -> u64 {
    window * GROUP_WINDOWS
}

/// Whether a file of this size takes long: it goes by itself, after what is in nobody's way.
#[must_use]
pub fn is_long(bytes: u64, window: u64) -> bool {
    bytes >= window * HELPING_WINDOWS
}

/// How many of the files, in their order, go together: what takes long goes by itself, once what is before it was said.
#[must_use]
pub fn together(sizes: &[u64], window: u64) -> usize {
    let mut left = helping(window, sizes.iter().sum());
    let fits = |size: &&u64| {
        let fits = !is_long(**size, window) && **size <= left;
        left = left.saturating_sub(**size);
        fits
    };
    sizes.iter().take_while(fits).count().max(1).min(sizes.len())
}

/// Who waits for a round to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Others {
    /// Nobody.
    #[default]
    Nobody,
    /// Something that was saved, or came.
    Something,
    /// A person, for the answer to a command.
    Somebody,
}

/// Whose turn it is, of one round.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    began_us: u64,
    /// How long it lasts at least.
    least_us: u64,
    /// When something moved first.
    moved_us: Option<u64>,
    /// When what moves now did first, and whether the other direction waits.
    slice: Slice,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    moved_us: Option<u64>,
    other_waits: bool,
}

impl Turn {
    /// A round begins, in which a `window` goes together.
    #[must_use]
    pub fn begin(now_us: u64, window: u64) -> Self {
        let least_us = if window < WINDOW_BYTES_MAX { 0 } else { LEAST_US };
        Self { began_us: now_us, least_us, moved_us: None, slice: Slice::default() }
    }

    /// What moves from now on goes in one direction; whether something waits to go in the other.
    pub fn turn_to(&mut self, other_waits: bool) {
        self.slice = Slice { moved_us: None, other_waits };
    }

    /// Before something moves: whether it may, where `others` wait for this round to end.
    pub fn goes_on(&mut self, now_us: u64, others: Others) -> bool {
        let is_first = self.slice.moved_us.is_none();
        let since = now_us.saturating_sub(*self.slice.moved_us.get_or_insert(now_us));
        let moved_us = *self.moved_us.get_or_insert(now_us);
        let (moving, getting_there) = (now_us.saturating_sub(moved_us), moved_us - self.began_us);
        let is_over = match others {
            Others::Nobody => false,
            Others::Something => moving >= (getting_there * SHARE).max(self.least_us),
            Others::Somebody => true,
        };
        is_first || !(is_over || self.slice.other_waits && since >= SLICE_US)
    }
}

#[cfg(test)]
mod tests;
