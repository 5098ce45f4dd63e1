//! Where folders went, for who speaks of where they were: a watcher that saw something before a folder was moved names
//! the old place afterwards.
//!
//! What must always hold: whatever lies at `from` of a noted move, or below, is followed to `to`, through all moves that
//! came after it. Left out: what else has come to the old place since; both are where something may have changed.

use std::collections::BTreeSet;

/// Moves of folders, in their order.
#[derive(Clone, Debug, Default)]
pub struct Went(Vec<(String, String)>);

impl Went {
    /// With more moves than this it is quicker to look everywhere.
    pub const MOVES_MAX: usize = 512;

    /// The folder at `from` went to `to`. False: that is one too many to be followed, and none is known any more.
    #[must_use]
    pub fn note(&mut self, from: &str, to: &str) -> bool {
        if self.0.len() == Self::MOVES_MAX {
            self.0.clear();
            return false;
        }
        self.0.push((from.to_owned(), to.to_owned()));
        true
    }

    /// Where else may be what once was at `path`.
    #[must_use]
    pub fn from(&self, path: &str) -> BTreeSet<String> {
        let mut places = BTreeSet::new();
        for (was, now) in &self.0 {
            let went = std::iter::once(path).chain(places.iter().map(String::as_str));
            let went: Vec<String> = went.filter_map(|place| along(place, was, now)).collect();
            places.extend(went);
        }
        // What is parked is on its way.
        places.retain(|place| place != path && !place.starts_with('\0'));
        places
    }

    /// Whoever looked at everything needs no hint of what was before.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Where `path` is, if it is in a folder that was at `was` and is at `now`.
#[must_use]
pub fn along(path: &str, was: &str, now: &str) -> Option<String> {
    let rest = path.strip_prefix(was).filter(|rest| rest.starts_with('/'))?;
    Some(format!("{now}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_a_folder_is_followed_through_all_of_its_moves() {
        for (moves, path, places) in [
            (&[("a", "b")][..], "a/x", &["b/x"][..]),
            (&[("a", "b")], "a", &[]),
            (&[("a", "b")], "ab/x", &[]),
            (&[("a", "b"), ("b", "c/d")], "a/s/x", &["b/s/x", "c/d/s/x"]),
            (&[("b", "c"), ("a", "b")], "a/x", &["b/x"]),
            // An exchange: it is in one of the two.
            (&[("a", "\0slot 1"), ("b", "a"), ("\0slot 1", "b")], "a/x", &["b/x"]),
            (&[("a/s", "t"), ("a", "b")], "a/s/x", &["b/s/x", "t/x"]),
            (&[("a", "b"), ("b", "a")], "a/x", &["b/x"]),
        ] {
            let mut went = Went::default();
            assert!(moves.iter().all(|(from, to)| went.note(from, to)));
            let expected: BTreeSet<String> = places.iter().map(|place| (*place).to_owned()).collect();
            assert_eq!(went.from(path), expected, "{moves:?} {path}");
        }
    }

    #[test]
    fn too_many_moves_are_said_to_be_so() {
        let mut went = Went::default();
        assert!((0..Went::MOVES_MAX).all(|n| went.note(&format!("a{n}"), "b")));
        assert!(!went.note("c", "d"));
        assert!(went.from("a0/x").is_empty() && went.note("e", "f"));
    }
}
