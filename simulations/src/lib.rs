//! All of Annals in one thread from one number: the production engine, on twins of everything that it touches.
//!
//! ```text
//!   seed ──► world ──► people (workload) ──► disks ┐
//!              │                                   ├── devices: Replica + round ──► links ──► server: Namespace ──► log
//!              └─ chance: edits, crashes, losses ──┘        (production code)                (production code)
//! ```
//!
//! Every capability of the engine has its twin here under the same name. A run is first chaos, then healing, then
//! checks; it depends on nothing but its seed. Left out: sharing, rights and quotas, merges, restored backups.

pub mod checkers;
pub mod chunk_store;
pub mod clock;
pub mod device;
pub mod disk;
pub mod faults;
pub mod log;
pub mod point;
pub mod random;
pub mod trace;
pub mod transport;
pub mod turns;
pub mod workload;
pub mod world;

pub use faults::Options;
pub use random::Seed;
pub use world::{Finding, Outcome, run};
