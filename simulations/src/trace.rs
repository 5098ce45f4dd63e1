//! What happened in a run, as one running hash: two runs of one seed are the same run, or something in the code
//! is not pure.
//!
//! Lines are kept only where somebody wants to read them; they cost more than the run itself.

use annals_events::Hash;
use std::{cell::RefCell, fmt::Arguments, rc::Rc};

/// The trace of a run. Clones are the same trace.
#[derive(Clone, Debug, Default)]
pub struct Trace(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    hash: Hash,
    steps: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// One that keeps its lines.
    #[must_use]
    pub fn with_lines() -> Self {
        let trace = Self::default();
        trace.0.borrow_mut().lines = Some(Vec::new());
        trace
    }

    /// Takes note.
    pub fn note(&self, what: Arguments<'_>) {
        let line = what.to_string();
        let mut inner = self.0.borrow_mut();
        inner.hash = Hash::of(b"annals trace\0", &[&inner.hash.0, line.as_bytes()]);
        inner.steps += 1;
        if let Some(lines) = &mut inner.lines {
            lines.push(line);
        }
    }

    /// The hash of all that happened so far.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.0.borrow().hash
    }

    /// How many things happened.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.0.borrow().steps
    }

    /// What was kept.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.borrow().lines.clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_of_the_lines_and_their_order() {
        let run = |lines: &[&str]| {
            let trace = Trace::with_lines();
            lines.iter().for_each(|line| trace.note(format_args!("{line}")));
            assert_eq!(trace.lines(), lines);
            (trace.hash(), trace.steps())
        };
        assert_eq!(run(&["a", "b"]), run(&["a", "b"]));
        assert_ne!(run(&["a", "b"]).0, run(&["b", "a"]).0);
        assert_ne!(run(&["ab"]).0, run(&["a", "b"]).0);
    }
}
