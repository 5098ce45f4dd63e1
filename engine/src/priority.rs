//! What is read and sent first, when a folder has more to say than goes in a moment.
//!
//! In this order: what somebody asked for by name; what is open in a program; what was touched within the hour, for that
//! is what they work on; what is small, because many of those are done soon; the rest, the smaller of them first; and
//! pictures, sound and films last. Equals stay as they stood. Left out: finding out which files are open, which the host
//! knows or does not.

/// What counts as work of the moment.
const RECENT_MS: u64 = 60 * 60 * 1000;
/// What is small.
pub(crate) const SMALL_BYTES: u64 = 1 << 20;
/// How pictures, sound and films are called.
const MEDIA: [&str; 22] = [
    "aac", "avi", "bmp", "cr2", "flac", "gif", "heic", "jpeg", "jpg", "m4a", "m4v", "mkv", "mov", "mp3",
    "mp4", "nef", "ogg", "opus", "png", "tiff", "wav", "webm",
];

/// What is known of a file before it is read.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// Where it is.
    pub path: &'a str,
    /// How large.
    pub size: u64,
    /// When it was last changed, in milliseconds since 1970.
    pub touched_ms: u64,
    /// Whether a program has it open.
    pub open: bool,
}

/// A file's place in the order: the lesser goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    not_asked: bool,
    not_open: bool,
    not_recent: bool,
    not_small: bool,
    media: bool,
    /// How large, of what is not small.
    size: u64,
}

impl Rank {
    /// Of a file, at a moment, when these paths (and what is below them) were asked for.
    #[must_use]
    pub fn of(file: Waiting<'_>, now_ms: u64, asked: &[String]) -> Self {
        let below = |asked: &str| file.path.strip_prefix(asked).is_some_and(|rest| rest.starts_with('/'));
        let extension = file.path.rsplit_once('.').map_or("", |(_, extension)| extension);
        Self {
            not_asked: !asked.iter().any(|asked| asked.is_empty() || asked == file.path || below(asked)),
            not_open: !file.open,
            // A clock that runs ahead touches nothing in the future.
            not_recent: now_ms.saturating_sub(file.touched_ms) > RECENT_MS,
            not_small: file.size >= SMALL_BYTES,
            media: MEDIA.iter().any(|known| known.eq_ignore_ascii_case(extension)),
            size: if file.size < SMALL_BYTES { 0 } else { file.size },
        }
    }

    /// Whether somebody waits for it.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        !(self.not_asked && self.not_open && self.not_recent)
    }
}

/// More than this is not said in a moment.
const MOMENT_BYTES: u64 = 64 << 20;

/// How many of the files, in the order of their ranks, go now: those that somebody waits for, if the others are so many
/// that they would wait long; else all of them.
#[must_use]
pub fn urgent_first(ranked: &[(Rank, u64)]) -> usize {
    let urgent = ranked.iter().take_while(|(rank, _)| rank.is_urgent()).count();
    let rest: u64 = ranked[urgent..].iter().map(|(_, size)| size).sum();
    let now: u64 = ranked[..urgent].iter().map(|(_, size)| size).sum();
    if urgent > 0 && rest > MOMENT_BYTES && now <= MOMENT_BYTES { urgent } else { ranked.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn rank(path: &str, size: u64, hours: u64) -> Rank {
        let touched_ms = NOW - hours * RECENT_MS - 1;
        Rank::of(Waiting { path, size, touched_ms, open: path.starts_with("open") }, NOW, &["asked".into()])
    }

    #[test]
    fn the_order_is_that_of_who_waits_for_it() {
        let order = [
            rank("asked", 5 << 30, 900),
            rank("asked/film.mp4", 5 << 30, 900),
            rank("open.mkv", 5 << 30, 900),
            rank("notes.txt", 100, 0),
            rank("new.JPG", 100, 0),
            rank("draft.odt", 5 << 20, 0),
            rank("report.odt", 6 << 20, 0),
            rank("asked for.txt", 100, 2),
            rank("icon.png", 100, 2),
            rank("old.iso", 5 << 30, 2),
            rank("old.mov", 5 << 30, 2),
        ];
        assert!(order.is_sorted(), "{order:?}");
        assert!(order[..7].iter().all(Rank::is_urgent) && !order[7..].iter().any(Rank::is_urgent));
        let ahead = Waiting { path: "a", size: 1, touched_ms: NOW + 1_000_000_000, open: false };
        assert!(Rank::of(ahead, NOW, &[]).is_urgent());
    }

    #[test]
    fn who_waits_for_little_does_not_wait_for_much() {
        let (note, film) = (rank("note", 100, 0), rank("film.mp4", 100, 9));
        let table = [
            (vec![], 0),
            (vec![(note, 100)], 1),
            (vec![(note, 100), (film, 100)], 2), // both go in a moment
            (vec![(note, 100), (note, 100), (film, 1 << 30)], 2), // the film would take long
            (vec![(film, 1 << 30)], 1),          // nobody waits for anything else
            (vec![(note, 65 << 20), (film, 1 << 30)], 2), // neither is little
        ];
        for (ranked, now) in table {
            assert_eq!(urgent_first(&ranked), now, "{ranked:?}");
        }
    }
}
