//! Measurements that anybody can repeat, each beside what is known, in one run: `annals bench …` in a build with the
//! feature `bench`.
//!
//! What is printed is what was measured, on this machine and at this moment: quote ratios, and say what else ran.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement is printed, and fails where it says unwrap"
)]

pub mod append;
pub mod content;
pub mod delta;
pub mod files;
pub mod idle;
pub mod latency;
mod processes;
pub mod replay;
