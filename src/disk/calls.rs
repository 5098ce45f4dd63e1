//! The system calls of the synced folder: rustix's own.
//!
//! Under test those that change names, or make anything durable, go past a recorder on their way
//! (`tests/tape.rs`), so that a test knows at each of them what a power cut would leave.

#[cfg(not(test))]
pub(super) use rustix::fs::*;

#[cfg(test)]
pub(super) use super::tests::tape::calls::*;
